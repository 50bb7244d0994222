"""The records of a run: counts, a clock, and metrics for files and for people.

The metrics of a step are read one step late, so that the host never waits for a step that the
device still computes.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from latent_jax.contracts import Task, amount_key
from latent_jax.platform import chip
from latent_jax.training.checkpoints import Checkpoints
from latent_jax.training.chrono import Chrono
from latent_jax.training.config import TrainingConfig
from latent_jax.training.mesh import is_primary
from latent_jax.training.metrics import MetricsWriter, Window, read_records
from latent_jax.training.progress import Progress
from latent_jax.training.run_files import RunFolder, RunFolderError
from latent_jax.training.startup import StartUp
from latent_jax.training.step import StepMetrics
from latent_jax.training.weights_and_biases import WandbWriter

logger = logging.getLogger(__name__)


def nothing_seen(task: Task) -> dict[str, Any]:
    """Return the counts before the first step: amounts and seconds, as checkpoints keep them."""
    amounts = {f"{unit}_seen": 0 for unit in task.amounts}
    return {**amounts, "seconds": 0.0, "evaluated_step": 0}


class NonFiniteError(ValueError):
    """The loss, the gradient or the update became NaN or infinite."""


class Recorder:
    """The records of one run, from its start or resume to its end; a context that closes its files.

    Every process counts; the primary one also writes and prints.

    Attributes:
        chrono: the clock of the run, which the loop starts and pauses.
    """

    def __init__(
        self,
        task,
        config: TrainingConfig,
        folder: RunFolder,
        checkpoints: Checkpoints,
        mesh: Mesh,
        *,
        learning_rate: Callable[[int], jax.Array],
        measured: Callable[[float], Mapping[str, float]],
        total_steps: int,
        step: int,
        saved: Mapping[str, Any],
    ):
        """Go on at `step` of `total_steps`; later records in the folder are cut off.

        Args:
            task: see `latent_jax.contracts.Task`.
            config: of the run.
            folder: of the run.
            checkpoints: of the run; the message of a run that diverged names the last good one.
            mesh: its peak FLOPs per second are what utilization is a share of.
            learning_rate: by step; see `make_schedule`.
            measured: metrics of the work on batches; see `Feed.measured`.
            total_steps: of the whole run.
            step: finished steps.
            saved: metadata of the checkpoint that the run goes on from, or `nothing_seen`.

        Raises:
            ValueError: the checkpoint does not say how much of an amount the run has seen.
        """
        self._task, self._config = task, config
        self._folder, self._checkpoints = folder, checkpoints
        self._learning_rate, self._measured = jax.jit(learning_rate), measured
        unsaid = [unit for unit in task.amounts if f"{unit}_seen" not in saved]
        if unsaid:
            raise ValueError(
                f"the checkpoint that this run goes on from has no count of the {unsaid[0]} seen, "
                f"which {task.name} needs: start a new run that takes its weights by "
                "training.init_from"
            )
        self._seen = {unit: saved[f"{unit}_seen"] for unit in task.amounts}
        self._unit = next(iter(task.amounts))
        self.chrono = Chrono(saved["seconds"])
        self._total_steps = total_steps
        self._writers: list[MetricsWriter | WandbWriter] = []
        if is_primary():
            self._writers.append(MetricsWriter(folder.metrics, folder.tensorboard, step))
            if config.wandb:
                self._writers.append(WandbWriter(config.wandb, folder))
        records = [r for r in read_records(folder.metrics) if r["step"] <= step]
        self._n_records = len(records)
        self._check_records(saved.get("n_records", self._n_records), step)
        self._validations = [r for r in records if r["split"] == "validation"]
        self._window = Window()
        self._window.clear(self.chrono.seconds)
        self._unread: tuple[int, StepMetrics] | None = None
        known = chip(mesh.devices.flat[0].device_kind)
        self._peak = None if known is None else known.flops * mesh.devices.size
        shows = config.progress and is_primary()
        self._progress = Progress(total_steps, step, shows, config.best_metric)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._progress.close()
        for writer in self._writers:
            writer.close()

    @property
    def validation(self) -> dict[str, Any]:
        """The last validation record, those before a resume included; {} if there is none."""
        return self._validations[-1] if self._validations else {}

    @property
    def is_stuck(self) -> bool:
        """Whether the last `patience` evaluations were no better than the best before them."""
        patience = self._config.patience
        return 0 < patience <= self._evaluations_without_improvement()

    @property
    def counters(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that the counts go on from it."""
        counted = {"seconds": self.chrono.seconds, "n_records": self._n_records}
        return {**self._amounts(), **counted}

    def add_step(self, step: int, metrics: StepMetrics) -> None:
        """Keep the metrics of a step that the device still computes, and read the ones before."""
        self.read_step()
        self._unread = (step, metrics)

    def read_step(self) -> None:
        """Read the metrics of the step not read yet, if any; write a record where one is due.

        Raises:
            NonFiniteError: the step diverged.
        """
        if self._unread is None:
            return
        (step, metrics), self._unread = self._unread, None
        metrics = jax.device_get(metrics)
        if not metrics.is_finite:
            what = "loss" if not math.isfinite(metrics.loss) else "gradient or update"
            raise NonFiniteError(
                f"the {what} is not finite at step {step} (loss {float(metrics.loss)}, gradient "
                f"norm {float(metrics.gradient_norm)}); {self._checkpoints.last_good()}. Lower the "
                "learning rate, or clip harder, in a new workdir"
            )
        for unit in self._seen:
            self._seen[unit] += round(float(metrics.scores[amount_key(unit)]))
        self._window.add(metrics.loss, metrics.gradient_norm, metrics.scores)
        self._progress.step()
        if step % self._config.log_every == 0:
            self.end_window(step)

    def end_window(self, step: int) -> None:
        """Write a training record of the steps since the last one, if there are any."""
        # Ids may stand for no byte yet, such as those of GZip's header: then the window goes on.
        if not self._window.n_steps or not self._window.sums[amount_key(self._unit)]:
            return
        seconds = self.chrono.seconds
        record = {
            **self._record(step, "train", seconds),
            **self._window.summary(seconds, self._unit),
            **self._measured(self._window.elapsed(seconds)),
            "learning_rate": float(self._learning_rate(step - 1)),
            **self._task.summarize(self._window.sums),
        }
        if self._peak is not None:
            # M1's FLOPs are not spent by the mesh, but where the text is encoded.
            speed = {unit: self._window.speed(unit, seconds) for unit in self._seen}
            elsewhere = self._task.tokenizer_flops_per_byte * speed.get("bytes", 0.0)
            flops = self._task.train_flops(speed) - elsewhere
            record["model_flops_utilization"] = flops / self._peak
        self._window.clear(seconds)
        self._write(record)
        self._progress.train(record)

    def add_evaluation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write and show a validation record."""
        record = {**self._record(step, "validation", self.chrono.seconds), **metrics}
        self._validations.append(record)
        if self._config.patience:
            record["evaluations_without_improvement"] = self._evaluations_without_improvement()
            record["stopped_early"] = int(self.is_stuck and step < self._total_steps)
        self._write(record)
        self.flush()
        self._progress.validation(record)

    def best_metric(self) -> float:
        """Return the metric that ranks checkpoints, from the last validation record.

        Raises:
            ValueError: the record has none of that name.
        """
        name = self._config.best_metric
        if name not in self.validation:
            raise ValueError(
                f"best_metric {name!r} is not in the validation record; there are "
                f"{', '.join(sorted(self.validation))}"
            )
        return self.validation[name]

    def describe_early_stop(self) -> str:
        """Return a line for people about a run that `is_stuck`."""
        name = self._config.best_metric
        best = min(self._validations, key=lambda record: record[name])
        n = self._evaluations_without_improvement()
        return (
            f"stopped early at step {self.validation['step']} of {self._total_steps}: {name} was "
            f"{best[name]:.4f} at step {best['step']} and no better in the "
            f"{n} evaluation{'' if n == 1 else 's'} since "
            f"(training.patience={self._config.patience})"
        )

    def end_startup(self, startup: StartUp, origin: Mapping[str, Any]) -> None:
        """Wait for the first step; print and keep the seconds that the start took.

        Args:
            startup: of the run.
            origin: JSON data kept with them, such as where the initial weights came from.
        """
        step, _ = self._unread
        self.read_step()
        startup.mark("first step")
        if is_primary():
            self.say(str(startup))
            try:
                self._folder.add_start({"step": step, **startup.record(), **origin})
            except OSError as error:  # no reason to end a run
                self.say(f"the times of this start could not be written: {error}")

    def say(self, text: str) -> None:
        """Print a line, also where no progress is shown."""
        self._progress.message(text)

    def flush(self) -> None:
        """Write all records to their files."""
        for writer in self._writers:
            writer.flush()

    def _record(self, step: int, split: str, seconds: float) -> dict[str, Any]:
        return {
            "step": step,
            "split": split,
            **self._amounts(),
            "seconds": seconds,
            "train_flops": self._task.train_flops(self._seen),
        }

    def _amounts(self) -> dict[str, int]:
        return {f"{unit}_seen": amount for unit, amount in self._seen.items()}

    def _check_records(self, n_written: int, step: int) -> None:
        """Name records that are gone since a checkpoint; refuse where they decide how it goes on.

        Raises:
            RunFolderError: early stopping, which the records decide, lacks some.
        """
        if self._n_records == n_written or not is_primary():
            return
        said = (
            f"{self._folder.metrics} holds {self._n_records} records up to step {step}, where "
            f"{n_written} were written: it was cut or changed"
        )
        if self._config.patience:
            raise RunFolderError(
                f"{said}, and training.patience is decided by them: restore it from a copy"
            )
        logger.warning("%s; the run goes on without them", said)

    def _write(self, record: dict[str, Any]) -> None:
        self._n_records += 1
        for writer in self._writers:
            writer.write(record)

    def _evaluations_without_improvement(self) -> int:
        """Return how many evaluations have passed since the best one."""
        if not self._validations:
            return 0
        self.best_metric()  # refuses a metric that is not measured
        values = [record[self._config.best_metric] for record in self._validations]
        return len(values) - 1 - values.index(min(values))
