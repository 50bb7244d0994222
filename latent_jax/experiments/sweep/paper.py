"""Bits per byte as Lester et al. 2024 count them: on a fixed number of the method's own tokens."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from latent_jax.contracts import Batch, Evaluation, Task
from latent_jax.experiments.run import Experiment


@dataclasses.dataclass(frozen=True)
class PaperProtocol:
    """A task scored as in section 3.8 of Lester et al. 2024.

    The score is the mean bits per token over some batches, times the tokens per byte of the whole
    text.

    Attributes:
        task: the task that is trained; its program computes the scores.
        bytes_per_id: raw bytes per id of a row, measured on the corpus.
        expected_ids: the number of ids that full batches would hold.
    """

    task: Task
    bytes_per_id: float
    expected_ids: float

    @property
    def evaluate(self):
        """The task's own `evaluate`, so that both share a compiled program."""
        return self.task.evaluate

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return "bits_per_byte", the number of scored "ids", and the number of "expected_ids"."""
        bits = self.task.summarize(sums)["bits_per_byte"]
        n_ids = float(sums["n_tokens"]) / self.task.amounts["tokens"]
        return {
            "bits_per_byte": bits * float(sums["n_bytes"]) / (n_ids * self.bytes_per_id),
            "ids": n_ids,
            "expected_ids": self.expected_ids,
        }


def paper_evaluation(experiment: Experiment, n_batches: int) -> Evaluation:
    """Return the evaluation on the first batches of the test split.

    Args:
        experiment: from `prepare`.
        n_batches: how many batches are scored, at most.
    """
    config = experiment.config

    def batches() -> Iterator[Batch]:
        return itertools.islice(experiment.evaluation("test", max_bytes=0), n_batches)

    protocol: Any = PaperProtocol(
        experiment.task,
        experiment.reading.bytes_per_token,
        float(n_batches * config.batch_size * config.row_length),
    )
    return Evaluation(batches, prefix="paper_", task=protocol)
