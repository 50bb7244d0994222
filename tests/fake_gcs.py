"""A bucket in memory behind the JSON API of Cloud Storage: as much of it as the clients here speak.

gcsfs (run folders), google-cloud-storage (Orbax's look at the bucket) and TensorStore (arrays) all
take the address of an emulator from the environment, see `environment`. So a test goes the whole
way of `--workdir gs://bucket/...`, clients and all, and only Google's end is played.

    python tests/fake_gcs.py PORT      # serves until it is ended, for a try by hand
"""

import base64
import contextlib
import hashlib
import itertools
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"


def environment(server: ThreadingHTTPServer) -> dict[str, str]:
    """Return the variables by which all three clients find `server`, without any credentials."""
    url = f"http://localhost:{server.server_address[1]}"
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "FSSPEC_GCS_TOKEN": "anon",
        "GOOGLE_CLOUD_PROJECT": "project",
        "EPATH_USE_TF": "no",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "no",  # it asks over gRPC what kind of bucket this is
    }


def start_server(port: int = 0) -> ThreadingHTTPServer:
    """Serve an empty bucket; `server.objects` is name -> (generation, content)."""
    server = ThreadingHTTPServer(("localhost", port), _Handler)
    server.daemon_threads = True
    server.objects, server.uploads = {}, {}
    server.generations, server.lock = itertools.count(1), threading.Lock()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two of them wait for each other's acknowledgement

    def log_message(self, *_):
        pass

    def _handle(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = self._chunks()
        else:
            body = self.rfile.read(length)
        with self.server.lock:
            answer = self._route(self.command, self.path, body)
        self._answer(*answer)

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body, headers: dict[str, str] | None = None) -> None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        # gcsfs asks for a file and for a folder of that name at once, and hangs up on the slower.
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)
            self.wfile.flush()

    def _route(self, command: str, url: str, body: bytes):
        split = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        if split.path.startswith("/batch/"):
            return self._batch(body)
        found = re.fullmatch(
            r"(/upload|/download)?/storage/v1/b/([^/]+)(/o)?(?:/(.+))?", split.path
        )
        if found is None or found[2] != BUCKET:
            return 404, {"error": {"code": 404, "message": f"no such thing: {url}"}}
        if found[1] == "/upload":
            return self._upload(query, body)
        if not found[3]:
            return 200, {"kind": "storage#bucket", "name": BUCKET, "id": BUCKET}
        if not found[4]:
            return self._list(query)
        name, _, target = found[4].partition("/rewriteTo/")
        if not target:
            name, _, target = found[4].partition("/copyTo/")
        return self._object(command, unquote(name), target, query)

    def _object(self, command: str, name: str, target: str, query: dict[str, str]):
        objects = self.server.objects
        if name not in objects:
            return 404, {"error": {"code": 404, "message": f"no such object: {name}"}}
        if target:
            resource = self._store(unquote(target.partition("/o/")[2]), objects[name][1])
            return 200, {"done": True, "resource": resource, **resource}
        if command == "DELETE":
            del objects[name]
            return 204, b""
        generation, content = objects[name]
        if query.get("alt") != "media":
            return 200, self._resource(name)
        headers = {"x-goog-generation": str(generation), "Content-Type": "application/octet-stream"}
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            return 200, content, headers
        start, end = int(found[1]), int(found[2] or len(content) - 1) + 1
        if start >= len(content):
            return 416, b"", {"Content-Range": f"bytes */{len(content)}"}
        end = min(end, len(content))
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return 206, content[start:end], headers

    def _list(self, query: dict[str, str]):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        for name in sorted(self.server.objects):
            if not name.startswith(prefix) or name < query.get("startOffset", ""):
                continue
            head, mark, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if mark:
                prefixes.add(prefix + head + mark)
            else:
                items.append(self._resource(name))
        return 200, {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def _upload(self, query: dict[str, str], body: bytes):
        kind, name = query.get("uploadType"), query.get("name")
        if kind == "multipart":
            _, metadata, content, _ = body.split(b"--" + self._boundary().encode())
            _, _, metadata = metadata.partition(b"\n\n")
            _, _, content = content.partition(b"\n\n")
            return 200, self._store(json.loads(metadata)["name"], content.removesuffix(b"\n"))
        if kind == "resumable" and "upload_id" not in query:
            name = name or json.loads(body)["name"]
            number = str(next(self.server.generations))
            self.server.uploads[number] = (name, bytearray())
            url = f"http://{self.headers['Host']}/upload/storage/v1/b/{BUCKET}/o"
            return 200, {}, {"Location": f"{url}?uploadType=resumable&upload_id={number}"}
        if kind == "resumable":
            name, content = self.server.uploads[query["upload_id"]]
            content += body
            if self.headers.get("Content-Range", "").endswith("/*"):
                return 308, b"", {"Range": f"bytes=0-{len(content) - 1}"}
            return 200, self._store(name, bytes(content))
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and int(wanted) != self.server.objects.get(name, (0,))[0]:
            return 412, {"error": {"code": 412, "message": f"another generation: {name}"}}
        return 200, self._store(name, body)

    def _batch(self, body: bytes):
        boundary, parts = self._boundary(), []
        for number, call in enumerate(re.findall(rb"(DELETE) (\S+) HTTP", body), start=1):
            url = urlsplit(call[1].decode())
            status, _, *_ = self._route("DELETE", url.path, b"")
            parts.append(
                f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{number}>"
                f"\r\n\r\nHTTP/1.1 {status} -\r\n\r\n\r\n"
            )
        answer = "".join(parts) + f"--{boundary}--"
        return 200, answer.encode(), {"Content-Type": f"multipart/mixed; boundary={boundary}"}

    def _boundary(self) -> str:
        return re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1]

    def _store(self, name: str, content: bytes):
        self.server.objects[name] = (next(self.server.generations), content)
        return self._resource(name)

    def _resource(self, name: str):
        generation, content = self.server.objects[name]
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": BUCKET,
            "size": str(len(content)),
            "generation": str(generation),
            "metageneration": "1",
            "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),
            "contentType": "application/octet-stream",
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "updated": "2026-01-01T00:00:00.000Z",
        }


if __name__ == "__main__":
    made = start_server(int(sys.argv[1]))
    print(
        "\n".join(f"export {key}={value}" for key, value in environment(made).items()), flush=True
    )
    threading.Event().wait()
