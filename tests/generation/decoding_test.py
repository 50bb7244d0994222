"""Decoding with a cache against whole forward passes."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from latent_jax.generation import CodeDecoder, Sampling, TokenDecoder, draw, start
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.latent_lm import LatentLanguageModel
from tests.latent_fixtures import C, T, code_logits, make_batch, make_config

V, SEPARATOR = 7, 6
CONFIG = GPTConfig(vocab_size=V, max_length=16, n_layers=2, d_model=16, n_heads=2)
CONFIGS = {
    "learned": CONFIG,
    "relative": dataclasses.replace(CONFIG, positions="relative", max_length=8),
    "rotary": dataclasses.replace(CONFIG, positions="rotary", max_length=8, n_kv_heads=1),
}
GREEDY, UNCUT = Sampling(0.0), Sampling(1.0, 0, 1.0)
MANY, N_NEW = 10_000, 8
PROMPTS = jnp.array([[1, 2, 3, 4], [5, 0, 0, 0], [0, 0, 0, 0]])
LENGTHS = jnp.array([4, 1, 0])


def peaky(tree):
    """Return parameters far enough from 0 that logits differ."""
    return jax.tree.map(lambda leaf: 8 * leaf if leaf.ndim > 1 else leaf, tree)


@functools.cache
def make(config):
    variables = jax.jit(GPT(config).init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
    return TokenDecoder(config, SEPARATOR), peaky(variables)


@functools.cache
def forward(config):
    return jax.jit(GPT(config).apply)


def logits_of_whole(config, variables, rows, n_slots=16):
    """Return the logits of a whole forward pass, rows padded at the end to one length."""
    rows = np.asarray(rows)
    padded = np.pad(rows, ((0, 0), (0, n_slots - rows.shape[1])))
    return np.asarray(forward(config)(variables, padded)[:, : rows.shape[1]])


def keys(n=3, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_prefill_and_steps_equal_the_whole_row(config):
    decoder, variables = make(config)
    lanes = start(decoder, variables, PROMPTS, LENGTHS, n_slots=16)
    first = np.asarray(lanes.logits_BV)
    lanes, drawn = draw(decoder, variables, lanes, keys(), UNCUT, 6)
    for lane, length in enumerate(LENGTHS):
        ids = np.concatenate([PROMPTS[lane, :length], drawn.ids_BN[lane]])
        whole = logits_of_whole(config, variables, [[SEPARATOR, *ids]])[0]
        np.testing.assert_allclose(first[lane], whole[length], atol=2e-4)
        np.testing.assert_allclose(lanes.logits_BV[lane], whole[-1], atol=2e-4)
        log_p = jax.nn.log_softmax(whole[length:-1])
        nats = -np.take_along_axis(np.asarray(log_p), ids[length:, None], 1)[:, 0]
        ended = np.cumsum(ids[length:] == SEPARATOR) > (ids[length:] == SEPARATOR)
        np.testing.assert_allclose(drawn.nats_BN[lane], np.where(ended, 0, nats), atol=2e-4)
    # A prompt that is read otherwise gives other logits.
    assert np.abs(first[0] - first[1]).max() > 1e-2


def test_latents_are_drawn_as_the_latent_language_model_predicts_them():
    config, batch = make_config(), make_batch()
    model = LatentLanguageModel(config)
    mask = batch["weights"] > 0
    variables = jax.jit(model.init)({"params": jax.random.key(0)}, batch["ids"], mask)
    variables = {**variables, "params": peaky(variables["params"])}
    encode = jax.jit(functools.partial(model.apply, method="encode_codes"))
    codes, _ = encode(variables, batch["ids"], mask)

    @jax.jit
    def predict(codes):
        z_q = model.apply(variables, codes, method=lambda m, c: m.autoencoder.lookup(c))
        return code_logits(model, variables, codes, z_q)

    lengths = jnp.array([5, 0, 3, 1])
    decoder = CodeDecoder(config)
    lanes = start(decoder, variables, codes[:, :6], lengths, n_slots=T // C + 1)
    lanes, drawn = draw(decoder, variables, lanes, keys(4), UNCUT, 7)
    for lane, length in enumerate(np.asarray(lengths)):
        whole = np.concatenate([codes[lane, :length], drawn.ids_BN[lane]])[None]
        # Causal: what fills the row up to one length for all lanes changes nothing before it.
        filled = np.pad(whole, ((0, 0), (0, T // C - whole.shape[1])))
        logits = predict(filled)[0, length : whole.shape[1]]
        log_p = np.asarray(jax.nn.log_softmax(logits))
        nats = -np.take_along_axis(log_p, np.asarray(drawn.ids_BN[lane])[:, None], 1)[:, 0]
        np.testing.assert_allclose(drawn.nats_BN[lane], nats, atol=2e-4)


def test_a_lane_ends_at_the_separator_and_stays_there():
    decoder, variables = make(CONFIG)
    lanes = start(decoder, variables, jnp.zeros((MANY, 1), jnp.int32), jnp.ones(MANY, int), 16)
    lanes, drawn = draw(decoder, variables, lanes, keys(MANY), UNCUT, N_NEW)
    ids = np.asarray(drawn.ids_BN)
    first_B = np.where(ids == SEPARATOR, np.arange(N_NEW), N_NEW).min(axis=1)
    assert 5 < (first_B < N_NEW).sum() < MANY
    after_BN = np.arange(N_NEW) > first_B[:, None]
    assert (ids[after_BN] == SEPARATOR).all()
    np.testing.assert_array_equal(np.asarray(drawn.nats_BN) > 0, ~after_BN)
    np.testing.assert_array_equal(lanes.is_done_B, first_B < N_NEW)


def test_calls_and_neighbours_do_not_change_what_is_drawn():
    decoder, variables = make(CONFIG)
    whole = draw(
        decoder, variables, start(decoder, variables, PROMPTS, LENGTHS, 16), keys(), UNCUT, 6
    )[1].ids_BN
    lanes, parts = start(decoder, variables, PROMPTS, LENGTHS, 16), []
    for n in (3, 3):
        lanes, drawn = draw(decoder, variables, lanes, keys(), UNCUT, n)
        parts.append(drawn.ids_BN)
    np.testing.assert_array_equal(jnp.concatenate(parts, axis=1), whole)
    for lane in range(3):
        one = slice(lane, lane + 1)
        alone = start(decoder, variables, PROMPTS[one], LENGTHS[one], 16)
        alone = draw(decoder, variables, alone, keys()[one], UNCUT, 6)[1].ids_BN
        np.testing.assert_array_equal(alone[0], whole[lane])
    other = start(decoder, variables, PROMPTS, LENGTHS, 16)
    other = draw(decoder, variables, other, keys(seed=1), UNCUT, 6)[1].ids_BN
    assert (other != whole).any()


def test_samples_of_two_ids_have_the_models_joint_distribution():
    """Chi-square of the 49 pairs against the exact product of both steps."""
    decoder, variables = make(CONFIG)
    n = MANY
    prompts = jnp.full((n, 1), 3, jnp.int32)
    lanes = start(decoder, variables, prompts, jnp.ones(n, int), 16)
    ids = np.asarray(draw(decoder, variables, lanes, keys(n), UNCUT, N_NEW)[1].ids_BN)[:, :2]
    rows = [[SEPARATOR, 3, a] for a in range(V)]
    logits = logits_of_whole(CONFIG, variables, rows)
    p = np.asarray(jax.nn.softmax(logits, axis=-1), np.float64)
    expected = {}
    for a, b in itertools.product(range(V), repeat=2):
        second = float(b == SEPARATOR) if a == SEPARATOR else p[a, 2, b]
        expected[a, b] = p[a, 1, a] * second
    pairs, counts = np.unique(ids, axis=0, return_counts=True)
    found = {tuple(pair): count for pair, count in zip(pairs.tolist(), counts, strict=True)}
    assert set(found) <= {pair for pair, q in expected.items() if q > 0}
    frequent = [pair for pair, q in expected.items() if q * n >= 5]
    observed = [found.get(pair, 0) for pair in frequent]
    rest = 1 - sum(expected[pair] for pair in frequent)
    observed += [n - sum(observed)] if rest * n >= 5 else []
    wanted = [expected[pair] * n for pair in frequent] + ([rest * n] if rest * n >= 5 else [])
    wanted = np.array(wanted, np.float64) * (sum(observed) / sum(wanted))
    assert len(frequent) > 15 and stats.chisquare(observed, wanted).pvalue > 1e-3


def test_greedy_is_the_likeliest_of_each_whole_row():
    decoder, variables = make(CONFIG)
    lanes = start(decoder, variables, PROMPTS, LENGTHS, 16)
    ids = draw(decoder, variables, lanes, keys(), GREEDY, 5)[1].ids_BN
    row = [SEPARATOR, *PROMPTS[0].tolist()]
    for drawn in ids[0].tolist():
        assert drawn == int(logits_of_whole(CONFIG, variables, [row])[0, -1].argmax())
        row.append(drawn)
        if drawn == SEPARATOR:
            break


def test_a_penalty_counts_what_a_lane_has_read_and_drawn():
    """Greedy, beside a loop over whole rows in numpy; the separator before a prompt is not seen."""
    config = dataclasses.replace(CONFIG, vocab_size=40)
    decoder, variables = make(config)
    whole = jax.jit(lambda ids_BT: GPT(config).apply(variables, ids_BT)[0])

    def written(sampling):
        lanes = start(
            decoder, variables, PROMPTS, LENGTHS, n_slots=16, tracks_seen=sampling.needs_seen
        )
        ids = []
        for n_new in (2, 5):  # what was seen is carried from call to call
            lanes, drawn = draw(decoder, variables, lanes, keys(), sampling, n_new)
            ids.append(drawn.ids_BN)
        return np.concatenate(ids, axis=1)

    found, n_drawn = written(Sampling(0.0, repetition_penalty=4.0)), []
    for lane, length in enumerate(LENGTHS):
        ids = PROMPTS[lane, :length].tolist()
        for n in range(7):
            row = np.array([[SEPARATOR, *ids] + [0] * (15 - len(ids))])
            logits = np.array(whole(row)[len(ids)])
            for i in set(ids):
                logits[i] = logits[i] / 4 if logits[i] > 0 else logits[i] * 4
            ids.append(int(np.argmax(logits)))
            assert found[lane, n] == ids[-1]
            if ids[-1] == SEPARATOR:
                break
        n_drawn.append(n)
    assert max(n_drawn) > 4, "lanes that end at once show nothing"
    assert (found != written(Sampling(0.0))).any(), "the penalty changed nothing"
    assert start(decoder, variables, PROMPTS, LENGTHS, n_slots=16).seen_BV is None
