"""Solutions written step by step against the same solutions read as rows."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.data.problem_rows import ProblemLayout
from latent_jax.generation.rollout import Decoding, roll_out
from latent_jax.generation.rollout_steps import GREEDY
from latent_jax.generation.sampling import Sampling
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.reasoner import Reasoner, ReasonerConfig
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import nats
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_noise import ThoughtNoise
from latent_jax.tasks.thought_slots import Curriculum

SEPARATOR = 6
MODEL = GPTConfig(
    vocab_size=7,
    max_length=20,
    n_layers=2,
    d_model=16,
    n_heads=2,
    positions="rotary",
    norm="rms",
    use_bias=False,
)
LAYOUT = ProblemLayout(text=20, blocks_text=14, n_blocks=3, n_slots=2)
CONFIG = ReasonerConfig(model=MODEL, layout=LAYOUT)
DECODING = Decoding(segment=7, sampling=Sampling(1.0, top_k=0, top_p=1.0))
THINKER = Thinker(CONFIG, SEPARATOR, "latent", Curriculum(2))
GATED = dataclasses.replace(
    THINKER, config=dataclasses.replace(CONFIG, gate=0.6), noise=ThoughtNoise("hrpo")
)
SEEDS = jnp.arange(100, 116)


@functools.cache
def params(config=CONFIG):
    """Drawn parameters, far from zero; blocks are opened at about every third place."""
    drawn = Reasoner(config).init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    leaves, tree = jax.tree.flatten(drawn)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = jax.tree.unflatten(
        tree, [x + 0.15 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    )
    moved["thought"]["start_head"]["bias"] = jnp.full((1,), -0.7)
    # The separator is rare, so that solutions have several blocks.
    table = moved["token_embedding"]["embedding"]
    moved["token_embedding"]["embedding"] = table.at[SEPARATOR].multiply(0.1)
    return moved


def solutions(thinker, decoding=DECODING, n=16):
    """Return solutions behind prompts of different lengths."""
    rng = np.random.default_rng(0)
    prompts = jnp.array(rng.integers(0, 6, (16, LAYOUT.text), np.int32))[:n]
    lengths = jnp.array(rng.integers(1, 5, 16), np.int32)[:n]
    keys = jax.random.split(jax.random.key(2), 16)[:n]
    seeds = SEEDS[:n] if thinker.noise.is_drawn else None
    weights = params(thinker.config)
    return roll_out(thinker, weights, prompts, lengths, keys, decoding, seeds), lengths


@pytest.mark.parametrize(
    "thinker",
    [
        THINKER,
        dataclasses.replace(THINKER, iterations=1),
        dataclasses.replace(THINKER, slots="written", curriculum=Curriculum(0)),
        dataclasses.replace(THINKER, ends=True),
        dataclasses.replace(THINKER, noise=ThoughtNoise("gaussian", 0.5)),
        dataclasses.replace(THINKER, noise=ThoughtNoise("dropout", 0.4)),
        GATED,
        dataclasses.replace(
            THINKER, config=dataclasses.replace(CONFIG, trunks=2, change="lora", rank=2)
        ),
    ],
    ids=[
        "latent",
        "jacobi",
        "written",
        "ends",
        "gaussian",
        "dropout",
        "hrpo",
        "two trunks",
    ],
)
def test_written_step_by_step_is_read_as_rows(thinker):
    check_step_by_step(thinker)


def check_step_by_step(thinker):
    """Check that solutions have the probabilities of the same solutions read as rows."""
    found, _ = solutions(thinker)
    assert (np.array(found.n_BJ) > 0).sum() > 8, "hardly a block was opened"
    fields = found.fields(LAYOUT, SEPARATOR)
    chex.assert_shape(list(fields.values()), (16, LAYOUT.length))

    @jax.jit
    def read(weights, fields, seeds=None):
        batch = {**fields, "weights": jnp.ones((16, LAYOUT.length))}
        trunks, problems = Trunks(thinker.config, weights), Problems.of(batch, LAYOUT)
        limit = problems.n_written_BJ if thinker.ends else None
        tokens = problems.written_BJK if thinker.noise.has_tokens else None
        stage = jnp.int32(thinker.n_thoughts)
        passed = thinker.run(trunks, problems, stage, limit, seeds, None, tokens)
        return (
            nats(trunks, passed.text.x_BTD, problems.ids_BT, "whole"),
            nats(trunks, passed.before_BND, problems.block_ids_BN, "whole"),
            passed.thoughts.v_BSJD[:, 1:].swapaxes(1, 2),
        )

    seeds = SEEDS if thinker.noise.is_drawn else None
    nats_BT, nats_BN, v_BJKD = map(np.array, read(params(thinker.config), fields, seeds))
    segment, drawn = np.array(found.segment_BT), np.array(found.nats_BT)
    block = np.array(fields["segment"])[:, LAYOUT.text_end : LAYOUT.blocks_end]
    np.testing.assert_allclose(nats_BT[segment == 1], drawn[segment == 1], atol=2e-4)
    # In a row, the tokens of blocks stand in the order in which they were written.
    for row in range(len(segment)):
        np.testing.assert_allclose(
            nats_BN[row][block[row] > 0], drawn[row][segment[row] > 1], atol=2e-4
        )
    if thinker.noise.kind == "gaussian":  # its thoughts are actions, and kept
        used = np.arange(LAYOUT.n_slots)[None, None] < np.array(found.n_BJ)[..., None]
        kept = np.array(found.thoughts_BJKD)
        np.testing.assert_allclose(kept[used], v_BJKD[used], atol=2e-4)
    else:
        assert found.thoughts_BJKD is None
    if seeds is not None:
        _, others_BN, _ = map(np.array, read(params(thinker.config), fields, seeds + 1))
        assert np.abs(others_BN - nats_BN)[block > 0].max() > 1e-2, "noise changes nothing"
    behind = segment > 1
    assert np.abs(nats_BT[behind] - drawn[behind]).max() > 1e-2, "thoughts change nothing"
    return found


def test_a_mixed_thought_follows_the_token_that_was_drawn_for_it():
    found, _ = solutions(GATED)
    fields, used = found.fields(LAYOUT, SEPARATOR), np.array(found.n_BJ) > 0
    written = np.array(found.written_BJK)
    assert len(np.unique(written[used])) > 2, "hardly two tokens were drawn"

    @jax.jit
    def read(tokens):
        batch = {**fields, "weights": jnp.ones((16, LAYOUT.length))}
        trunks, problems = Trunks(GATED.config, params(GATED.config)), Problems.of(batch, LAYOUT)
        passed = GATED.run(trunks, problems, jnp.int32(2), None, None, None, tokens)
        h, v = (x.swapaxes(1, 2) for x in (passed.thoughts.h_BSJD, passed.thoughts.v_BSJD))
        return v[:, :, 1:], trunks.mix(written, h[:, :, :-1]), trunks.likeliest(h[:, :, :-1])

    drawn, mixed, _ = map(np.array, read(written))
    np.testing.assert_allclose(drawn[used], mixed[used], atol=1e-5)
    others, *_ = map(np.array, read((written + 1) % SEPARATOR))
    assert np.abs(others - drawn)[used].max() > 1e-2
    # Where no token is given, as in evaluation, it is the likeliest one; so it is greedily.
    likeliest, _, ids = map(np.array, read(None))
    again, *_ = map(np.array, read(ids))
    np.testing.assert_allclose(likeliest[used], again[used], atol=1e-5)
    greedy, _ = solutions(GATED, dataclasses.replace(DECODING, sampling=GREEDY))
    fields, used = greedy.fields(LAYOUT, SEPARATOR), np.array(greedy.n_BJ) > 0
    ids = np.array(jax.jit(likeliest_of)(fields))
    np.testing.assert_array_equal(np.array(greedy.written_BJK)[used], ids[used])


def likeliest_of(fields):
    """Return the likeliest token before each slot of solutions, int32[B, J, K]."""
    batch = {**fields, "weights": jnp.ones((16, LAYOUT.length))}
    trunks, problems = Trunks(GATED.config, params(GATED.config)), Problems.of(batch, LAYOUT)
    passed = GATED.run(trunks, problems, jnp.int32(2))
    return trunks.likeliest(passed.thoughts.h_BSJD.swapaxes(1, 2)[:, :, :-1])


def test_a_lane_does_not_depend_on_its_neighbours_and_greedy_not_on_keys():
    many, _ = solutions(THINKER)
    few, _ = solutions(THINKER, n=4)
    four = jax.tree.map(lambda x: x[:4], many)
    for field in ("ids_BT", "n_text_B", "segment_BT", "opens_BT", "n_BJ", "is_ended_B"):
        np.testing.assert_array_equal(getattr(four, field), getattr(few, field))
    chex.assert_trees_all_close(four.nats_BT, few.nats_BT, atol=1e-5)
    greedy = dataclasses.replace(DECODING, sampling=GREEDY)
    one, _ = solutions(THINKER, greedy)
    assert not np.array_equal(one.ids_BT, many.ids_BT)


def test_without_thoughts_no_block_is_opened():
    found, lengths = solutions(THINKER, dataclasses.replace(DECODING, thinks=False))
    assert not np.array(found.opens_BT).any() and not np.array(found.n_BJ).any()
    assert (np.array(found.n_text_B) > np.array(lengths)).all()
