import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latent_jax.analysis.codes import Coded, TokenizerCode
from latent_jax.analysis.options import SENTENCE
from latent_jax.analysis.stability.changes import (
    change_test,
    common_words,
    compare,
    pairwise_distances,
    prefix_test,
)
from latent_jax.tokenizers import AC, BPE, Bytes, EqualInfoAC, GZip, StaticAC
from tests.analysis.made_codes import TEXT, Words, pieces_of
from tests.tokenizers.byte_models import byte_model

WORDS = [b"house", b"green", b"to", b"because", b"river"]


def levenshtein(a, b):
    """The definition, one cell after the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]


ids = st.lists(st.integers(0, 3).map(lambda i: i * 20_000), max_size=9)


@given(st.lists(ids, min_size=2, max_size=4))
def test_distances_are_those_of_the_definition(sequences):
    arrays = [np.array(sequence, np.int32) for sequence in sequences]
    found, longer = pairwise_distances(arrays)
    pairs = list(itertools.combinations(sequences, 2))
    assert found.tolist() == [levenshtein(a, b) for a, b in pairs]
    assert longer.tolist() == [max(len(a), len(b)) for a, b in pairs]


def test_common_words_are_drawn_by_the_seed():
    texts = pieces_of(2000, 20)
    words = common_words(texts, 50, 20, seed=1)
    assert words == common_words(texts, 50, 20, seed=1) != common_words(texts, 50, 20, seed=2)
    assert len(set(words)) == 20 and b"the" in common_words(texts, 20, 20, seed=0)
    with pytest.raises(ValueError, match="and 20 are to be drawn"):
        common_words([b"a few words"], 50, 20, seed=0)


@pytest.mark.parametrize("kind", ["bytes", "words", "bpe"])
def test_what_reads_words_by_themselves_is_the_same_behind_every_prefix(kind):
    made = {
        "bytes": lambda: TokenizerCode(Bytes()),
        "words": Words,
        "bpe": lambda: TokenizerCode(BPE.train(pieces_of(5000, 4), 400)),
    }
    distances = prefix_test(made[kind](), WORDS, SENTENCE.encode())
    assert not distances.sentence.any()
    assert distances.n_sentence.min() > 10
    if kind == "words":
        assert (distances.whole == 1).all()
    if kind == "bytes":
        expected = [levenshtein(a, b) for a, b in itertools.combinations(WORDS, 2)]
        assert distances.whole.tolist() == expected


def test_an_arithmetic_code_is_another_one_behind_every_prefix():
    code = TokenizerCode(StaticAC.train(pieces_of(5000, 4), 256))
    distances = prefix_test(code, WORDS, SENTENCE.encode())
    assert (distances.sentence > 0.9 * distances.n_sentence).all()
    assert (distances.whole >= distances.sentence).all()


def changes_of(code, n_texts=4, length=400, n_changes=12):
    texts = pieces_of(length, n_texts)
    return change_test(code, texts, code.encode(texts), n_changes, seed=0)


def test_a_changed_byte_is_one_changed_id_of_bytes():
    changes = changes_of(TokenizerCode(Bytes()))
    assert (changes.changed_tokens == 1).all() and (changes.n_tokens == 400).all()
    assert not changes.travel_bytes.any() and not changes.back_bytes.any()
    assert not changes.reaches_end.any() and (changes.left_bytes >= 200).all()


def test_a_changed_byte_stays_among_its_words():
    changes = changes_of(Words())
    # A space that comes or goes makes two words of one, or one of two.
    assert (changes.changed_tokens <= 2).all() and (changes.changed_tokens >= 1).all()
    assert changes.travel_bytes.max() < 80 and not changes.reaches_end.any()


def test_a_changed_byte_travels_to_the_end_of_a_deflated_text():
    changes = changes_of(TokenizerCode(GZip(256)))
    assert changes.reaches_end.all()  # at the latest by the checksum
    assert (changes.travel_bytes > 0.9 * changes.left_bytes - 40).all()


@pytest.mark.parametrize("kind", ["StaticAC", "AC"])
def test_a_changed_byte_travels_to_the_end_of_an_arithmetic_code(kind):
    made = {
        "StaticAC": lambda: StaticAC.train(pieces_of(5000, 4), 256),
        "AC": lambda: AC(byte_model(), 256),
    }
    changes = changes_of(TokenizerCode(made[kind]()))
    # Ids of 8 bits agree by chance once in 256; zeros fill up the last one.
    assert (changes.travel_bytes > changes.left_bytes - 16).all()
    assert changes.changed_tokens.sum() > 0.4 * changes.n_tokens.sum()
    assert (changes.back_bytes <= 16).all()


@pytest.mark.parametrize(("window_bits", "vocab"), [(16, 65536), (16, 256), (32, 256)])
def test_a_changed_byte_travels_to_the_first_end_of_a_window_that_both_texts_share(
    window_bits, vocab
):
    """Windows forget: they are the same again from there on, and were before the byte's own.

    The window that ends before the byte may differ, since the byte did not fit into it.
    """
    code = TokenizerCode(EqualInfoAC(byte_model(), window_bits, vocab))
    per_window = code.window_tokens
    texts = pieces_of(300, 4)
    places = [0, 40, 101, 150]
    changed = [
        text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]
        for text, place in zip(texts, places, strict=True)
    ]
    resumed = []
    for place, a, b in zip(places, code.encode(texts), code.encode(changed), strict=True):
        ends_a, ends_b = (np.cumsum(c.byte_lengths)[per_window - 1 :: per_window] for c in (a, b))
        before = int(np.searchsorted(ends_a, place)) * per_window
        np.testing.assert_array_equal(a.ids[:before], b.ids[:before])
        shared = np.intersect1d(ends_a, ends_b)
        first = shared[shared > place][0]
        rest_a, rest_b = (
            c.ids[(np.searchsorted(ends, first) + 1) * per_window :]
            for c, ends in ((a, ends_a), (b, ends_b))
        )
        np.testing.assert_array_equal(rest_a, rest_b)
        resumed.append(len(rest_a))
    # Where two texts share an end is chance, which the last bits of a model decide.
    assert any(resumed)
    changes = changes_of(code)
    assert changes.reaches_end.mean() < 1
    assert np.median(changes.travel_bytes) < 0.7 * np.median(changes.left_bytes)


def test_a_model_that_never_forgets_carries_a_change_as_far_as_it_reads_back():
    """Windows of a model that is reset often end it sooner. This model reads 16 bytes back."""
    every, never = (
        changes_of(TokenizerCode(EqualInfoAC(byte_model(), 32, 256, reset=reset)), n_changes=60)
        for reset in ("every", "never")
    )
    assert (never.travel_bytes < 8).mean() < 0.05 and (every.travel_bytes < 8).mean() > 0.15


def test_texts_take_turns_and_what_cannot_change_is_left_out():
    code = TokenizerCode(Bytes())
    texts = [b"aaaa", b"ab" * 50, b"cd" * 10]
    changes = change_test(code, texts, code.encode(texts), 4, seed=0)
    assert changes.n_tokens.tolist() == [100, 20, 100, 20]
    with pytest.raises(ValueError, match="none can be changed"):
        change_test(code, texts[:1], code.encode(texts[:1]), 4, seed=0)


def test_a_change_is_found_again_with_the_same_seed():
    code = TokenizerCode(Bytes())
    texts = [TEXT[:900]]
    first, second, other = (
        change_test(code, texts, code.encode(texts), 5, seed).left_bytes for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_a_change_that_leaves_the_ids_as_they_were_goes_nowhere():
    before = Coded(np.array([3, 1, 4], np.int32), np.array([2, 2, 2], np.int32))
    assert compare(before, before, 3) == (3, 0, 0, 0, False, 2)
    after = before._replace(ids=np.array([3, 1, 5], np.int32))
    assert compare(before, after, 3) == (3, 1, 0, 2, True, 2)
