"""Scores of held-out text, summed exactly.

The device sums within a batch, in float32 or integers; the host sums across batches, in float64 or
int64.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import jax
from jax.sharding import Mesh

from latent_jax.contracts import Evaluation
from latent_jax.training.feed import put_batch, spec_of
from latent_jax.training.metrics import Sums, add_scores
from latent_jax.training.step import CompiledStep, compile_eval_step


class Evaluator:
    """Runs a task's `evaluate` over finite data."""

    def __init__(self, task, mesh: Mesh, step: Future[CompiledStep] | None = None):
        """Keep the task and the mesh its variables live on.

        Args:
            task: see `latent_jax.contracts.Task`.
            mesh: from `make_mesh`.
            step: future of `compile_eval_step`; None compiles the step for the first batch.
        """
        self._task, self._mesh, self._step = task, mesh, step

    def __call__(
        self,
        variables: Mapping[str, Any],
        batches: Iterable[Mapping[str, Any]],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Sums | None:
        """Return the sums of all scores over all batches; None if `should_stop` ended it half-way.

        Args:
            variables: Flax collections on the mesh; they are read, not consumed.
            batches: of one shape, numpy or global arrays; the same number in every process.
            should_stop: called after every batch; it must answer the same in every process.

        Raises:
            ValueError: there is no batch, or one of another shape.
        """
        sums: Sums = {}
        pending = None
        for batch in batches:
            if self._step is None:
                self._step = Future()
                self._step.set_result(
                    compile_eval_step(self._task, variables, spec_of(batch), self._mesh)
                )
            step = self._step.result()
            batch = put_batch(batch, self._mesh)
            with jax.transfer_guard("disallow"):
                scores = step(variables, batch)
            # One batch late: the device works on this one while the host adds up the one before.
            if pending is not None:
                add_scores(sums, jax.device_get(pending))
            pending = scores
            if should_stop():
                return None
        if pending is None:
            raise ValueError(
                "the evaluation data has no batch: the split is smaller than one batch of rows; "
                "use more text or a smaller batch"
            )
        add_scores(sums, jax.device_get(pending))
        return sums


class Evaluations:
    """All evaluations of a run, done one after the other."""

    def __init__(
        self, evaluations: Sequence[Evaluation], task, mesh: Mesh, step: Future[CompiledStep]
    ):
        """Keep the evaluations; those with the same `evaluate` function share a compiled program.

        Args:
            evaluations: the first one is always due, and gives the headline metric of the run.
            task: the task that is trained.
            mesh: from `make_mesh`.
            step: future of the task's compiled evaluation step.

        Raises:
            ValueError: there is none, or the first is not always due.
        """
        if not evaluations or evaluations[0].every != 1:
            raise ValueError("a run needs an evaluation that is always due (every=1) as its first")
        self._step = step
        evaluators = {task.evaluate: Evaluator(task, mesh, step)}
        self._all = []
        for evaluation in evaluations:
            scored = evaluation.task or task
            if scored.evaluate not in evaluators:
                evaluators[scored.evaluate] = Evaluator(scored, mesh)
            self._all.append((evaluation, scored, evaluators[scored.evaluate]))

    def check(self) -> None:
        """Raise the error of the evaluation step's compilation if it has failed; never wait."""
        if self._step.done():
            self._step.result()

    def __call__(
        self,
        variables: Mapping[str, Any],
        turn: int,
        is_last: bool,
        should_stop: Callable[[], bool],
    ) -> dict[str, float] | None:
        """Return the metrics of all evaluations that are due; None if it was stopped half-way.

        Args:
            variables: see `Evaluator`.
            turn: how many times the run has been evaluated before and now.
            is_last: whether this is the last time, at which all are due.
            should_stop: see `Evaluator`.

        Raises:
            ValueError: two evaluations have a metric of the same name, or see `Evaluator`.
        """
        metrics: dict[str, float] = {}
        for evaluation, scored, evaluator in self._all:
            if not is_last and turn % evaluation.every:
                continue
            sums = evaluator(variables, evaluation.batches(), should_stop)
            if sums is None:
                return None
            found = scored.summarize(sums)
            found = {f"{evaluation.prefix}{name}": value for name, value in found.items()}
            twice = sorted(metrics.keys() & found.keys())
            if twice:
                raise ValueError(f"two evaluations have the metric {twice[0]}: give one a prefix")
            metrics |= found
        return metrics
