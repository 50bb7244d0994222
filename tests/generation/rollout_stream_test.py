"""Groups, rewards and advantages of solutions that a reasoner wrote."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.data.chains import Chains, ChainsConfig
from latent_jax.data.problem_rows import ProblemCode
from latent_jax.data.verifier import is_right
from latent_jax.generation.rollout_stream import PolicyConfig, RolloutStream, advantages
from latent_jax.models.reasoner import Reasoner
from latent_jax.tasks.problem_batch import Problems
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
        **dict.fromkeys(("n_bytes", "n_problems"), (6,)),
    }
    np.testing.assert_array_equal(batch["reward"][:, 0], [1, 0, 0, 1, 0, 0])
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
    rewards, n_slots = np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[6, 3], [6, 3]])
    np.testing.assert_allclose(stream._priced(rewards, n_slots), [[0.4, -0.3], [0, 0]])


def test_a_group_of_one_is_refused():
    with pytest.raises(ValueError, match=r"policy.group=1: .* give 2 or more"):
        dataclasses.replace(PolicyConfig(), group=1)
