"""What is drawn against what should be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from latent_jax.generation import Sampling, log_probabilities, sample
from latent_jax.generation.sampling import penalized

P = np.array([0.05, 0.4, 0.3, 0.15, 0.1])
LOGITS = jnp.log(jnp.asarray(P, jnp.float32))


draw = jax.jit(sample, static_argnames="sampling")
likeliest = jax.jit(log_probabilities, static_argnames="sampling")


def drawable(sampling, logits=LOGITS):
    """Return {id: probability}."""
    log_p_BK, ids_BK = likeliest(logits[None], sampling)
    found = zip(np.asarray(ids_BK[0]).tolist(), np.exp(log_p_BK[0]).tolist(), strict=True)
    return {i: p for i, p in found if p > 0}


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0, 0, 1.0), {i: p for i, p in enumerate(P)}),
        (Sampling(1.0, 1, 1.0), {1: 1.0}),
        (Sampling(1.0, 2, 1.0), {1: 4 / 7, 2: 3 / 7}),
        (Sampling(1.0, 99, 1.0), {i: p for i, p in enumerate(P)}),
        # The nucleus holds the id that crosses the sum, and one id at least.
        (Sampling(1.0, 0, 0.69), {1: 4 / 7, 2: 3 / 7}),
        (Sampling(1.0, 0, 0.71), {1: 40 / 85, 2: 30 / 85, 3: 15 / 85}),
        (Sampling(1.0, 0, 1e-9), {1: 1.0}),
        # Top-k first: the nucleus is of what it leaves, 4/7 and 3/7.
        (Sampling(1.0, 2, 0.5), {1: 1.0}),
        # Temperature before both: squares of P.
        (Sampling(0.5, 2, 1.0), {1: 16 / 25, 2: 9 / 25}),
        (Sampling(0.0, 3, 0.9), {1: 1.0}),
    ],
)
def test_what_can_be_drawn_and_how_often(sampling, expected):
    found = drawable(sampling)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[i] for i in expected], [*expected.values()], rtol=1e-5)


@pytest.mark.parametrize(
    "sampling", [Sampling(1.0, 0, 1.0), Sampling(0.7, 4, 0.9), Sampling(2.0, 3, 1.0)]
)
def test_samples_have_the_stated_distribution(sampling):
    n = 20_000
    keys = jax.random.split(jax.random.key(1), n)
    ids = np.asarray(draw(keys, jnp.tile(LOGITS[None], (n, 1)), sampling))
    expected = np.zeros(len(P))
    for i, p in drawable(sampling).items():
        expected[i] = p
    counts = np.bincount(ids, minlength=len(P))
    assert counts[expected == 0].sum() == 0
    inside = expected > 0
    expected /= expected.sum()  # of float32
    test = stats.chisquare(counts[inside], n * expected[inside])
    assert test.pvalue > 1e-3
    # Another temperature is told apart.
    other = np.where(inside, P, 0) / P[inside].sum()
    if sampling.temperature != 1.0:
        assert stats.chisquare(counts[inside], n * other[inside]).pvalue < 1e-6


def test_equal_logits_are_drawn_evenly_and_greedy_takes_the_first():
    logits = jnp.zeros((1, 4))
    assert drawable(Sampling(1.0, 0, 1.0), logits[0]).keys() == {0, 1, 2, 3}
    assert int(draw(jax.random.split(jax.random.key(0), 1), logits, Sampling(0.0))[0]) == 0


def test_a_lane_draws_the_same_beside_any_others():
    keys = jax.random.split(jax.random.key(3), 5)
    logits = jax.random.normal(jax.random.key(4), (5, 50))
    together = draw(keys, logits, Sampling())
    for lane in range(5):
        alone = draw(keys[lane : lane + 1], logits[lane : lane + 1], Sampling())
        assert int(alone[0]) == int(together[lane])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"temperature": -0.1}, "temperature must be at least 0"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": -1}, "top_k must be at least 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "at most 1"),
        ({"repetition_penalty": 0.0}, r"repetition_penalty must be above 0 \(1 = off\); got 0\.0"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty must be above 0"),
    ],
)
def test_numbers_outside_their_range_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**words)


def by_hugging_face(input_ids, scores, penalty):
    """Return what transformers' `RepetitionPenaltyLogitsProcessor` makes of scores, in numpy.

    Its formula: score = gather(scores, 1, input_ids); score = where(score < 0, score * penalty,
    score / penalty); scatter(scores, 1, input_ids, score).
    """
    out = scores.copy()
    for row, ids in enumerate(input_ids):
        for i in ids:
            s = scores[row, i]
            out[row, i] = s * penalty if s < 0 else s / penalty
    return out


@pytest.mark.parametrize("penalty", [0.5, 1.2, 3.0])
def test_the_penalty_pushes_what_was_seen_as_hugging_face_does(penalty):
    logits = 3 * np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    logits[0, :2] = 0.0, -0.0
    ids = np.array([[0, 1, 1, 5], [2, 2, 2, 2], [8, 0, 3, 4], [1, 2, 3, 4]])
    seen = np.zeros((4, 9), bool)
    np.put_along_axis(seen, ids, True, axis=1)
    found = penalized(jnp.array(logits), jnp.array(seen), penalty)
    expected = by_hugging_face(ids, logits, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.abs(expected - logits).max() > 0.1


@pytest.mark.parametrize("penalty", [0.5, 1.2])
def test_the_formula_is_that_of_transformers(penalty):
    transformers = pytest.importorskip("transformers", reason="needs the extra 'benchmark'")
    import torch

    scores = np.random.default_rng(1).normal(size=(3, 9)).astype(np.float32)
    ids = np.array([[0, 1, 1, 5], [2, 2, 2, 2], [8, 0, 3, 4]])
    processor = transformers.RepetitionPenaltyLogitsProcessor(penalty)
    theirs = processor(torch.from_numpy(ids), torch.from_numpy(scores.copy())).numpy()
    np.testing.assert_allclose(by_hugging_face(ids, scores, penalty), theirs, rtol=1e-6)


def test_the_penalty_comes_before_temperature_and_truncation():
    sampling = Sampling(0.5, 2, 1.0, repetition_penalty=2.0)
    seen = jnp.array([[False, True, False, True, False]])
    log_p_BK, ids_BK = log_probabilities(LOGITS[None], sampling, seen)
    # All logits are negative: those seen are doubled, 0.4^2 = 0.16 and 0.15^2; then top-k leaves
    # 0.3 and 0.16, and temperature squares them.
    assert ids_BK[0].tolist() == [2, 1]
    expected = np.array([0.3**2, 0.16**2])
    np.testing.assert_allclose(np.exp(log_p_BK[0]), expected / expected.sum(), rtol=1e-5)
    greedy = Sampling(0.0, repetition_penalty=2.0)
    assert int(sample(jax.random.split(jax.random.key(0), 1), LOGITS[None], greedy, seen)[0]) == 2
    with pytest.raises(ValueError, match=r"repetition_penalty=2\.0 needs the ids that each lane"):
        log_probabilities(LOGITS[None], sampling)
