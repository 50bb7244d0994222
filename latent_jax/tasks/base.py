"""The contract between a method and the one training loop: a task is a model, its loss and its
scores.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from latent_jax.layers.config import TransformerConfig

Variables = Mapping[str, Any]
"""A pytree of Flax collections: "params" and, where a model keeps state, others such as "codebook".
"""

Batch = Mapping[str, jax.Array]
"""ids int32[B, L], weights float32[B, L], n_bytes int32[B] (raw bytes that the scored ids stand
for).
"""

Scores = dict[str, jax.Array]
"""Sums over a batch, never means: adding two dictionaries merges two batches, hosts or ragged ends
exactly.
"""


class Task(Protocol):
    """What the training loop and the evaluator ask for. All methods are pure functions over
    pytrees.

    `loss` is differentiated and may return new state; `evaluate` is deterministic and returns
    everything that is reported on held-out text; `summarize` turns summed scores into metrics.
    """

    name: str
    component_flops: Mapping[str, float]
    """Floating-point operations of one forward pass per raw byte, by component."""
    flops_per_byte: float
    """Their sum."""
    train_flops_per_byte: float
    """What training costs per raw byte: forward and backward, which is three times the forward
    pass, and once what the tokenizer's own model costs.
    """
    stacks: tuple[tuple[TransformerConfig, int], ...]
    """Each stack of blocks that a step trains, and the positions of a row that it reads."""
    frozen: tuple[str, ...]
    """Regular expressions over "/"-joined parameter paths that are not trained."""

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Draw the initial variables; only the shapes of `batch` matter."""
        ...

    def loss(
        self, variables: Variables, batch: Batch, key: jax.Array, step: jax.Array, train: bool
    ) -> tuple[jax.Array, tuple[Scores, Variables]]:
        """Return the mean loss (float32 scalar), its scores and the updated non-parameter
        collections.

        `scores["weight"]` is the denominator of the mean, so that micro-batches can be merged
        exactly.
        """
        ...

    def evaluate(self, variables: Variables, batch: Batch) -> Scores:
        """Score held-out text: no dropout, no state is changed."""
        ...

    def summarize(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Turn summed scores into metrics with units in their names; always "bits_per_byte"."""
        ...
