"""Batches that depend on the weights: each is drawn from the model that the step will train."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.data import batch_spec
from latent_jax.training import DataError, TrainingInterrupted
from latent_jax.training.feed import STREAM
from latent_jax.training.metrics import read_records
from tests.training.byte_task import (
    ROW_LENGTH,
    VOCAB_SIZE,
    ByteTask,
    eval_batches,
    run,
    saved_state,
    untimed_records,
)

ONE = jax.devices()[:1]
BATCH_SIZE = 16


class RollOuts:
    """Rows of ids that the model itself draws, one after the other from two random ones."""

    def __init__(self, stop_at=-1):
        self.n_drawn, self.keys, self._stop_at = 0, [], stop_at
        model = ByteTask().model

        @jax.jit
        def draw(variables, key):
            first_key, *keys = jax.random.split(key, ROW_LENGTH)
            ids_BT = jnp.zeros((BATCH_SIZE, ROW_LENGTH), jnp.int32)
            first_B = jax.random.randint(first_key, (BATCH_SIZE,), 0, 256)
            ids_BT = ids_BT.at[:, 0].set(first_B)

            def one(ids_BT, place_and_key):
                place, key = place_and_key
                logits_BTV = model.apply(variables, ids_BT, jnp.ones(ids_BT.shape))
                return ids_BT.at[:, place].set(
                    jax.random.categorical(key, logits_BTV[:, place])
                ), None

            places = jnp.arange(1, ROW_LENGTH)
            return jax.lax.scan(one, ids_BT, (places, jnp.stack(keys)))[0]

        self._draw = draw

    def next(self, variables, key):
        if self.n_drawn == self._stop_at:
            raise TrainingInterrupted(143)
        self.n_drawn += 1
        self.keys.append(jax.random.key_data(key).tolist())
        ids_BT = np.asarray(self._draw(variables, key))
        return {
            "ids": np.minimum(ids_BT, VOCAB_SIZE - 1),
            "weights": np.ones(ids_BT.shape, np.float32),
            "n_bytes": np.full(BATCH_SIZE, ROW_LENGTH, np.int32),
        }

    def get_state(self):
        return {"n_drawn": self.n_drawn}

    def set_state(self, state):
        self.n_drawn = state["n_drawn"]


def train(workdir, stream):
    return run(
        workdir,
        devices=ONE,
        train_data=stream,
        batch_spec=batch_spec(BATCH_SIZE, ROW_LENGTH),
        save_every=3,
    )


def test_roll_outs_follow_the_weights_and_go_on_to_the_bit(tmp_path):
    whole, first, rest = RollOuts(), RollOuts(stop_at=8), RollOuts()
    train(tmp_path / "whole", whole)
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "parts", first)
    train(tmp_path / "parts", rest)
    assert whole.n_drawn == rest.n_drawn == 12
    assert len({tuple(key) for key in whole.keys}) == 12
    assert whole.keys[:8] == first.keys and whole.keys[6:] == rest.keys
    assert untimed_records(tmp_path / "whole") == untimed_records(tmp_path / "parts")
    ours, theirs = (saved_state(tmp_path / name)[0] for name in ("whole", "parts"))
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)

    # The same keys with the weights of before give other rows: they do depend on them.
    key = jax.random.fold_in(jax.random.fold_in(ours.key, STREAM), 11)
    assert jax.random.key_data(key).tolist() == whole.keys[11]
    early, _ = saved_state(tmp_path / "whole", 9)
    rows = [RollOuts().next(state.variables, key)["ids"] for state in (early, ours)]
    assert (rows[0] != rows[1]).any()


def test_what_depends_on_weights_says_how_its_batches_look(tmp_path):
    with pytest.raises(ValueError, match="need a batch_spec"):
        run(tmp_path, devices=ONE, train_data=RollOuts())


def test_a_broken_roll_out_is_named(tmp_path):
    class Broken(RollOuts):
        def next(self, variables, key):
            raise RuntimeError("no reward")

    with pytest.raises(DataError, match="failed after step 0: RuntimeError: no reward"):
        train(tmp_path, Broken())


class Graded(ByteTask):
    """Rows are answers, of which it counts the bytes and how many there are."""

    amounts = {"answers": 1 / ROW_LENGTH, "bytes": 1.0}

    def loss(self, variables, batch, key, step, train):
        loss, (scores, state) = super().loss(variables, batch, key, step, train)
        return loss, ({**scores, "n_answers": jnp.sum(batch["n_answers"])}, state)


class Answers(RollOuts):
    def next(self, variables, key):
        batch = super().next(variables, key)
        return {**batch, "n_answers": np.arange(BATCH_SIZE, dtype=np.int32)}


def test_a_task_says_what_is_counted(tmp_path):
    spec = batch_spec(BATCH_SIZE, ROW_LENGTH)
    spec["n_answers"] = spec["n_bytes"]
    n_answers = np.ones(BATCH_SIZE, np.int32)
    run(
        tmp_path,
        devices=ONE,
        train_data=Answers(),
        batch_spec=spec,
        task=Graded(),
        total_steps=4,
        eval_data=lambda: [{**batch, "n_answers": n_answers} for batch in eval_batches()],
    )
    last = read_records(tmp_path / "metrics.jsonl")[-2]
    assert last["split"] == "train" and last["step"] == 4
    assert last["answers_seen"] == 4 * sum(range(BATCH_SIZE)) and "tokens_seen" not in last
    assert last["bytes_seen"] == 4 * BATCH_SIZE * ROW_LENGTH
    assert last["answers_per_second"] > 0 and "bytes_per_second" not in last


class Reader(ByteTask):
    fields = ("ids", "values")


def test_a_field_that_no_code_gives_is_named(tmp_path):
    with pytest.raises(ValueError, match="bytes_two_back reads the field 'values', and a batch"):
        run(tmp_path, devices=ONE, task=Reader())
