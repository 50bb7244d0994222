"""Routers by entropies: which positions of a made row they choose, thresholds, and the rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.chunker import ChunkerConfig, DynamicChunker
from latent_jax.chunking.dynamic.entropy import THETA
from latent_jax.chunking.dynamic.rate import moved
from latent_jax.chunking.dynamic.registry import routers
from latent_jax.chunking.dynamic.row import Row

#           separator, and nine bytes; a second document begins at position 6
SIGNAL = [[2.0, 3.0, 0.5, 1.4, 1.3, 0.2, 0.1, 2.5, 3.5, 1.2]]
STARTS = np.array([[1, 0, 0, 0, 0, 0, 1, 0, 0, 0]], bool)
T, D = 10, 4


def cut(kind, signal=SIGNAL, **words):
    config = ChunkerConfig(kind=kind, width=D, rate=2.0, slack=4.0, **words)
    module = DynamicChunker(config)
    ids = jnp.where(STARTS, 256, 65)
    row = Row(ids, jnp.asarray(STARTS), jnp.ones_like(ids, bool), None, jnp.float32(8), signal)
    x = jnp.zeros((1, T, D))
    variables = module.init(jax.random.key(0), x, row)
    assert "params" not in variables, "nothing is learned"
    chunks, where, p, _ = module.apply(variables, x, row)
    return np.flatnonzero(where.is_first_BT[0]).tolist(), p, chunks


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        # 1.335 nats: 3.0, 1.4, 2.5 and 3.5 are above; 1.3 is not.
        ("entropy", {}, [0, 1, 3, 6, 7, 8]),
        ("entropy", {"theta": 1.25}, [0, 1, 3, 4, 6, 7, 8]),
        # 0.5 -> 1.4 rises by 0.9, 2.0 -> 3.0 by 1.0, 2.5 -> 3.5 by 1.0, 0.1 -> 2.5 by 2.4.
        ("rise", {}, [0, 6, 7]),
        ("rise", {"theta": 0.85}, [0, 1, 3, 6, 7, 8]),
        # Both, and never at the position behind a start: 3 and 8.
        ("entropy_rise", {}, [0, 3, 6, 8]),
        ("entropy_rise", {"theta": 3.2}, [0, 6, 8]),
    ],
)
def test_boundaries_are_those_of_the_rule(kind, options, expected):
    found, p, chunks = cut(kind, jnp.array(SIGNAL), router_options=tuple(options.items()))
    assert found == expected
    assert chunks.aux_loss == 0.0
    assert kind != "entropy" or options or p[0, 3] == pytest.approx(1 / (1 + np.exp(THETA - 1.4)))


def test_a_threshold_in_log_odds_is_one_in_nats():
    _, p, _ = cut("entropy", jnp.array(SIGNAL))
    above = np.asarray(moved(p, 1.0))[0] > 0.5
    free = ~STARTS[0]
    np.testing.assert_array_equal(above[free], np.array(SIGNAL[0])[free] > THETA + 1.0)


@pytest.mark.parametrize(("low", "spread"), [(0.0, 1.0), (3.5, 0.05), (0.2, 0.01)])
def test_rate_control_finds_the_entropy_that_n_asks_for(low, spread):
    """However near to each other entropies are, as those of a model that has learned little."""
    module = DynamicChunker(
        ChunkerConfig(kind="entropy", width=D, rate=4.0, slack=4.0, control_steps=20)
    )
    signal = low + spread * jax.random.exponential(jax.random.key(0), (8, 64))
    starts = jnp.zeros(signal.shape, bool).at[:, 0].set(True)
    ids = jnp.where(starts, 256, 65)
    row = Row(ids, starts, jnp.ones_like(starts), None, jnp.float32(8 * 64), signal)
    x = jnp.zeros((8, 64, D))
    variables = module.init(jax.random.key(0), x, row)
    step = jax.jit(lambda v: module.apply(v, x, row, train=True, mutable=["rate"])[1])
    for _ in range(60):
        variables = step(variables)
    chunks, *_ = module.apply(variables, x, row)
    assert chunks.stats["n_chunks"] == pytest.approx(8 * 64 / 4, abs=2)
    # 128 chunks, 8 of which begin rows: the 120 highest of 504 entropies.
    quantile = np.sort(np.asarray(signal)[:, 1:].ravel())[-120]
    found = THETA + float(variables["rate"]["threshold"]["threshold"])
    assert found == pytest.approx(float(quantile), abs=0.05 * spread)


def test_without_entropies_a_router_says_so():
    for kind in (kind for kind, router in routers().items() if router.reads_signal):
        with pytest.raises(ValueError, match=f"the router {kind} reads entropies of a byte model"):
            cut(kind, None)
