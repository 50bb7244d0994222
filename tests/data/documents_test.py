import hypothesis.strategies as st
from hypothesis import given

from latent_jax.data.documents import cut


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode), st.integers(1, 40))
def test_pieces_join_to_the_text_and_keep_the_limit(text, limit):
    pieces = list(cut(text, limit))
    assert b"".join(pieces) == text
    assert all(0 < len(piece) <= limit for piece in pieces)


@given(st.text(min_size=1, max_size=80), st.integers(4, 40))
def test_no_character_is_cut(text, limit):
    for piece in cut(text.encode(), limit):
        piece.decode("utf-8")


def test_cuts_fall_after_line_ends_then_spaces():
    assert list(cut(b"one two\nthree four", 12)) == [b"one two\n", b"three four"]
    assert list(cut(b"one two three four", 12)) == [b"one two ", b"three four"]
    assert list(cut("ééé".encode(), 3)) == ["é".encode()] * 3


def test_long_text_is_cut_in_linear_time():
    text = b"x" * 100 + b" " + b"y" * 300_000
    assert b"".join(cut(text, 64)) == text
