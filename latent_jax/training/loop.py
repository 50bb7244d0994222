"""The one training loop. It knows no method: it is given a task, batches and a run folder."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from latent_jax.platform import chip
from latent_jax.training.checkpoints import Checkpoints
from latent_jax.training.chrono import Chrono
from latent_jax.training.config import OptimizerConfig, TrainingConfig
from latent_jax.training.evaluate import Evaluator
from latent_jax.training.feed import Feed, Spec
from latent_jax.training.identity import describe_shapes
from latent_jax.training.mesh import check_batch, is_primary
from latent_jax.training.metrics import MetricsWriter, Window, read_records
from latent_jax.training.optimizer import make_optimizer, make_schedule
from latent_jax.training.profiler import Profiler, mark_step
from latent_jax.training.progress import Progress
from latent_jax.training.run_folder import RunFolder
from latent_jax.training.signals import LostProcessError, StopSignal, TrainingInterrupted
from latent_jax.training.startup import StartUp
from latent_jax.training.state import abstract_state, create_state, initial_state
from latent_jax.training.step import StepMetrics, compile_eval_step, compile_train_step

Batch = Mapping[str, Any]


class NonFiniteError(ValueError):
    """The loss, the gradient or the update became NaN or infinite."""


def train(
    task,
    train_config: TrainingConfig,
    optimizer_config: OptimizerConfig,
    *,
    total_steps: int,
    train_data: Iterator[Batch],
    eval_data: Callable[[], Iterable[Batch]],
    run_folder: RunFolder,
    mesh: Mesh,
    tokenizer_fingerprint: str,
    data_workers: int = 0,
    on_evaluation: Callable[[int, Mapping[str, Any], dict[str, Any]], None] | None = None,
    batch_spec: Spec | None = None,
    startup: StartUp | None = None,
) -> dict[str, Any]:
    """Train until `total_steps`, from the last checkpoint if the run folder has one.

    Args:
        task: see `latent_jax.contracts.Task`.
        train_config: when to evaluate, save and log, and how to lay the work over devices.
        optimizer_config: how parameters move.
        total_steps: optimizer steps of the whole run, those before a resume included.
        train_data: endless iterator of batches with `get_state` and `set_state` (Grain); numpy
            arrays with the rows of this process, or global arrays on the mesh. It is closed at the
            end.
        eval_data: makes a finite iterable of batches of held-out text, anew for each evaluation.
        run_folder: from `open_run_folder`.
        mesh: from `make_mesh` of the same strategy.
        tokenizer_fingerprint: of the tokenizer that made the batches; a resume with another is
            refused.
        data_workers: Grain worker processes; a resume with another number is refused.
        on_evaluation: called with (step, variables, validation record) after each evaluation, such
            as to write samples; its time does not count as training.
        batch_spec: shapes and dtypes of a global batch, for training and for evaluation; None reads
            the first one before anything is compiled.
        startup: what has passed until here; None begins to count now. It is printed after the first
            step, and kept in environment.json.

    Returns:
        The last validation record.

    Raises:
        ValueError: the mesh does not divide the batch, a metric is not finite, and the like.
        CheckpointError: a checkpoint cannot be written or does not fit this run.
        DataError: the training data ended or broke.
        NonFiniteError: training diverged; the message names the step and the last good checkpoint.
        LostProcessError: a step failed in a run of several processes, as when another one died.
        TrainingInterrupted: (a SystemExit) after SIGTERM or Ctrl-C, once all is saved.
    """
    run = None
    try:
        run = _Run(
            task,
            train_config,
            optimizer_config,
            total_steps,
            Feed(train_data, mesh, batch_spec),
            eval_data,
            run_folder,
            mesh,
            tokenizer_fingerprint,
            data_workers,
            on_evaluation,
            startup or StartUp(),
        )
        with StopSignal() as stop:
            return run.loop(stop)
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        if run is not None:
            run.is_alone = True
        where = "the start" if run is None else f"step {run.step + 1}"
        raise LostProcessError(
            f"{where} failed in process {jax.process_index()} of {jax.process_count()}, most "
            f"likely because another process is gone (see its log): "
            f"{str(error).splitlines()[0][:300]}. The same command on all machines resumes from "
            "the last checkpoint"
        ) from error
    finally:
        if run is not None:
            run.close()
        # Ends Grain's worker processes, which else keep their shared memory.
        if hasattr(train_data, "close"):
            train_data.close()


class _Run:
    """One run from its start or resume to its end."""

    def __init__(
        self,
        task,
        config: TrainingConfig,
        optimizer_config: OptimizerConfig,
        total_steps: int,
        feed: Feed,
        eval_data,
        folder: RunFolder,
        mesh: Mesh,
        tokenizer_fingerprint: str,
        data_workers: int,
        on_evaluation,
        startup: StartUp,
    ):
        self.task, self.config, self.total_steps = task, config, total_steps
        self.feed, self.eval_data, self.on_evaluation = feed, eval_data, on_evaluation
        self.folder, self.mesh = folder, mesh
        batch_size, row_length = feed.spec["ids"].shape
        check_batch(mesh, batch_size, config.accumulation)

        optimizer = make_optimizer(optimizer_config, total_steps)
        self.learning_rate = jax.jit(make_schedule(optimizer_config, total_steps))
        init = initial_state(task, optimizer, feed.spec, config.seed)
        abstract = abstract_state(init, mesh, config.strategy)
        self.identity = {
            "task": task.name,
            "parameters": describe_shapes(abstract.params),
            "batch_size": batch_size,
            "row_length": row_length,
            "tokenizer_fingerprint": tokenizer_fingerprint,
            "data_workers": data_workers,
            "process_count": jax.process_count(),
        }
        self.checkpoints = Checkpoints(folder.checkpoints, config.keep_latest, config.keep_best)

        # Resume in this order, so that nothing is overwritten before the checkpoint proved good:
        #   1. read the checkpoint's metadata and check that it belongs to this run
        #   2. load the arrays into this mesh's shardings and check their digest
        #   3. set the data iterator to the batch after the saved step
        #   4. take over the counters and the clock
        #   5. cut what metrics.jsonl holds after the saved step
        # Without a checkpoint the first state is drawn instead.

        def compile_steps():
            return startup.compile(
                train_step=lambda: compile_train_step(
                    task, optimizer, abstract, feed.spec, config.accumulation, mesh
                ),
                evaluation_step=lambda: compile_eval_step(
                    task, abstract.variables, feed.spec, mesh
                ),
            )

        if self.checkpoints.steps:
            restored = self.checkpoints.restore(abstract, self.identity, config.restore_step)
            self.state = restored.state
            feed.set_state(restored.data_state)
            saved = restored.metadata
            # Not before: a checkpoint of another run is refused without waiting for a compiler.
            programs = compile_steps()
        else:
            programs = compile_steps()
            self.state = create_state(init, abstract)
            saved = {"bytes_seen": 0, "tokens_seen": 0, "seconds": 0.0, "evaluated_step": 0}
        self.step = self.saved_step = int(self.state.step)
        self.bytes_seen, self.tokens_seen = saved["bytes_seen"], saved["tokens_seen"]
        self.evaluated_step = saved["evaluated_step"]
        self.chrono = Chrono(saved["seconds"])
        self.writer = None
        if is_primary():
            self.writer = MetricsWriter(folder.metrics, folder.tensorboard, self.step)
        validations = [r for r in read_records(folder.metrics) if r["split"] == "validation"]
        self.validation: dict[str, Any] = validations[-1] if validations else {}

        startup.mark("restore" if self.step else "state")
        self.train_step = programs["train_step"].result()
        self.evaluator = Evaluator(task, mesh, programs["evaluation_step"].result())
        startup.mark("waiting for programs")
        if self.step < total_steps:
            feed.read_ahead()
        startup.mark("first batch")
        self.startup: StartUp | None = startup
        self.is_alone = False
        self.window = Window()
        self.window.clear(self.chrono.seconds)
        self.pending: tuple[int, StepMetrics] | None = None
        known = chip(mesh.devices.flat[0].device_kind)
        self.peak = None if known is None else known.flops * mesh.devices.size
        n_traced = config.profile if is_primary() else 0
        self.profiler = Profiler(folder.profile, n_traced, self.step, total_steps)
        self.progress = Progress(
            total_steps, self.step, config.progress and is_primary(), config.best_metric
        )
        if self.step and is_primary():
            self.progress.message(f"resumed from step {self.step} in {folder.checkpoints}")

    def loop(self, stop: StopSignal) -> dict[str, Any]:
        """Train to the end, or until asked to stop."""
        # The order is fixed: evaluate -> save -> next batch -> step. So a saved data iterator
        # stands before the batch that the saved weights have not seen, and the metric of a
        # checkpoint is that of its weights. `self.step` counts finished steps.
        self.chrono.start()
        while True:
            stopping = stop.agreed()
            if self._due(self.config.eval_every, self.evaluated_step) and not stopping:
                stopping = self._evaluate(stop)
            if self._due(self.config.save_every, self.saved_step) or stopping:
                self._save()
            if stopping:
                self._stop(stop)
            if self.step >= self.total_steps:
                break
            batch = self.feed.next(self.step)
            self.profiler.before(self.step, self.state)
            with mark_step(self.step + 1), jax.transfer_guard("disallow"):
                self.state, metrics = self.train_step(self.state, batch)
            self.step += 1
            self.profiler.after(self.step, self.state)
            # One step late: the host reads the step before while the device works on this one.
            self._read_pending()
            self.pending = (self.step, metrics)
            if self.startup is not None:
                self._end_startup(self.startup)
            self.checkpoints.poll()
        self.checkpoints.wait()
        return self.validation

    def _end_startup(self, startup: StartUp) -> None:
        """Wait for the first step; tell and keep what it took to get there."""
        self._read_pending()
        startup.mark("first step")
        self.startup = None
        if is_primary():
            self.progress.message(str(startup))
            try:
                self.folder.add_start({"step": self.step, **startup.record()})
            except OSError as error:  # no reason to end a run
                self.progress.message(f"what the start took could not be kept: {error}")

    def close(self) -> None:
        """Close what is open."""
        self.profiler.close()
        self.progress.close()
        if self.writer is not None:
            self.writer.close()
        if not self.is_alone:  # a save of several processes waits for all of them
            self.checkpoints.close()

    def _due(self, every: int, last: int) -> bool:
        if self.step in (0, last):
            return False
        return self.step >= self.total_steps or (every > 0 and self.step % every == 0)

    def _read_pending(self) -> None:
        """Read the metrics of the step not read yet; write a record where one is due."""
        if self.pending is None:
            return
        (step, metrics), self.pending = self.pending, None
        metrics = jax.device_get(metrics)
        if not metrics.is_finite:
            raise NonFiniteError(self._describe_divergence(step, metrics))
        self.bytes_seen += int(metrics.scores["n_bytes"])
        self.tokens_seen += round(float(metrics.scores["n_tokens"]))
        self.window.add(metrics.loss, metrics.gradient_norm, metrics.scores)
        self.progress.step()
        if step % self.config.log_every == 0:
            self._write_window(step)

    def _write_window(self, step: int) -> None:
        if not self.window.sums["n_bytes"]:
            return  # ids that stand for no byte yet, as those of GZip's header: the window goes on
        seconds = self.chrono.seconds
        record = {
            **self._record(step, "train", seconds),
            **self.window.summary(seconds),
            "learning_rate": float(self.learning_rate(step - 1)),
            **self.task.summarize(self.window.sums),
        }
        if self.peak is not None:
            flops = 3.0 * self.task.flops_per_byte * record["bytes_per_second"]
            record["model_flops_utilization"] = flops / self.peak
        self.window.clear(seconds)
        self._write(record)
        self.progress.train(record)

    def _record(self, step: int, split: str, seconds: float) -> dict[str, Any]:
        return {
            "step": step,
            "split": split,
            "bytes_seen": self.bytes_seen,
            "tokens_seen": self.tokens_seen,
            "seconds": seconds,
            "train_flops": self.task.train_flops_per_byte * self.bytes_seen,
        }

    def _write(self, record: dict[str, Any]) -> None:
        if self.writer is not None:
            self.writer.write(record)

    def _flush(self) -> None:
        if self.writer is not None:
            self.writer.flush()

    def _evaluate(self, stop: StopSignal) -> bool:
        """Evaluate; return whether it was cut short because the process was asked to stop."""
        self._read_pending()
        with self.chrono.pause():
            sums = self.evaluator(self.state.variables, self.eval_data(), stop.agreed)
            if sums is None:
                return True
            self.validation = {
                **self._record(self.step, "validation", self.chrono.seconds),
                **self.task.summarize(sums),
            }
            self._write(self.validation)
            self._flush()
            self.evaluated_step = self.step
            self.progress.validation(self.validation)
            if self.on_evaluation is not None:
                self.on_evaluation(self.step, self.state.variables, self.validation)
        return False

    def _save(self) -> None:
        """Write the records up to this step, so that a resume loses none; then begin to save."""
        self._read_pending()
        if self.window.n_steps:
            self._write_window(self.step)
        if self.step == self.saved_step:
            return
        with self.chrono.pause():
            self._flush()  # before the checkpoint: a resume from it must find the records before it
            metric = None
            if self.evaluated_step == self.step and self.config.keep_best:
                metric = self._best_metric()
            metadata = {
                "identity": self.identity,
                "bytes_seen": self.bytes_seen,
                "tokens_seen": self.tokens_seen,
                "seconds": self.chrono.seconds,
                "evaluated_step": self.evaluated_step,
            }
            self.checkpoints.save(self.state, self.feed.get_state(), metadata, metric)
            self.saved_step = self.step

    def _best_metric(self) -> float:
        name = self.config.best_metric
        if name not in self.validation:
            raise ValueError(
                f"best_metric {name!r} is not in the validation record; there are "
                f"{', '.join(sorted(self.validation))}"
            )
        return self.validation[name]

    def _stop(self, stop: StopSignal) -> None:
        self.checkpoints.wait()
        self.progress.message(
            f"stopped at step {self.step} of {self.total_steps}; saved in "
            f"{self.checkpoints.folder}. The same command goes on from here"
        )
        raise TrainingInterrupted(128 + stop.signal)

    def _describe_divergence(self, step: int, metrics: StepMetrics) -> str:
        self.checkpoints.wait()
        steps = self.checkpoints.steps
        good = (
            f"the last good checkpoint is step {steps[-1]} in {self.checkpoints.folder}"
            if steps
            else "there is no checkpoint yet"
        )
        what = "loss" if not math.isfinite(metrics.loss) else "gradient or update"
        return (
            f"the {what} is not finite at step {step} (loss {float(metrics.loss)}, gradient norm "
            f"{float(metrics.gradient_norm)}); {good}. Lower the learning rate, or clip harder, "
            "in a new workdir"
        )
