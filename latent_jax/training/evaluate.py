"""Scores of held-out text, summed exactly.

Float32 inside a batch on the device, float64 across batches on the host.
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
            step: from `compile_eval_step`, waited for where it is needed; None compiles one for
                the first batch.
        """
        self._task, self._mesh, self._step = task, mesh, step

    def __call__(
        self,
        variables: Mapping[str, Any],
        batches: Iterable[Mapping[str, Any]],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Sums | None:
        """Return the sums of all scores over all batches; None if it was told to stop half-way.

        Args:
            variables: Flax collections on the mesh; they are read, not consumed.
            batches: of one shape, numpy or global arrays; as many in every process.
            should_stop: asked after every batch; the same answer in every process.

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
    """Everything that a run is scored on, one after the other."""

    def __init__(
        self, evaluations: Sequence[Evaluation], task, mesh: Mesh, step: Future[CompiledStep]
    ):
        """Keep them; those that are scored alike share a program.

        Args:
            evaluations: the first one is always due, and has the headline of the run.
            task: that is trained.
            mesh: from `make_mesh`.
            step: its evaluation, which may still be compiled.

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
        """Raise why the program cannot be compiled, once that is known."""
        if self._step.done():
            self._step.result()

    def __call__(
        self,
        variables: Mapping[str, Any],
        turn: int,
        is_last: bool,
        should_stop: Callable[[], bool],
    ) -> dict[str, float] | None:
        """Return the metrics of all that are due; None if it was told to stop half-way.

        Args:
            variables: see `Evaluator`.
            turn: number of the run's evaluation.
            is_last: whether all are due.
            should_stop: see `Evaluator`.

        Raises:
            ValueError: two have a metric of the same name, or see `Evaluator`.
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
