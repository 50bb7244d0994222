"""Groups, rewards and advantages of solutions that a reasoner wrote."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from latent_jax.data.chains import Chains, ChainsConfig
from latent_jax.data.problem_rows import ProblemCode
from latent_jax.data.verifier import is_right
from latent_jax.generation.rollout_stream import RolloutStream, _packed, advantages
from latent_jax.models.reasoner import Reasoner
from latent_jax.models.thinking import read_text
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.actions import act_again
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.policy import Policy
from latent_jax.tasks.policy_config import GROUP_REWARD, OLD_NATS, REFERENCE_NATS, PolicyConfig
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.result_scores import logits
from latent_jax.tasks.thought_noise import ThoughtNoise
from tests.generation import rollout_test as seven
from tests.small_reasoner import CONFIG, LAYOUT, THINKER, TOKENIZER


class Batches:
    """The same two problems again and again, and how often they were read."""

    def __init__(self):
        code = ProblemCode(TOKENIZER, LAYOUT, written="expression")
        rows = [code.encode_example(one) for one in Chains(ChainsConfig(n_problems=2)).documents()]
        self.batch = {name: np.stack([row.fields[name] for row in rows]) for name in code.fields}
        self.batch["weights"] = np.ones((2, LAYOUT.length), np.float32)
        self.count = 0

    def __next__(self):
        self.count += 1
        return self.batch

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]

    def close(self):
        self.count = -1


def params():
    return Reasoner(CONFIG).init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))


def test_advantages_sum_to_zero_in_each_group_and_are_zero_without_contrast():
    rewards = np.array([[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]], np.float32)
    found = advantages(rewards)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-5)
    assert (found[1:3] == 0).all()
    np.testing.assert_allclose(found[3], [1, 1, -1, -1], atol=1e-3)
    np.testing.assert_allclose(found[0], [3**0.5, *[-(3**-0.5)] * 3], atol=1e-3)


def test_a_batch_holds_groups_with_the_verifiers_rewards(monkeypatch):
    # Drawn parameters solve nothing: every third solution is called right, to see where it goes.
    turn = itertools.count()
    asked = []

    def verdict(text, answer, *, strict):
        asked.append((text, answer, strict))
        return next(turn) % 3 == 0

    monkeypatch.setattr("latent_jax.generation.rollout_stream.is_right", verdict)
    stream = RolloutStream(THINKER, Batches(), TOKENIZER, PolicyConfig(group=3, segment=6))
    batch = stream.next(params(), jax.random.key(1))
    assert {name: x.shape for name, x in batch.items()} == {
        **dict.fromkeys(("ids", "segment", "place", "opens", "result"), (6, LAYOUT.length)),
        **dict.fromkeys(("advantage", "reward", "noise_seed", "weights"), (6, LAYOUT.length)),
        GROUP_REWARD: (6, LAYOUT.length),
        **dict.fromkeys(("n_bytes", "n_problems"), (6,)),
    }
    np.testing.assert_array_equal(batch["reward"][:, 0], [1, 0, 0, 1, 0, 0])
    np.testing.assert_allclose(batch[GROUP_REWARD][:, 5], [1 / 3] * 6)
    np.testing.assert_allclose(batch["advantage"].reshape(2, 3, -1).sum(axis=1), 0, atol=1e-4)
    documents = list(Chains(ChainsConfig(n_problems=2)).documents())
    for row, (text, answer, strict) in enumerate(asked):
        assert strict and is_right(f"#### {answer}", answer, strict=True)
        assert f'#### {answer}"' in documents[row // 3].text.decode()
        assert batch["n_bytes"][row] == len(text.encode("utf-8", "surrogateescape"))
    assert len({text for text, *_ in asked[:3]}) > 1, "a group is one solution"
    problems = Problems.of(batch, LAYOUT)
    questions = np.array(problems.ids_BT)[:, :7]
    assert (questions[:3] == questions[0]).all() and (questions[3] != questions[0]).any()


def test_the_place_in_the_problems_is_saved_and_draws_follow_the_key():
    stream = RolloutStream(THINKER, Batches(), TOKENIZER, PolicyConfig(group=2, segment=6))
    one = stream.next(params(), jax.random.key(1))
    assert stream.get_state() == {"count": 1}
    same, other = (stream.next(params(), jax.random.key(seed)) for seed in (1, 2))
    np.testing.assert_array_equal(one["ids"], same["ids"])
    assert (one["ids"] != other["ids"]).any()
    stream.set_state({"count": 7})
    assert stream.get_state() == {"count": 7}


def test_slots_are_priced_where_half_of_a_group_is_right():
    config = PolicyConfig(group=2, length_price=0.1)
    stream = RolloutStream(THINKER, Batches(), TOKENIZER, config)
    rewards = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    prices = stream._prices(rewards, np.array([[6, 3], [6, 3], [2, 4]]))
    np.testing.assert_allclose(prices, [[0.15, -0.15], [0, 0], [-0.1, 0.1]], rtol=1e-6)


def test_a_group_of_one_is_refused():
    with pytest.raises(ValueError, match=r"policy.group=1: .* give 2 or more"):
        dataclasses.replace(PolicyConfig(), group=1)


NOISY = dataclasses.replace(THINKER, noise=ThoughtNoise("gaussian", 0.3))
TWICE = PolicyConfig(group=2, segment=6, updates=2, kl=0.1, gradient="gaussian", noise=0.3)


def test_a_roll_out_serves_its_updates_and_goes_on_in_the_middle_of_them():
    weights = {**params(), "reference": jax.tree.map(lambda x: 0.9 * x, params()["params"])}
    later = jax.tree.map(lambda x: 1.1 * x, weights)
    stream, problems = RolloutStream(NOISY, Batches(), TOKENIZER, TWICE), Batches()
    first = stream.next(weights, jax.random.key(1))
    saved = json.loads(json.dumps(stream.get_state()))
    again = stream.next(later, jax.random.key(2))
    assert all(again[name] is x for name, x in first.items()), "it was written anew"
    assert stream.get_state() == {"problems": {"count": 1}, "n_left": 0, "written": None}
    # Another process takes over between the two updates.
    other = RolloutStream(NOISY, problems, TOKENIZER, TWICE)
    other.set_state(saved)
    assert problems.count == 1
    resumed = other.next(later, jax.random.key(2))
    assert resumed.keys() == first.keys()
    for name, x in first.items():
        assert resumed[name].dtype == x.dtype
        np.testing.assert_array_equal(resumed[name], x)
    new = [one.next(later, jax.random.key(3)) for one in (stream, other)]
    assert problems.count == 2 and (new[0]["ids"] != first["ids"]).any()
    for name, x in new[0].items():
        np.testing.assert_array_equal(new[1][name], x)


def test_a_roll_out_that_was_saved_before_rows_had_it_is_told_the_reward_of_its_groups():
    reward = np.tile(np.array([[1.0], [0.0], [0.0], [0.0]], np.float32), (1, LAYOUT.length))
    stream = RolloutStream(THINKER, Batches(), TOKENIZER, TWICE)
    state = {"problems": {"count": 1}, "n_left": 1, "written": _packed({"reward": reward})}
    stream.set_state(state)
    batch = stream.next(None, None)
    np.testing.assert_array_equal(
        batch[GROUP_REWARD], 0.5 * (np.arange(4) < 2)[:, None] + 0 * reward
    )


def test_a_roll_out_carries_how_likely_it_was_under_both_weights():
    weights = {**params(), "reference": jax.tree.map(lambda x: 0.9 * x, params()["params"])}
    batch = RolloutStream(NOISY, Batches(), TOKENIZER, TWICE).next(weights, jax.random.key(1))
    fields = TWICE.fields(LAYOUT, CONFIG.model.d_model)
    assert {*fields, "ids", "segment", "place", "opens", "result"} < batch.keys()
    for name, spec in fields.items():
        assert batch[name].shape == (4, LAYOUT.length, *spec.shape), name
        assert batch[name].dtype == np.float32
    for names, of in ((OLD_NATS, "params"), (REFERENCE_NATS, "reference")):
        _, actions = jax.jit(lambda p: act_again(NOISY, p, batch))(weights[of])
        found = np.stack([batch[name] for name in names], axis=1)
        np.testing.assert_allclose(found, actions.nats_B2L, atol=1e-4)
    away = batch[OLD_NATS[0]] - batch[REFERENCE_NATS[0]]
    assert np.abs(away).max() > 1e-2


def test_the_time_of_roll_outs_is_measured_since_the_last_look():
    stream = RolloutStream(THINKER, Batches(), TOKENIZER, PolicyConfig(group=2, segment=6))
    batch = stream.next(params(), jax.random.key(1))
    n_tokens = (batch["segment"][:, : LAYOUT.text] > 0).sum()
    seconds = stream._seconds
    found = stream.measured(4 * seconds)
    assert found["rollout_time_share"] == pytest.approx(0.25)
    assert found["update_time_share"] == pytest.approx(0.75)
    assert found["rollout_tokens_per_second"] == pytest.approx(n_tokens / seconds)
    assert stream.measured(1.0) == {"rollout_time_share": 0.0, "update_time_share": 1.0}


class Digits:
    """A tokenizer of the seven ids of `rollout_test`."""

    separator_id = seven.SEPARATOR

    def decode_batch(self, rows):
        return [bytes(48 + int(id_) for id_ in row) for row in rows]


def test_the_gradient_of_written_solutions_is_that_of_the_expected_reward(monkeypatch):
    # A solution is one token, and three of seven are right, so that the mean is a sum by hand.
    rights, group = ("1", "4", "5"), 512
    monkeypatch.setattr(
        "latent_jax.generation.rollout_stream.is_right",
        lambda text, answer, *, strict: text in rights,
    )
    config = PolicyConfig(group=group, segment=1, temperature=1.5)
    given = {name: np.zeros((2, seven.LAYOUT.length), np.int32) for name in Batches().batch}
    given["ids"][:, :4] = [[0, 3, 2, 1], [5, 5, 1, 0]]
    given["segment"][:, 3] = 1  # a question of three ids
    batches = Batches()
    batches.batch = given | {"weights": np.ones((2, seven.LAYOUT.length), np.float32)}
    weights = seven.params()
    stream = RolloutStream(seven.THINKER, batches, Digits(), config)
    batch = stream.next({"params": weights}, jax.random.key(1))
    policy = Policy(LatentReasoning(seven.THINKER, 0.3), config)

    def written(weights, batch):
        return policy.loss({"params": weights}, batch, jax.random.key(0), 0, True)[0]

    def by_hand(weights, ids):
        trunks = Trunks(seven.CONFIG, weights)
        text = read_text(trunks, ids, seven.SEPARATOR)
        p_P1V = jax.nn.softmax(logits(trunks, text.x_BTD[:, 3:4]) / config.temperature)
        expected_P = sum(p_P1V[:, 0, int(right)] for right in rights)
        deviation_P = jax.lax.stop_gradient(jnp.sqrt(expected_P * (1 - expected_P)))
        return -jnp.mean(expected_P / deviation_P) / seven.LAYOUT.text

    asked = (written, batch), (by_hand, given["ids"][:, : seven.LAYOUT.text])
    found, expected = (ravel_pytree(jax.jit(jax.grad(of))(weights, x))[0] for of, x in asked)
    length = jnp.linalg.norm(expected)
    assert float(found @ expected / length / jnp.linalg.norm(found)) > 0.95
    assert float(jnp.linalg.norm(found) / length) == pytest.approx(1.0, abs=0.2)
