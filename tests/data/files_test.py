import bz2
import gzip
import json
import lzma
import os

import pyarrow
import pytest
import zstandard
from pyarrow import parquet

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError
from latent_jax.data.files import PASSAGE_BYTES, Files, read_chunks

COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
LATIN_1 = "Où est passé l'été ?\n".encode("latin-1")


def _read(path, **words):
    return list(Files((str(path),), **words).documents())


@pytest.mark.parametrize("compression", COMPRESS)
def test_compressed_files_give_the_same_documents(tmp_path, compression):
    text = LATIN_1 * 3000
    lines = b"".join(b'{"text": "number %d"}\n' % number for number in range(5))
    (tmp_path / f"a.txt{compression}").write_bytes(COMPRESS[compression](text))
    (tmp_path / f"b.jsonl{compression}").write_bytes(COMPRESS[compression](lines))
    passages = _read(tmp_path / f"a.txt{compression}")
    assert b"".join(document.text for document in passages) == text
    assert [document.key for document in passages] == [f"a.txt:{i}" for i in range(len(passages))]
    assert len(passages) == -(-len(text) // (PASSAGE_BYTES // len(LATIN_1) * len(LATIN_1)))
    assert all(document.text.endswith(b"\n") for document in passages)
    records = _read(tmp_path / f"b.jsonl{compression}")
    assert records == [Document(f"b.jsonl:{i + 1}", b"number %d" % i) for i in range(5)]


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut short", "not compressed", "bits flipped"])
def test_damaged_files_are_named(tmp_path, compression, damage):
    path = tmp_path / f"a.txt{compression}"
    whole = COMPRESS[compression](os.urandom(5000))
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle:])
    path.write_bytes(
        {"cut short": whole[:-3], "not compressed": b"plain text", "bits flipped": flipped}[damage]
    )
    if (compression, damage) == (".zst", "bits flipped"):
        # A zstd frame has no checksum unless its writer asked for one.
        compressor = zstandard.ZstdCompressor(write_checksum=True)
        path.write_bytes(compressor.compress(os.urandom(5000))[:-4] + b"\0\0\0\0")
    with pytest.raises(CorpusError, match=r"a\.txt.* cannot be read to its end"):
        _read(path)


@pytest.mark.parametrize("compression", [".gz", ".xz", ".zst"])
def test_files_of_several_members_are_read_whole(tmp_path, compression):
    path = tmp_path / f"a.txt{compression}"
    path.write_bytes(COMPRESS[compression](b"one\n") + COMPRESS[compression](b"two\n"))
    assert b"".join(read_chunks(path)) == b"one\ntwo\n"


def test_jsonl_fields_and_keys(tmp_path):
    path = tmp_path / "a.jsonl"
    records = [{"id": "x", "q": "1"}, {"id": 7, "q": "\ud800 é"}, {"q": "3"}, {"id": None, "q": ""}]
    path.write_text("\n\n".join(map(json.dumps, records)))
    lone_surrogate = "\ud800 é".encode("utf-8", "surrogatepass")
    assert _read(path, text_field="q") == [
        Document("x", b"1"),
        Document("7", lone_surrogate),
        Document("a.jsonl:5", b"3"),
        Document("a.jsonl:7", b""),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"title": "t", "body": "b"}', r"line 2 has no field 'text', only 'title', 'body'"),
        (b'{"text": ["b"]}', r"line 2: field 'text' holds a list"),
        (b'{"text": "b"', r"line 2 is not JSON"),
        (b'{"text": "\xe9"}', r"line 2 is not JSON in UTF-8"),
        (b"[1]", r"line 2 holds a list"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(CorpusError, match=message):
        _read(tmp_path / "a.jsonl")


def write_rows(path, **columns):
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def test_parquet_columns_and_keys(tmp_path):
    path = write_rows(tmp_path / "a.parquet", q=["1", "é", "", "4"], id=["x", None, "y", None])
    assert _read(path, text_field="q") == [
        Document("x", b"1"),
        Document("a.parquet:2", "é".encode()),
        Document("y", b""),
        Document("a.parquet:4", b"4"),
    ]
    raw = write_rows(tmp_path / "raw.parquet", text=[LATIN_1, b"\xff"])
    assert [document.text for document in _read(raw)] == [LATIN_1, b"\xff"]
    many = write_rows(tmp_path / "many.parquet", text=[f"row {i}" for i in range(3000)])
    documents = _read(many)
    assert [d.text for d in documents] == [b"row %d" % i for i in range(3000)]
    assert documents[-1].key == "many.parquet:3000"


def test_bad_parquet_is_named(tmp_path):
    path = write_rows(tmp_path / "a.parquet", title=["t"], body=["b"])
    with pytest.raises(CorpusError, match=r"has no column 'text', only 'title', 'body': set data"):
        _read(path)
    path = write_rows(tmp_path / "b.parquet", text=[1.5, None])
    with pytest.raises(CorpusError, match=r"column 'text' holds a float, 1\.5, not a string"):
        _read(path)
    path = write_rows(tmp_path / "c.parquet", text=[["a"], ["b"]])
    with pytest.raises(CorpusError, match=r"row 1: column 'text' holds a list"):
        _read(path)
    path = write_rows(tmp_path / "d.parquet", text=["fine"] * 100)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"d\.parquet cannot be read to its end"):
        _read(path)


def test_long_lines_cross_chunks(tmp_path):
    texts = ["a" * 3_000_000, "b", "c" * 1_500_000]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert [len(document.text) for document in _read(path)] == [3_000_000, 1, 1_500_000]


def test_folders_globs_and_order(tmp_path):
    for name in ("b.txt", "sub/a.txt.gz", "a.txt", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(b"z") if name.endswith("gz") else b"t")
    assert [d.key for d in _read(tmp_path)] == ["a.txt:0", "b.txt:0", "sub/a.txt:0"]
    assert [d.key for d in _read(tmp_path / "*.txt")] == ["a.txt:0", "b.txt:0"]
    assert [d.key for d in _read(tmp_path / "**" / "*.gz")] == ["a.txt:0"]
    twice = Files((str(tmp_path / "b.txt"), str(tmp_path)))
    assert [d.key for d in twice.documents()] == ["b.txt:0", "a.txt:0", "sub/a.txt:0"]


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "a.txt.bz2").write_bytes(bz2.compress(b"x"))
    (tmp_path / "empty").mkdir()
    for pattern, message in {
        "b.txt": "does not exist",
        "*.jsonl": "matches no file",
        "empty": "holds no text",
        "a.txt.bz2": "extension that is not read: use one of .txt, .txt.gz",
    }.items():
        with pytest.raises(CorpusError, match=message):
            Files((str(tmp_path / pattern),))
    with pytest.raises(CorpusError, match=r"data\.files is empty"):
        Files(())


def test_files_that_may_not_be_read(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_bytes(b"secret")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root may read everything

        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setitem(read_chunks.__globals__["OPENERS"], "", refuse)
    with pytest.raises(CorpusError, match=r"a\.txt may not be read by this user"):
        _read(path)


def test_stamp_changes_with_the_files(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one")
    before = Files((str(path),)).stamp()
    assert Files((str(path),)).stamp() == before
    os.utime(path, ns=(0, 0))
    assert Files((str(path),)).stamp() != before
