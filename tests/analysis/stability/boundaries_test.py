import numpy as np
import pytest

from latent_jax.analysis.codes import Coded, TokenizerCode
from latent_jax.analysis.stability.boundaries import (
    alignment,
    boundaries,
    space_places,
    token_places,
)
from latent_jax.tokenizers import Bytes
from tests.analysis.made_codes import Words, pieces_of


def cut(*lengths):
    return Coded(np.zeros(len(lengths), np.int32), np.array(lengths, np.int32))


def test_white_space_is_one_place_with_both_of_its_edges():
    first, last = space_places(b" ab  c d\n")
    # White space at either end of the text stands between no words.
    assert first.tolist() == [3, 6] and last.tolist() == [5, 7]


def test_boundaries_lie_inside_and_count_once():
    assert boundaries(cut(0, 2, 0, 3, 1, 0)).tolist() == [2, 5]
    assert boundaries(cut(4)).size == 0 and boundaries(cut()).size == 0


def test_a_code_that_cuts_at_spaces_is_aligned():
    texts = [text.strip() for text in pieces_of(700, 5)]
    scores = alignment(Words().encode(texts), [*map(space_places, texts)])
    assert scores["recall_share"] == scores["precision_share"] == 1
    assert 0 < scores["random_precision_share"] < 0.5 and scores["random_recall_share"] < 0.5


def test_bytes_meet_every_place_as_random_boundaries_do():
    texts = pieces_of(700, 5)
    scores = alignment(TokenizerCode(Bytes()).encode(texts), [*map(space_places, texts)])
    assert scores["recall_share"] == scores["random_recall_share"] == pytest.approx(1)
    assert scores["precision_share"] == pytest.approx(scores["random_precision_share"])


def test_a_code_is_aligned_with_its_own_pieces():
    coded = Words().encode(pieces_of(700, 5))
    scores = alignment(coded, [*map(token_places, coded)])
    assert scores["recall_share"] == scores["precision_share"] == 1


def test_chance_is_what_random_boundaries_give():
    (text,) = pieces_of(400, 1)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        cuts = np.sort(generator.choice(np.arange(1, 400), 60, replace=False))
        coded = cut(*np.diff([0, *cuts, 400]))
        drawn.append(alignment([coded], [space_places(text)]))
    for side in ("recall_share", "precision_share"):
        mean = np.mean([scores[side] for scores in drawn])
        assert mean == pytest.approx(drawn[0][f"random_{side}"], abs=0.01)


def test_what_is_not_there_is_not_scored():
    scores = alignment([cut(3)], [space_places(b"abc")])
    assert set(scores.values()) == {None}
