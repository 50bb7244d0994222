"""One configuration made into corpus, tokenizer, task, budget and run folder, and trained."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from latent_jax.contracts import Task, Vocabulary
from latent_jax.costs.memory import settle_remat
from latent_jax.costs.profile import describe_profile
from latent_jax.costs.trace import traces
from latent_jax.data import Batch, batch_spec
from latent_jax.experiments.older_runs import ADDED
from latent_jax.experiments.reading import Reading, open_reading
from latent_jax.experiments.samples import write_samples
from latent_jax.methods.budget import from_config
from latent_jax.methods.solve import solve_shape, solve_steps
from latent_jax.methods.tasks import make_task
from latent_jax.reports.curves import write_curves
from latent_jax.training import (
    OptimizerConfig,
    StartUp,
    TrainingConfig,
    keep_programs,
    make_mesh,
    open_run_folder,
    train,
)
from latent_jax.training.config import RESUMABLE
from latent_jax.training.mesh import check_batch, is_primary
from latent_jax.training.sharding import batch_sharding

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a configuration describes, opened and checked before any run folder is made.

    Attributes:
        config: its row length and width solved.
        reading: the text, or rows of ids.
        task: of the configuration.
        training: its words.
        optimizer: its words.
        total_steps: what the budget buys.
        mesh: over all devices.
    """

    config: ConfigDict
    reading: Reading
    task: Task
    training: TrainingConfig
    optimizer: OptimizerConfig
    total_steps: int
    mesh: Mesh

    @property
    def batches(self) -> dict[str, Any]:
        """What every reader of this experiment is asked for."""
        return dict(
            batch_size=self.config.batch_size,
            row_length=self.config.row_length,
            sharding=batch_sharding(self.mesh),
        )

    def evaluation(self, split: str, max_bytes: int) -> Iterator[Batch]:
        """Return the batches of a split, up to so many raw bytes; 0 = all."""
        return self.reading.evaluation(split=split, max_bytes=max_bytes, **self.batches)


def prepare(config: ConfigDict, startup: StartUp | None = None) -> Experiment:
    """Open the corpus, train or load the tokenizer, build the task, and turn the budget into steps.

    Args:
        config: as `configs.common.default` makes it.
        startup: where its phases are counted.

    Raises:
        ValueError: a word of the configuration is wrong, or the corpus cannot be read; see the
            parts.
    """
    startup = startup or StartUp()
    training = TrainingConfig(**config.training, seed=config.seed)  # refused before text is read
    optimizer = OptimizerConfig(**config.optimizer)
    from_config(config.budget)  # a wrong one is refused before any text is read
    mesh = make_mesh(training.strategy, training.model_parallel)
    keep_programs()
    startup.mark("devices")
    reading = open_reading(config, startup)
    vocabulary = Vocabulary.of(reading.tokenizer, reading.bytes_per_token)
    config = solve_shape(config, vocabulary)
    task = make_task(settle_remat(config, vocabulary, mesh), vocabulary)
    total_steps, _ = solve_steps(config, task, vocabulary)
    config.training.best_metric = config.training.best_metric or task.headline
    training = TrainingConfig(**config.training, seed=config.seed)
    startup.mark("task")
    return Experiment(config, reading, task, training, optimizer, total_steps, mesh)


def run(
    config: ConfigDict,
    workdir: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    on_evaluation: Callable[[Experiment, Mapping[str, Any]], None] | None = None,
    pictures: bool = True,
    startup: StartUp | None = None,
) -> dict[str, Any]:
    """Train what a configuration describes into a run folder, or go on where it stopped.

    Args:
        config: as `configs.common.default` makes it.
        workdir: the run folder; made where it is missing.
        overrides: what was changed on the command line, for the record.
        on_evaluation: called with the experiment and the variables after each evaluation.
        pictures: also write samples and curves after each evaluation.
        startup: what has passed until here; None begins to count now.

    Returns:
        The last validation record.

    Raises:
        ValueError: see `prepare` and `training.train`; nothing half-written is left behind.
    """
    startup = startup or StartUp()
    experiment = prepare(config, startup)
    config, training, reading = experiment.config, experiment.training, experiment.reading
    tokenizer = reading.tokenizer
    check_batch(experiment.mesh, config.batch_size, training.accumulation)
    # Before the run folder, because a corpus may be too small for one row.
    train_data = reading.train(
        seed=config.seed, num_workers=config.data.num_workers, **experiment.batches
    )
    with train_data:
        train_data.start_prefetch()  # workers start while programs are compiled
        folder = open_run_folder(
            workdir,
            config.to_dict(),
            overrides,
            may_differ=[*(f"training.{field}" for field in RESUMABLE), "data.cache_dir", "name"],
            added=ADDED,
            agreed={"text": reading.fingerprint, "tokenizer": tokenizer.fingerprint()},
        )
        if is_primary():
            tokenizer.save(folder.tokenizer)
        logger.info(
            "%s: %d steps of %d x %d ids, %.3f bytes per id, %.3g forward FLOPs per byte",
            config.name or config.method,
            experiment.total_steps,
            config.batch_size,
            config.row_length,
            reading.bytes_per_token,
            experiment.task.flops_per_byte,
        )

        def validation():
            return experiment.evaluation("validation", config.evaluation_bytes)

        def after_evaluation(step, variables, record):
            del record
            if on_evaluation is not None:
                on_evaluation(experiment, variables)
            if not pictures:
                return
            write_samples(folder.samples, step, experiment.task, variables, tokenizer, validation())
            if is_primary():
                write_curves(folder.path)

        earlier = traces(folder.profile) if training.profile else []
        startup.mark("folder")
        validation_record = train(
            experiment.task,
            training,
            experiment.optimizer,
            total_steps=experiment.total_steps,
            train_data=train_data,
            eval_data=validation,
            run_folder=folder,
            mesh=experiment.mesh,
            tokenizer_fingerprint=tokenizer.fingerprint(),
            data_workers=config.data.num_workers,
            on_evaluation=after_evaluation,
            batch_spec=batch_spec(config.batch_size, config.row_length),
            startup=startup,
        )
    # A start that finds all steps done traces none, and the folder may hold an earlier trace.
    if training.profile and is_primary() and traces(folder.profile) != earlier:
        print(describe_profile(folder.profile))
    return validation_record
