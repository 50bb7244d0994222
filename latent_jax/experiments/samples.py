"""Samples for people: what a task shows of itself, or held-out text with its reconstructions or
with the chunks that the model makes of it.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from latent_jax.chunking.dynamic.ends import stage_ends
from latent_jax.contracts import Batch, Task
from latent_jax.paths import replace_file
from latent_jax.reports.cut_samples import sample_block
from latent_jax.tokenizers import Tokenizer
from latent_jax.training.mesh import is_primary

N_SAMPLES = 4


def write_samples(
    folder: Path,
    step: int,
    task: Task,
    variables: Mapping[str, Any],
    tokenizer: Tokenizer,
    batches: Iterable[Batch],
) -> None:
    """Write `step_<n>.txt`: the first held-out rows, each with its reconstructions below it.

    A task with a method `samples` returns the texts itself, see `contracts.Task`. Of a task with a
    method `boundaries` the rows are written with their chunks. Nothing is written for a task that
    has neither of these nor `reconstruct`. All processes must call this.
    """
    if hasattr(task, "samples"):
        blocks = task.samples(variables, next(iter(batches)), tokenizer)
    elif hasattr(task, "reconstruct"):
        blocks = _reconstructed(task, variables, tokenizer, batches)
    elif hasattr(task, "boundaries"):
        blocks = _cut(task, variables, tokenizer, next(iter(batches)))
    else:
        return
    if is_primary():
        text = "\n\n".join(blocks) + "\n"
        replace_file(folder / f"step_{step:07d}.txt", text.encode("utf-8", "surrogatepass"))


def _reconstructed(
    task: Task, variables: Mapping[str, Any], tokenizer: Tokenizer, batches: Iterable[Batch]
) -> list[str]:
    """Return the first held-out rows, each with its reconstructions below it."""
    batch = next(iter(batches))
    made = _replicated(jax.jit(task.reconstruct)(variables, batch))
    rows, weights = (_replicated(batch[name]) for name in ("ids", "weights"))
    blocks = []
    for row in range(min(N_SAMPLES, len(rows))):
        real = weights[row] > 0
        texts = {"text": rows[row], **{name: ids[row] for name, ids in made.items()}}
        width = max(map(len, texts))
        lines = [f"{name:>{width}}: {_line(ids[real], tokenizer)}" for name, ids in texts.items()]
        blocks.append("\n".join(lines))
    return blocks


def _cut(task: Task, variables: Mapping[str, Any], tokenizer: Tokenizer, batch: Batch) -> list[str]:
    """Return the first held-out rows with their chunks."""
    stages = stage_ends(_replicated(_boundaries(task, variables, batch)))
    rows, weights = (_replicated(batch[name]) for name in ("ids", "weights"))
    blocks = []
    for row in range(min(N_SAMPLES, len(rows))):
        n_ids = int((weights[row] > 0).sum())
        if not n_ids:
            continue
        # A boundary at a position ends the chunk with the id that the position reads.
        ends = [np.flatnonzero(stage.is_first_BT[row, 1:n_ids]) + 1 for stage in stages[:2]]
        chunks = [_line(ids, tokenizer) for ids in np.split(rows[row, :n_ids], ends[0])]
        ends_outer = [*np.isin(ends[0], ends[-1] if len(ends) > 1 else ()), False]
        blocks.append(sample_block(chunks, ends_outer))
    return blocks


@jax.jit(static_argnames="task")
def _boundaries(task, variables, batch):
    stages, _ = task.boundaries(variables, batch)
    return stages


def _replicated(tree: Any) -> Any:
    """Return host copies of global arrays, which may be spread over processes."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(np.asarray, tree)


def _line(ids: np.ndarray, tokenizer: Tokenizer) -> str:
    """Return text on one line; separators, line ends and broken bytes are shown as marks."""
    pieces = np.split(ids, np.flatnonzero(ids == tokenizer.separator_id))
    texts = (tokenizer.decode(piece).decode("utf-8", "replace") for piece in pieces)
    return "¶".join(texts).replace("\n", "⏎").replace("\r", "␍").replace("\t", "⇥")
