"""Which ids a nucleus keeps where a sum equals top_p on paper, held against rational numbers."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latent_jax.generation import Sampling, log_probabilities
from latent_jax.generation.sampling import ROUNDING, in_nucleus

inside = jax.jit(in_nucleus)  # top_p is traced, so that one program serves all
likeliest = jax.jit(log_probabilities, static_argnames="sampling")


def kept(weights, sampling):
    """Return the ids that can be drawn, likeliest first."""
    logits = jnp.log(jnp.asarray(weights, jnp.float32))
    log_p_BK, ids_BK = likeliest(logits[None], sampling)
    return np.asarray(ids_BK[0])[np.asarray(log_p_BK[0]) > -np.inf].tolist()


def reference(weights, top_p, top_k=0):
    """Return the same in rational numbers; of equal weights the lower id comes first."""
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))[: top_k or None]
    total, found, reached = sum(weights[i] for i in order), [], Fraction(0)
    for i in order:
        if found and reached >= top_p:
            break
        found.append(i)
        reached += Fraction(weights[i], total)
    return found


@pytest.mark.parametrize(
    ("weights", "top_p", "top_k", "n"),
    [
        ((8, 1, 1), "0.8", 0, 1),  # the one of the report
        ((5, 3, 2), "0.8", 0, 2),
        ((4, 3, 2, 1), "0.7", 0, 2),
        ((4, 3, 2, 1), "0.9", 0, 3),
        ((1,) * 10, "0.3", 0, 3),
        ((1,) * 10, "0.7", 0, 7),
        ((1, 8, 1), "0.8", 0, 1),
        ((6, 2, 1, 1), "0.75", 2, 1),  # top-k first: 6/8 and 2/8
        ((3, 3, 3, 1), "0.5", 2, 1),  # ties at the edge of top-k
        ((8, 1, 1), "0.80001", 0, 2),
        ((8, 1, 1), "0.79999", 0, 1),
        ((8, 1, 1), "1e-30", 0, 1),
    ],
)
def test_a_sum_that_equals_top_p_is_reached(weights, top_p, top_k, n):
    expected = reference(weights, Fraction(top_p), top_k)
    assert len(expected) == n
    assert kept(weights, Sampling(1.0, top_k, float(top_p))) == expected


@given(st.data())
@settings(max_examples=40)
def test_any_prefix_of_any_weights(data):
    weights = data.draw(st.lists(st.integers(1, 1000), min_size=8, max_size=8))
    n = data.draw(st.integers(1, 7))
    order = sorted(range(8), key=lambda i: (-weights[i], i))
    share = Fraction(sum(weights[i] for i in order[:n]), sum(weights))
    p_1K = jnp.asarray(weights, jnp.float32)[jnp.asarray(order)][None] / sum(weights)
    assert int(inside(p_1K, float(share)).sum()) == n
    # A share that lies clearly beyond is not reached yet.
    assert int(inside(p_1K, float(share) * (1 + 4 * ROUNDING)).sum()) == n + 1


@pytest.mark.parametrize("n_ids", [50, 4096, 65_536])
def test_sums_of_probabilities_lose_less_than_is_allowed(n_ids):
    rng = np.random.default_rng(0)
    for weights in (rng.integers(1, 1000, n_ids), 10**6 // np.arange(1, n_ids + 1) + 1):
        weights = np.sort(weights)[::-1].astype(np.int64)
        logits = jnp.log(jnp.asarray(weights, jnp.float32))
        sums = np.asarray(jnp.cumsum(jnp.exp(jax.nn.log_softmax(logits))), np.float64)
        exact = np.cumsum(weights) / weights.sum()
        assert np.max(np.abs(sums / exact - 1)) < ROUNDING / 2


def test_greedy_takes_the_first_of_the_likeliest_whatever_top_p_says():
    for top_p in (1e-9, 0.5, 1.0):
        for top_k in (0, 1, 3):
            assert kept((1, 4, 4, 1), Sampling(0.0, top_k, top_p)) == [1]


def test_ties_at_the_edge_of_top_k_go_to_the_lower_id():
    assert kept((1, 1, 1, 1), Sampling(1.0, 2, 1.0)) == [0, 1]
    assert kept((1, 2, 1, 2), Sampling(1.0, 3, 1.0)) == [1, 3, 0]


@pytest.mark.parametrize(
    "words", [{"top_k": 2.5}, {"top_k": True}, {"top_p": float("nan")}, {"top_p": -1.0}]
)
def test_numbers_that_make_no_sense(words):
    with pytest.raises(ValueError, match=next(iter(words))):
        Sampling(**words)
