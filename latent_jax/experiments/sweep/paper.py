"""Bits per byte as Lester et al. 2024 count them, beside the same raw bytes for every method."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from latent_jax.contracts import Batch, Evaluation, Task
from latent_jax.experiments.run import Experiment


@dataclasses.dataclass(frozen=True)
class PaperProtocol:
    """A task, scored as in section 3.8 of Lester et al. 2024: the mean over some batches of the
    method's own tokens, times its tokens per byte over the whole text.

    Attributes:
        task: that is trained, and whose program scores.
        bytes_per_id: raw bytes per id of a row, measured on the corpus.
        expected_ids: as many as the batches should hold.
    """

    task: Task
    bytes_per_id: float
    expected_ids: float

    @property
    def evaluate(self):
        """The task's own, so that both share a program."""
        return self.task.evaluate

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return bits per byte, the ids that were scored, and those that were expected."""
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
        experiment: opened.
        n_batches: of the method's own tokens.
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
