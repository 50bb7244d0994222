"""SentencePiece: the library's cutting, made exact, and what training promises."""

import pytest
import sentencepiece as spm
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.tokenizers import SentencePiece


@pytest.fixture(scope="module")
def library(sentencepiece, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentencepiece") / "saved"
    sentencepiece.save(folder)
    return spm.SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))


def test_layout_of_ids(sentencepiece, library):
    assert sentencepiece.separator_id == 0
    assert sentencepiece.pieces[0] == b""
    assert sentencepiece.pieces[1:257] == tuple(bytes([b]) for b in range(256))
    assert [library.id_to_piece(i) for i in (0, 1, 256)] == ["<|endoftext|>", "<0x00>", "<0xFF>"]
    assert library.is_unknown(0) and all(library.is_byte(i) for i in range(1, 257))
    assert library.get_piece_size() == sentencepiece.vocab_size == 600


@given(text=st.text().filter(lambda text: "▁" not in text))
def test_ids_are_those_of_the_library(sentencepiece, library, text):
    assert sentencepiece.encode(text.encode()).tolist() == library.encode(text)


def test_mark_for_the_space_in_the_text_is_spelled(sentencepiece, library):
    text = "to▁the▁ end"
    # The library alone takes it for a space.
    assert library.decode(library.encode(text)) == "to the  end"
    spelled = [1 + byte for byte in "▁".encode()]
    to, the, end = (sentencepiece.encode(part).tolist() for part in (b"to", b"the", b" end"))
    assert sentencepiece.encode(text.encode()).tolist() == to + spelled + the + spelled + end


def test_spaces_belong_to_words_and_none_is_added(sentencepiece):
    assert b" the" in sentencepiece.pieces
    assert sentencepiece.decode(sentencepiece.encode(b"  the  the ")) == b"  the  the "
    assert sentencepiece.encode(b" the").size == 1


def test_training_is_deterministic(sentencepiece, corpus):
    assert SentencePiece.train(iter(corpus), 600).fingerprint() == sentencepiece.fingerprint()
    assert SentencePiece.train(corpus[1:], 600).fingerprint() != sentencepiece.fingerprint()


def test_training_keeps_text_beside_the_marks_of_the_trainer(corpus):
    def pieces(replacement: str) -> tuple[bytes, ...]:
        text = [document.replace(b" the ", replacement.encode()) for document in corpus]
        return SentencePiece.train(text, 600).pieces

    # Left to itself it drops every sentence with U+2585, nearly all of this corpus.
    assert b" the" in pieces(" the ▅ ")
    # It would take U+2581 for a space, and learn a piece from text that cannot be cut so.
    assert b" the" in pieces(" the ") and b" the" not in pieces("▁the ")


def test_training_reads_long_documents_without_spaces():
    tokenizer = SentencePiece.train([b"abcabdabcabd" * 10_000], 264)
    assert tokenizer.encode(b"abcabd" * 4).size < 12


def test_too_large_a_vocabulary_says_what_is_supported():
    with pytest.raises(ValueError, match=r"\[v=900\]: the corpus supports only \d+ ids") as raised:
        SentencePiece.train([b"one two one two"], 900)
    supported = int(str(raised.value).split("only ")[1].split(" ")[0])
    assert SentencePiece.train([b"one two one two"], supported).vocab_size == supported


def test_too_small_a_vocabulary_says_what_is_needed(corpus):
    with pytest.raises(ValueError, match=r"\[v=260\]: the corpus needs at least \d+ ids"):
        SentencePiece.train(corpus, 260)


@pytest.mark.parametrize("documents", [[], [b""], [b"\xff\xfe"]])
def test_no_text_is_an_error(documents):
    with pytest.raises(ValueError, match="no text to train on"):
        SentencePiece.train(documents, 600)
