"""Decoding with caches at all stages against whole forward passes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.generation import Sampling, draw, start
from latent_jax.generation.hierarchical_decoder import HierarchicalDecoder
from latent_jax.layers.cross_reach import CrossReach
from latent_jax.layers.reach import AttentionReach
from latent_jax.models.hierarchical import HierarchicalModel
from tests.small_hierarchy import SEPARATOR, TEXT, make_config, variables_of

CASES = {
    "cosine": make_config(layers=2),
    "two stages": make_config(stages=2, widths=(8, 12), width=16, rate=2.0, slack=99.0),
    "stride, attention": make_config("stride", outer="attention", window=5),
    "whitespace": make_config("whitespace"),
    "policy": make_config("policy"),
    "mean": make_config(pooling="mean", way_back="repeat", residual="identity"),
    "entropy": make_config("entropy_rise", outer="attention", window=5, pooling="mean", ngrams=7),
    "cross": make_config("stride", outer="attention", window=5, cross=2, width=16, rate=7.0),
    "mean, two stages": make_config("stride", stages=2, rate=2.0, pooling="mean", slack=99.0),
    "gumbel, linear": make_config("gumbel", pooling="linear", way_back="repeat", rate=4.0),
    "up": make_config("whitespace", outer="attention", up=True, way_back="repeat"),
    "up, two stages": make_config("cosine", outer="attention", stages=2, rate=2.0, up=True),
    "joint": make_config("bernoulli", joint=True, residual="identity", layers=2),
    "plain middle": make_config(middle=dict(positions="none"), layers=2),
    "experts": make_config(middle=dict(n_experts=3, n_chosen=2, expert_slack=99.0)),
}
PROMPTS = [TEXT[:13], TEXT[:1], b"", TEXT[7:18]]
N_NEW = 9


def prompts():
    ids = np.zeros((len(PROMPTS), 13), np.int32)
    for row, text in zip(ids, PROMPTS, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    return jnp.asarray(ids), jnp.array([len(text) for text in PROMPTS])


def narrowed(reach, window):
    """Return a network that reads as many positions as rings of so many slots hold."""
    if isinstance(reach, CrossReach):
        return dataclasses.replace(reach, reach=narrowed(reach.reach, window))
    if isinstance(reach, AttentionReach):
        return dataclasses.replace(reach, window=min(reach.window or window, window))
    return reach


def windowed(config, window):
    """Return the config whose main network reads `window` chunks, as rings of so many slots do."""
    if isinstance(config, AttentionReach):
        return dataclasses.replace(config, window=window)
    inner = windowed(config.inner, window)
    outer = narrowed(config.outer, window)
    decoder = config.decoder and narrowed(config.decoder, window)
    up = config.up and dataclasses.replace(config.up, window=window)
    return dataclasses.replace(config, inner=inner, outer=outer, decoder=decoder, up=up)


@functools.partial(jax.jit, static_argnames="config")
def whole(config, variables, ids):
    return HierarchicalModel(config).apply(variables, ids)


@pytest.mark.parametrize(
    ("name", "n_slots"),
    [
        ("cosine", 6),
        ("entropy", 6),
        ("cross", 6),
        ("up", 6),
        *(
            pytest.param(name, n_slots, marks=pytest.mark.slow)
            for name in CASES
            for n_slots in (32, 6)
            if (name, n_slots) not in (("cosine", 6), ("entropy", 6), ("cross", 6), ("up", 6))
        ),
    ],
)
def test_prefill_and_steps_equal_the_whole_row(name, n_slots):
    """With 6 slots, rings are overwritten and lanes go beyond every window."""
    config = CASES[name]
    variables, decoder = variables_of(config), HierarchicalDecoder(config)
    ids, lengths = prompts()
    lanes = start(decoder, variables, ids, lengths, n_slots=n_slots)
    first = np.asarray(lanes.logits_BV)
    keys = jax.random.split(jax.random.key(0), len(PROMPTS))
    lanes, drawn = draw(decoder, variables, lanes, keys, Sampling(1.0, 0, 1.0), N_NEW)
    seen = dataclasses.replace(config, stage=windowed(config.stage, n_slots))
    if config.entropy is not None:
        seen = dataclasses.replace(seen, entropy=windowed(config.entropy, n_slots))
    for lane, length in enumerate(np.asarray(lengths)):
        text = np.concatenate([[SEPARATOR], ids[lane, :length], drawn.ids_BN[lane]])
        padded = jnp.asarray(np.pad(text, (0, 24 - len(text))))[None]
        logits = np.asarray(whole(seen, variables, padded)[0])
        np.testing.assert_allclose(first[lane], logits[length], atol=2e-4)
        np.testing.assert_allclose(lanes.logits_BV[lane], logits[length + N_NEW], atol=2e-4)
        log_p = np.asarray(jax.nn.log_softmax(logits[length : length + N_NEW]))
        nats = -np.take_along_axis(log_p, np.asarray(drawn.ids_BN[lane])[:, None], 1)[:, 0]
        # A lane that has drawn the separator has ended; it is read on, and not counted.
        is_end = np.asarray(drawn.ids_BN[lane]) == SEPARATOR
        nats = np.where(np.cumsum(is_end) > is_end, 0.0, nats)
        np.testing.assert_allclose(drawn.nats_BN[lane], nats, atol=2e-4)
    assert np.abs(first[0] - first[1]).max() > 1e-2


def test_calls_and_neighbours_change_nothing():
    config = CASES["cosine"]
    variables, decoder = variables_of(config), HierarchicalDecoder(config)
    ids, lengths = prompts()
    keys = jax.random.split(jax.random.key(3), len(PROMPTS))
    lanes = start(decoder, variables, ids, lengths, n_slots=32)
    _, together = draw(decoder, variables, lanes, keys, Sampling(1.0, 0, 1.0), 6)
    one = slice(3, 4)
    lanes = start(decoder, variables, ids[one], lengths[one], n_slots=32)
    parts = []
    for _ in range(2):
        lanes, drawn = draw(decoder, variables, lanes, keys[one], Sampling(1.0, 0, 1.0), 3)
        parts.append(drawn.ids_BN)
    np.testing.assert_array_equal(jnp.concatenate(parts, axis=1)[0], together.ids_BN[3])


def test_generation_is_costed_at_the_rate_that_is_aimed_at():
    config = make_config(rate=6.0, slack=2.0)
    decoder = HierarchicalDecoder(config)
    flops = config.forward_flops(96, at_rate=True)
    assert decoder.forward_flops(96) == pytest.approx(sum(flops.values()))
    assert flops["main"] < config.forward_flops(96)["main"] / 1.9
    assert decoder.max_ids is None
