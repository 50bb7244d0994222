"""Files through tokenizers: compressed, restored, and compared with what everybody has."""

import gzip
import io
import lzma
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import zstandard
from tqdm import tqdm

from latent_jax.codec import container
from latent_jax.methods.shipped_files import INTEGER_M1
from latent_jax.models.integer_byte_model import LANES, IntegerByteModel
from latent_jax.tokenizers import AC, Tokenizer, load

SUFFIX = ".latent"
DEFAULT = "AC[v=256]"
"""The method of a file that names none; from the package's integer M1 it needs no JAX."""

COLUMNS = (
    "method",
    "n_bytes",
    "bits_per_byte",
    "encode_mb_per_s",
    "decode_mb_per_s",
    "lossless_share",
)

PEERS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip -9": (lambda raw: gzip.compress(raw, 9), gzip.decompress),
    "xz -6": (lambda raw: lzma.compress(raw, preset=6), lzma.decompress),
    "zstd -19": (
        lambda raw: zstandard.ZstdCompressor(level=19).compress(raw),
        lambda packed: zstandard.ZstdDecompressor().decompress(packed),
    ),
}


def open_tokenizer(
    method: str, folder: str = "", m1: str = "", lanes: int = 0, version: int = 2
) -> Tokenizer:
    """Return a saved tokenizer, or the one of a method that learns nothing from a corpus.

    Args:
        method: literature name.
        folder: of a saved tokenizer, which is as it was saved; "" makes the method's.
        m1: file of the byte model; empty is the one that the package carries.
        lanes: of the byte model; 0 is the platform's choice.
        version: of the container; the package's model is the float one for 1, and else in integers.

    Raises:
        ValueError: the method learns, or something cannot be read.
    """
    if method == DEFAULT and not folder and not m1 and version > 1:
        return AC(IntegerByteModel.from_bytes(Path(INTEGER_M1).read_bytes(), lanes=lanes), 256)
    # JAX, which these import, takes longer than a small file.
    from latent_jax.methods import artefacts  # noqa: F401
    from latent_jax.methods.names import parse
    from latent_jax.methods.registry import family
    from latent_jax.methods.tokenizers import make_tokenizer

    if folder:
        return load(Path(folder))
    parsed = parse(method)
    if family(parsed.family).learns_code:
        raise ValueError(
            f"{parsed} is not known without the text that it was learned from: give the folder of "
            "a saved one with --tokenizer, such as runs/NAME/tokenizer"
        )
    if version > 1 and not m1 and family(parsed.family).is_driven(parsed):
        m1 = INTEGER_M1
    return make_tokenizer(parsed, m1=m1, lanes=lanes)


def compress_file(path: Path, out: Path, tokenizer: Tokenizer) -> None:
    """Compress one file of any size.

    Raises:
        ValueError: it cannot be read, or `out` exists.
    """
    with _open(path) as source, _whole(out) as target:
        for _ in _bar(container.compress(source, target, tokenizer), path.stat().st_size, path):
            pass
    packed, raw = out.stat().st_size, path.stat().st_size
    print(f"{out}: {packed:,} of {raw:,} bytes, {8 * packed / max(raw, 1):.3f} bits per byte")


def decompress_file(path: Path, out: Path, folder: str = "", m1: str = "") -> None:
    """Restore one file.

    Raises:
        ValueError: it is foreign, cut short or damaged, its tokenizer is not here, or `out` exists;
            then `out` does not.
    """
    with _open(path) as source:
        header = container.read_header(source, str(path))
        lanes = header.get("lanes", LANES) if header["version"] == 1 else 0
        tokenizer = open_tokenizer(header["method"], folder, m1, lanes, header["version"])
        with _whole(out) as target:
            blocks = container.decompress(source, target, tokenizer, header, str(path))
            for _ in _bar(blocks, None, path):
                pass
    print(f"{out}: {out.stat().st_size:,} bytes")


def compare_files(
    paths: Sequence[Path],
    methods: Sequence[str],
    *,
    max_bytes: int = 0,
    verify: bool = False,
    m1: str = "",
    lanes: int = 0,
    json_path: str | None = None,
) -> list[dict[str, Any]]:
    """Print bits per byte and speed of methods on files, beside gzip, xz and zstd.

    Args:
        paths: each is compressed by itself.
        methods: literature names.
        max_bytes: of each file; 0 = all.
        verify: restore every file and compare.
        m1: file of the byte model; empty is the one that the package carries.
        lanes: of the byte model; 0 is the platform's choice.
        json_path: also write the unrounded records there.

    Raises:
        ValueError: a name is wrong or a file cannot be read.
    """
    from latent_jax.reports.tables import text_table, write_json

    raws = []
    for path in paths:
        with _open(path) as file:
            raws.append(file.read(max_bytes or -1))
    records = []
    for name, (pack, unpack) in PEERS.items():
        records.append(_measure(name, raws, pack, unpack, verify))
    for method in methods:
        tokenizer = open_tokenizer(method, m1=m1, lanes=lanes)
        tokenizer.decode(tokenizer.encode(b"what is compiled is compiled now"))
        records.append(_measure(tokenizer.name, raws, *_packers(tokenizer), verify))
    print(text_table(records, COLUMNS if verify else COLUMNS[:4]))
    if json_path:
        write_json(records, json_path)
    return records


def _packers(tokenizer: Tokenizer) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Return compression and decompression of bytes by a tokenizer."""
    name = tokenizer.name

    def pack(raw):
        target = io.BytesIO()
        for _ in _bar(container.compress(io.BytesIO(raw), target, tokenizer), len(raw), name):
            pass
        return target.getvalue()

    def unpack(packed):
        source, target = io.BytesIO(packed), io.BytesIO()
        header = container.read_header(source, name)
        for _ in container.decompress(source, target, tokenizer, header, name):
            pass
        return target.getvalue()

    return pack, unpack


def _measure(name, raws, pack, unpack, verify) -> dict[str, Any]:
    start = time.perf_counter()
    packed = [pack(raw) for raw in raws]
    seconds = time.perf_counter() - start
    n_bytes = sum(map(len, raws))
    record = {
        "method": name,
        "n_files": len(raws),
        "n_bytes": n_bytes,
        "bits_per_byte": 8 * sum(map(len, packed)) / n_bytes,
        "encode_mb_per_s": n_bytes / seconds / 1e6,
    }
    if verify:
        start = time.perf_counter()
        restored = [unpack(content) for content in packed]
        record["decode_mb_per_s"] = n_bytes / (time.perf_counter() - start) / 1e6
        same = [a == b for a, b in zip(raws, restored, strict=True)]
        record["lossless_share"] = sum(same) / len(same)
    return record


def _bar(blocks: Iterator[int], total: int | None, label: Any) -> Iterator[int]:
    """Show how far the blocks have come."""
    with tqdm(total=total, unit="B", unit_scale=True, desc=str(label), leave=False) as bar:
        for n_bytes in blocks:
            bar.update(n_bytes)
            yield n_bytes


def _open(path: Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


class _whole:
    """A file that appears under its name only when it is complete."""

    def __init__(self, path: Path):
        if path.exists():
            raise ValueError(f"{path} exists already: remove it, or name another one with --out")
        self._path = path
        self._staging = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"

    def __enter__(self) -> BinaryIO:
        try:
            self._file = open(self._staging, "wb")
        except OSError as error:
            raise ValueError(f"{self._path} cannot be written: {error.strerror}") from error
        return self._file

    def __exit__(self, kind, error, traceback) -> None:
        try:
            self._file.close()
            if kind is None:
                os.replace(self._staging, self._path)
        finally:
            self._staging.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ValueError(f"{self._path} cannot be written: {error.strerror}") from error
