"""Bytes that are marked where pieces end: by hand, by two tokenizers, saved and packed."""

import pydoc_data.topics

import numpy as np
import pytest

from latent_jax import tokenizers
from latent_jax.contracts import Document, FieldSpec
from latent_jax.data.packing import Encode, Lane, RowLayout
from latent_jax.tokenizers import BPE, Bytes, SentencePiece
from latent_jax.tokenizers.marked_bytes import marked_bytes, marks_of

TEXT = "".join(pydoc_data.topics.topics.values())[:30_000].encode()
SAID = "The statement  is\nnaïve, said 象. ".encode()


@pytest.fixture(scope="module")
def codes():
    makers = {"bpe": (BPE, 340), "sentencepiece": (SentencePiece, 400)}
    return {name: marked_bytes(cls.train([TEXT], v)) for name, (cls, v) in makers.items()}


def cut(text, marks):
    """Return the segments that end at marks."""
    ends = np.flatnonzero(marks) + 1
    return [text[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def test_a_space_belongs_to_what_it_ends():
    pieces = [b"The", b" ow", b"ls", b" ", b" fly", b"\n", b"now"]
    text = b"".join(pieces)
    marks = marks_of(text, [len(piece) for piece in pieces])
    assert cut(text, marks) == [b"The ", b"ow", b"ls ", b" ", b"fly", b"\n", b"now"]
    assert marks_of(b"", []).shape == (0,) and marks_of(b" ", [1]).tolist() == [True]
    assert marks_of(b" a", [2]).tolist() == [False, True]


@pytest.mark.parametrize("name", ["bpe", "sentencepiece"])
def test_marks_are_ends_of_the_tokenizer_s_own_pieces(name, codes):
    code = codes[name]
    encoded = code.encode_example(Document("a", SAID))
    ids, marks = encoded.fields["ids"], encoded.fields["boundaries"]
    np.testing.assert_array_equal(ids, [*SAID, 256])
    assert marks.dtype == bool and marks[-1] and encoded.amounts["bytes"].sum() == len(SAID)
    of_table = [code.pieces.pieces[i] for i in code.pieces.encode(SAID)]
    assert b"".join(of_table) == SAID and any(piece.startswith(b" ") for piece in of_table)
    expected = {len(SAID) - 1}
    for i, piece in enumerate(of_table[1:], 1):
        start = len(b"".join(of_table[:i]))
        expected.add(start if piece[:1] == b" " else start - 1)
    assert set(np.flatnonzero(marks[:-1])) == expected
    assert 5 < len(expected) < len(SAID)


@pytest.mark.parametrize("name", ["bpe", "sentencepiece"])
def test_they_are_bytes_and_come_back_from_a_folder(name, codes, tmp_path):
    code = codes[name]
    assert code.decode(code.encode(SAID)) == SAID and code.vocab_size == 257
    code.save(tmp_path / "code")
    again = tokenizers.load(tmp_path / "code")
    assert type(again) is type(code) and again.fingerprint() == code.fingerprint()
    assert again.fingerprint() not in (Bytes().fingerprint(), code.pieces.fingerprint())
    for made in (code, again):
        fields = made.encode_example(Document("a", SAID)).fields
        expected = marks_of(SAID, code.pieces.byte_lengths(code.pieces.encode(SAID)))
        np.testing.assert_array_equal(fields["boundaries"][:-1], expected)


def test_marks_are_packed_beside_their_ids(codes):
    code = codes["bpe"]
    layout = RowLayout.of(code, 16)
    assert layout.fields["boundaries"] == FieldSpec("bool")
    texts = [b"The owl sees.", b"It flies away now"]
    encode = Encode(code, layout)
    encoded = [encode(Document(str(i), text)) for i, text in enumerate(texts)]
    whole = {key: np.concatenate([one.fields[key] for one in encoded]) for key in layout.fields}
    lane, rows = Lane(encoded, 0, 1), []
    while True:
        row, n = lane.row(layout)
        if not n:
            break
        rows.append({key: row[key][:n] for key in layout.fields} | {"rest": row["boundaries"][n:]})
    for key in layout.fields:
        np.testing.assert_array_equal(np.concatenate([row[key] for row in rows]), whole[key])
    assert len(rows) == 2 and not any(row["rest"].any() for row in rows)
    assert layout.batch_spec(3)["boundaries"].shape == (3, 16)


def test_other_tokenizers_mark_nothing():
    with pytest.raises(ValueError, match="marked by pieces of BPE or SentencePiece; got Bytes"):
        marked_bytes(Bytes())
    with pytest.raises(ValueError, match="pieces of BPE end; got Bytes"):
        tokenizers.BPEMarkedBytes(Bytes())
