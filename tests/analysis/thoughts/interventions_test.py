"""Thoughts exchanged in a small reasoner with drawn parameters."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.analysis.thoughts.interventions import (
    MASKED,
    OWN,
    SWAPPED,
    TEXT,
    exchanged,
    intervention_records,
    uniform_nats,
    ways,
)
from latent_jax.analysis.thoughts.mass import mass_records
from latent_jax.analysis.thoughts.observe import observe_all
from latent_jax.data.chains import Chains, ChainsConfig
from latent_jax.data.problem_rows import ProblemCode, ProblemLayout
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.reasoner import Reasoner, ReasonerConfig
from latent_jax.models.thinking import read_text, think_at_once
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.result_scores import score_given
from latent_jax.tasks.thinker import Thinker
from latent_jax.tasks.thought_slots import Curriculum
from latent_jax.tokenizers import Bytes

LAYOUT = ProblemLayout(text=24, blocks_text=12, n_blocks=2, n_slots=3)
MODEL = GPTConfig(
    vocab_size=257,
    max_length=24,
    n_layers=2,
    d_model=16,
    n_heads=2,
    positions="rotary",
    norm="rms",
    use_bias=False,
)
CONFIG = ReasonerConfig(model=MODEL, layout=LAYOUT, mark_ids=(60, 62, 60))
THINKER = Thinker(CONFIG, Bytes().separator_id, "latent", Curriculum(3))


@functools.cache
def batch():
    """Five problems of two blocks, and a row without a problem."""
    code = ProblemCode(Bytes(), LAYOUT, written="expression")
    documents = itertools.islice(Chains(ChainsConfig(n_problems=50)).documents(), 5)
    rows = [code.encode_example(document) for document in documents]
    arrays = {
        name: np.stack([row.fields[name] for row in rows]) for name in ("ids", *rows[0].fields)
    }
    arrays |= {
        f"n_{unit}": np.array([r.amounts[unit].sum() for r in rows]) for unit in code.amounts
    }
    filled = {name: np.pad(x, [(0, 1), *[(0, 0)] * (x.ndim - 1)]) for name, x in arrays.items()}
    filled["ids"][-1] = Bytes().separator_id
    filled["weights"] = np.repeat(np.float32([[1]] * 5 + [[0]]), LAYOUT.length, axis=1)
    return {name: jnp.asarray(x) for name, x in filled.items()}


@functools.cache
def params():
    """Parameters that are far from zero."""
    draw = jax.jit(Reasoner(CONFIG).init)
    drawn = draw(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + 0.2 * rng.normal(size=x.shape).astype(np.float32), drawn)


@functools.cache
def observed():
    """What is seen of the batch."""
    return observe_all(THINKER, params(), [batch()], 0, jax.random.key(1))


def summed(name):
    nats, is_right, is_compared, _ = observed()[0]["scored"][name]
    return nats[is_compared].sum(), is_right[is_compared].sum()


def test_own_and_swapped_thoughts_give_the_numbers_of_the_evaluation():
    task = LatentReasoning(THINKER, bytes_per_position=1.0)
    sums = jax.jit(task.evaluate)({"params": params()}, batch())
    assert observed()[0]["n_BJ"].shape == (5, 2)  # the row without a problem is gone
    assert summed(OWN)[0] == pytest.approx(float(sums["result_nats_with"]), rel=1e-5)
    assert summed(TEXT)[0] == pytest.approx(float(sums["result_nats_without"]), rel=1e-5)
    nats, right = summed(SWAPPED)
    assert nats == pytest.approx(float(sums["result_nats_swapped"]), rel=1e-5)
    assert right == float(sums["right_swapped_J"].sum())
    is_compared = observed()[0]["scored"][SWAPPED][2]
    assert is_compared.sum() == 8  # nobody follows the last problem
    own = observed()[0]["scored"][OWN][0][is_compared].sum()
    assert own == pytest.approx(float(sums["result_nats_own"]), rel=1e-5)


def test_every_exchange_changes_something_and_all_slots_nothing():
    scored = observed()[0]["scored"]
    own = scored[OWN][0]
    for name in (*ways(3), MASKED):
        nats, _, is_compared, _ = scored[name]
        change = np.abs(nats - own)[is_compared].max()
        assert change < 1e-4 if name == "k=3" else change > 1e-3, name


def test_no_slot_in_use_is_the_same_whatever_slots_hold():
    problems = Problems.of(batch(), LAYOUT)
    given_BJKD = jax.random.normal(jax.random.key(3), (6, 2, 3, 16))

    @jax.jit
    def score(weights):
        trunks = Trunks(CONFIG, weights)
        text = read_text(trunks, problems.ids_BT, THINKER.separator_id)
        n_BJ = jnp.zeros((6, 2), jnp.int32)
        return score_given(THINKER, trunks, text, problems, given_BJKD, n_BJ).nats_BJ

    expected = observed()[0]["scored"]["k=0, none"][0]
    np.testing.assert_allclose(np.array(score(params()))[:5], expected, rtol=1e-4)


def test_masked_thoughts_are_not_read_and_marks_stay():
    problems = Problems.of(batch(), LAYOUT)

    @jax.jit
    def states(weights, held_BJKD, n_BJ, read_BJ):
        trunks = Trunks(CONFIG, weights)
        text = read_text(trunks, problems.ids_BT, THINKER.separator_id)
        thoughts = think_at_once(trunks, text, problems.breakpoints_BJ, held_BJKD)
        return THINKER.read(trunks, text, problems, n_BJ, thoughts, read_BJ)[0]

    held = [jax.random.normal(jax.random.key(seed), (6, 2, 3, 16)) for seed in (3, 4)]
    nothing_BJ, all_BJ = jnp.zeros((6, 2), jnp.int32), jnp.full((6, 2), 3)
    masked, other = (states(params(), x, all_BJ, nothing_BJ) for x in held)
    np.testing.assert_allclose(masked, other, atol=1e-5)  # whatever slots hold
    no_slots = states(params(), held[0], nothing_BJ, nothing_BJ)
    assert np.abs(masked - no_slots)[:5].max() > 1e-3  # there the end mark has moved up
    read, again = (states(params(), held[0], all_BJ, n_BJ) for n_BJ in (all_BJ, all_BJ + 1))
    np.testing.assert_array_equal(read, again)  # slots that are not in use are never read
    # Start stays: without it the states are others.
    moved = jax.tree.map(lambda x: x, params())
    moved["thought"]["marks"] = moved["thought"]["marks"].at[0].add(1.0)
    assert np.abs(states(moved, held[0], all_BJ, nothing_BJ) - masked)[:5].max() > 1e-3


def test_attention_without_preference_gives_thoughts_their_share():
    blind = jax.tree.map(lambda x: x, params())
    attention = blind["stack"]["blocks"]["attention"]
    attention["query_key_value"] = {
        "kernel": jnp.zeros_like(attention["query_key_value"]["kernel"])
    }
    _, sums = observe_all(THINKER, blind, [batch()], 0, jax.random.key(1))
    assert sums["places"] == 10  # five problems, two results of one digit
    records = mass_records(sums)
    assert len(records) == 4
    for record in records:
        assert record["thoughts_mass_ratio"] == pytest.approx(1, abs=1e-4)
        assert record["start_mass_ratio"] == pytest.approx(1, abs=1e-4)
    ratios = [record["thoughts_mass_ratio"] for record in mass_records(observed()[1])]
    assert max(np.abs(np.array(ratios) - 1)) > 0.05


def test_vectors_are_exchanged_as_their_names_say():
    v_BJKD = jnp.arange(1, 13, dtype=jnp.float32).reshape(2, 1, 3, 2)
    n_BJ, opens_BJ = jnp.array([[2], [3]]), jnp.array([[4], [0]])
    given, n, is_compared = exchanged(v_BJKD, n_BJ, opens_BJ, jax.random.key(0), 1)
    found = dict(zip(ways(1), zip(given, n, is_compared, strict=True), strict=True))
    assert list(found)[-2:] == ["k=0, none", "k=1, the first one"]
    np.testing.assert_array_equal(found[SWAPPED][0][0], v_BJKD[1])
    assert not found[SWAPPED][2].any()  # the other row has no block
    np.testing.assert_array_equal(found["order reversed"][0][0, 0], [[3, 4], [1, 2], [5, 6]])
    np.testing.assert_array_equal(found["order reversed"][0][1, 0], v_BJKD[1, 0, ::-1])
    # The third slot of the first row is not in use.
    np.testing.assert_array_equal(found["mean of the batch"][0][0, 0], [[4, 5], [6, 7], [11, 12]])
    noise = found["noise of the same norm"][0]
    lengths = (jnp.linalg.norm(x, axis=-1) for x in (noise, v_BJKD))
    np.testing.assert_allclose(*lengths, rtol=1e-5)
    assert found["k=0, none"][1].tolist() == [[0], [0]]
    assert found["k=1, the first one"][1].tolist() == [[1], [1]]


def test_records_compare_the_same_blocks():
    own = np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2), bool), np.ones((2, 2), bool)
    other = (
        np.array([[2.0, 9.0], [5.0, 9.0]]),
        np.array([[False, False], [True, False]]),
        np.array([[True, False], [True, False]]),
    )
    n_tokens_PJ = np.array([[1, 1], [2, 0]])
    records = intervention_records({OWN: own, SWAPPED: other}, n_tokens_PJ, 1.75)
    assert [(r["way"], r["block"]) for r in records] == [
        (OWN, 0),
        (OWN, 1),
        (OWN, 2),
        (SWAPPED, 0),
        (SWAPPED, 1),
    ]
    whole, swapped = records[0], records[3]
    assert whole["n_results"] == 3 and whole["nats_per_token"] == pytest.approx((1 + 2 + 3) / 4)
    assert swapped["n_tokens"] == 3 and swapped["nats_per_token"] == pytest.approx(7 / 3)
    assert swapped["own_nats_per_token"] == pytest.approx(4 / 3)
    assert swapped["added_nats_per_token"] == pytest.approx(1) and swapped["is_used"]
    assert swapped["right_share"] == 0.5 and swapped["own_right_share"] == 1
    assert swapped["lost_right_share"] == 0.5 and records[4]["lost_right_share"] == 0.5
    # A result of one token costs 1.75 at most, one of two tokens 3.5: 0.75 + 0.5, on three tokens.
    assert swapped["capped_nats_per_token"] == pytest.approx(1.25 / 3)
    assert "lost_right_share" not in whole and "capped_nats_per_token" not in whole


def test_confidence_moves_nats_and_neither_of_the_other_measures():
    own = np.full((40, 1), 0.1), np.ones((40, 1), bool), np.ones((40, 1), bool)
    is_right = np.arange(40)[:, None] % 10 == 0
    found = []
    for wrong in (3.0, 30.0):
        other = np.where(is_right, 0.2, wrong), is_right, np.ones((40, 1), bool)
        scored = {OWN: own, SWAPPED: other}
        found.append(intervention_records(scored, np.ones((40, 1), int), np.log(10))[-1])
    mild, sure = found
    assert sure["added_nats_per_token"] > 9 * mild["added_nats_per_token"]
    for key in ("capped_nats_per_token", "lost_right_share"):
        for end in ("", "_low", "_high"):
            assert sure[f"{key}{end}"] == mild[f"{key}{end}"]
    assert mild["lost_right_share"] == pytest.approx(0.9)
    half = 1.96 * np.sqrt(0.9 * 0.1 / 39)
    assert mild["lost_right_share_low"] == pytest.approx(0.9 - half, abs=1e-4)


def test_what_changes_nothing_adds_nothing_under_a_cap():
    nats = np.array([[1.0], [4.0]]), np.zeros((2, 1), bool), np.ones((2, 1), bool)
    record = intervention_records({OWN: nats, SWAPPED: nats}, np.ones((2, 1), int), 2.0)[-1]
    assert record["capped_nats_per_token"] == record["added_nats_per_token"] == 0
    assert not record["is_used"]


def test_a_uniform_result_knows_only_which_tokens_there_are():
    assert uniform_nats(np.array([49, 50, 51, 51, 48])) == pytest.approx(np.log(4))
    assert uniform_nats(np.array([], int)) == 0
