"""Text that is not what it seems: byte order marks, other encodings, nulls, wrong names, pipes."""

import codecs
import gzip
import json
import lzma
import os

import pyarrow
import pytest
from pyarrow import parquet

from latent_jax.commands.prompts import read_prompts
from latent_jax.data import DataConfig, files, open_corpus
from latent_jax.data.documents import CorpusError
from latent_jax.data.encodings import to_utf8
from latent_jax.data.files import Files

WIDE = {
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
TEXTS = ["naïve café", "two", "🐘 three"]


def marked(text, encoding):
    """Return text as a program writes it that marks its encoding."""
    return (
        text.encode(encoding) if encoding == "utf-8-sig" else WIDE[encoding] + text.encode(encoding)
    )


def read(path, **words):
    return [document.text.decode() for document in Files((str(path),), **words).documents()]


@pytest.mark.parametrize("pack", [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("encoding", WIDE)
def test_a_jsonl_with_a_byte_order_mark(encoding, pack, tmp_path):
    lines = "\r\n".join(json.dumps({"text": t}, ensure_ascii=False) for t in TEXTS)
    (tmp_path / f"a.jsonl{pack[0]}").write_bytes(pack[1](marked(lines, encoding)))
    assert read(tmp_path / f"a.jsonl{pack[0]}") == TEXTS


@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_characters_may_be_cut_by_chunks(encoding, size):
    data = marked("".join(TEXTS), encoding)
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    assert b"".join(to_utf8(chunks)).decode() == "".join(TEXTS)
    assert b"".join(to_utf8([b"\xff", b"\xfe no text"])) != b"\xff\xfe no text"
    assert b"".join(to_utf8([b"Latin \xe9", b"t\xe9"])) == b"Latin \xe9t\xe9"


@pytest.mark.parametrize("encoding", WIDE)
def test_prompts_with_a_byte_order_mark(encoding, tmp_path):
    (tmp_path / "p.txt").write_bytes(marked("\r\n\n".join(TEXTS) + "\n", encoding))
    assert read_prompts([], str(tmp_path / "p.txt")) == tuple(t.encode() for t in TEXTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Hello there".encode("utf-16-le"), "UTF-16 or UTF-32 without a byte order mark: write"),
        ("Hello there".encode("utf-32-be"), "UTF-16 or UTF-32 without a byte order mark"),
        (gzip.compress(b"Hello", mtime=0), "holds gzip: write the prompts as text in UTF-8"),
        (b"\xff\xfe" + b"abc", "has a byte order mark and is not in utf-16-le"),
        (b"\n\r\n\n", "has no prompt: write one on each line"),
        (b"\xef\xbb\xbf", "has no prompt"),
        (None, "cannot read the prompts of .*: Is a directory"),
    ],
)
def test_prompts_that_are_no_text(content, message, tmp_path):
    path = tmp_path / "p.txt"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_prompts([], str(path))


def test_a_null_is_no_text_and_costs_nobody_the_corpus(tmp_path):
    lines = [{"text": "one"}, {"text": None, "id": "x"}, {"text": "\ud800!"}]
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    parquet.write_table(pyarrow.table({"text": ["one", None, "three"]}), tmp_path / "b.parquet")
    found = [d.text for d in Files((str(tmp_path / "a.jsonl"),)).documents()]
    assert found == [b"one", b"", b"\xed\xa0\x80!"]
    assert read(tmp_path / "b.parquet") == ["one", "", "three"]
    (tmp_path / "c.jsonl").write_text('{"text": null}\n' * 3)
    words = dict(source="files", files=(str(tmp_path / "c.jsonl"),), cache_dir=str(tmp_path / "k"))
    with pytest.raises(CorpusError, match="holds no text: there is no document, or all are empty"):
        open_corpus(DataConfig(**words))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": 5}', r"line 1: field 'text' holds a int, 5, not a string: correct"),
        ("a.jsonl", b'{"text": {"a": 1}}', r"holds a dict, \{'a': 1\}, not a string"),
        ("a.jsonl", b'{"text": "a"}\nnull', r"line 2 holds a NoneType: .* one object a line"),
        ("a.jsonl", b"[" * 100_000, r"line 1 is not JSON"),
        ("a.jsonl", '{"text": "a"}'.encode("utf-16-le"), r"in UTF-16 or UTF-32 without a byte or"),
        ("a.jsonl", '{"text": "a"}'.encode("utf-32-be"), r"in UTF-16 or UTF-32 without a byte or"),
        ("a.jsonl", b'\xff\xfe{"text": "a"}', r"a\.jsonl.* is not JSON in UTF-8"),
        (
            "a.jsonl.xz",
            gzip.compress(b"x", mtime=0),
            r"holds gzip data, .*: give its name the ending \.gz",
        ),
        ("a.jsonl", gzip.compress(b"x", mtime=0), r"holds gzip data, which its name does not say"),
        ("a.txt", lzma.compress(b"x"), r"holds xz data, .*: give its name the ending \.xz"),
        ("a.txt.gz", b"PK\x03\x04 and more", r"holds zip data, .*: unpack it, or leave it out"),
        ("a.jsonl.gz", b"{}", r"a\.jsonl\.gz cannot be read to its end \(Not a gzipped file"),
    ],
)
def test_what_is_said_of_a_file(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "record", [{f"key {i}": i for i in range(50_000)}, {"\x1b" * 10_000: 1, "b": 2}]
)
def test_fields_without_end_are_not_all_listed(record, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    with pytest.raises(CorpusError, match="has no field 'text', only ") as error:
        read(tmp_path / "a.jsonl")
    assert len(str(error.value)) < 700 + len(str(tmp_path)) and str(error.value).isprintable()


@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", gzip.compress)])
def test_a_line_is_as_long_as_is_stated(ending, pack, tmp_path, monkeypatch):
    texts = ["a" * 3_000_000, "b", "c" * 5_000_000]
    lines = "\n".join(json.dumps({"text": text}) for text in texts)
    (tmp_path / f"a.jsonl{ending}").write_bytes(pack(lines.encode()))
    assert read(tmp_path / f"a.jsonl{ending}") == texts
    monkeypatch.setattr(files, "MOST_LINE_BYTES", 4_000_000)
    with pytest.raises(
        CorpusError, match=r"a\.jsonl.* has a line of more than 4,000,000 bytes: cut"
    ):
        read(tmp_path / f"a.jsonl{ending}")


def test_a_column_that_is_no_text_is_said_of_its_file(tmp_path):
    wrong = pyarrow.array([b"\xff\xfe", b"ok"]).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": wrong}), tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match=r"a\.parquet cannot be read to its end .*utf-8"):
        read(tmp_path / "a.parquet")


def test_pipes_and_files_that_vanish(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(CorpusError, match="is no file but a pipe or a device"):
        read(tmp_path / "pipe.txt")
    (tmp_path / "a.txt").write_text("text")
    source = Files((str(tmp_path / "a.txt"),))
    (tmp_path / "a.txt").unlink()
    with pytest.raises(CorpusError, match=r"a\.txt is not there any more"):
        list(source.documents())
    with pytest.raises(CorpusError, match=r"a\.txt is not there any more"):
        source.stamp()
