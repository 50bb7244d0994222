"""Several evaluations of one run: which take part when, and under which names."""

import dataclasses

import jax
import pytest

from latent_jax.contracts import Evaluation
from latent_jax.training.metrics import read_records
from tests.training.byte_task import ByteTask, eval_batches, run

ONE = jax.devices()[:1]


@dataclasses.dataclass(frozen=True)
class Doubled:
    """Scored as another task is, and summed up in a way of its own."""

    task: ByteTask

    @property
    def evaluate(self):
        return self.task.evaluate

    def summarize(self, sums):
        return {"bits": 2.0 * self.task.summarize(sums)["bits_per_byte"]}


@dataclasses.dataclass(frozen=True)
class Counted(ByteTask):
    """Scored by a program of its own."""

    def evaluate(self, variables, batch):
        return {"rows": jax.numpy.float32(batch["ids"].shape[0])}

    def summarize(self, sums):
        return {"rows": float(sums["rows"])}


def test_each_takes_part_when_it_is_due_and_all_do_at_the_end(tmp_path):
    task = ByteTask()
    evaluations = [
        Evaluation(eval_batches),
        Evaluation(eval_batches, prefix="doubled_", every=2, task=Doubled(task)),
        Evaluation(eval_batches, prefix="counted_", every=3, task=Counted()),
    ]
    last = run(
        tmp_path,
        devices=ONE,
        task=task,
        evaluations=evaluations,
        total_steps=10,
        eval_every=2,
        save_every=0,
    )
    records = [r for r in read_records(tmp_path / "metrics.jsonl") if r["split"] == "validation"]
    assert [record["step"] for record in records] == [2, 4, 6, 8, 10]
    taken = {
        prefix: [r["step"] for r in records if any(key.startswith(prefix) for key in r)]
        for prefix in ("bits_", "doubled_", "counted_")
    }
    assert taken == {"bits_": [2, 4, 6, 8, 10], "doubled_": [4, 8, 10], "counted_": [6, 10]}
    assert last["doubled_bits"] == 2.0 * last["bits_per_byte"]
    assert last["counted_rows"] == sum(len(batch["ids"]) for batch in eval_batches())


@pytest.mark.parametrize(
    ("evaluations", "message"),
    [
        ([], "needs an evaluation that is always due"),
        ([Evaluation(eval_batches, every=2)], "needs an evaluation that is always due"),
        ([Evaluation(eval_batches)] * 2, "two evaluations have the metric bits_per_byte: give one"),
    ],
)
def test_what_cannot_be_told_apart_or_is_never_due_is_refused(tmp_path, evaluations, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, devices=ONE, evaluations=evaluations, total_steps=4, eval_every=3)
