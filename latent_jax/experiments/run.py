"""One run: a configuration is made into corpus, tokenizer, task and budget, and is trained."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from latent_jax.contracts import Evaluation, Task, Vocabulary
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.costs.memory import settle_remat
from latent_jax.costs.profile import describe_profile
from latent_jax.costs.trace import traces
from latent_jax.data import Batch
from latent_jax.data.packing import RowLayout
from latent_jax.experiments.checks import (
    check_best_metric,
    check_borrowed,
    check_metric_name,
    check_source,
    check_weights,
)
from latent_jax.experiments.cores import rows_read
from latent_jax.experiments.entropy_runs import log_other_text, settle_entropy_model
from latent_jax.experiments.extension import RATE_OF_EXTENSION, check_extension, with_extension
from latent_jax.experiments.older_runs import ADDED, renewed
from latent_jax.experiments.reading import Reading, log_left_out, open_reading
from latent_jax.experiments.samples import write_samples
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.settings import check_settings, state_rule
from latent_jax.methods.solve import solve_extension, solve_shape, solve_steps
from latent_jax.methods.tasks import make_task
from latent_jax.paths import open_path
from latent_jax.reports.curves import write_curves
from latent_jax.training import (
    OptimizerConfig,
    RunFolder,
    StartUp,
    TrainingConfig,
    keep_programs,
    make_mesh,
    open_run_folder,
    train,
)
from latent_jax.training.config import RESUMABLE
from latent_jax.training.mesh import check_batch, check_rows_read, is_primary
from latent_jax.training.optimizer import make_schedule
from latent_jax.training.run_files import check_path, named_errors
from latent_jax.training.run_folder import discard
from latent_jax.training.sharding import batch_sharding
from latent_jax.training.weights_and_biases import check_wandb

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A configuration, opened and checked before any run folder is made.

    Attributes:
        config: with row length and width solved.
        reading: the text, or rows of ids.
        task: of the configuration.
        training: the section `training` of the configuration, with its seed.
        optimizer: the section `optimizer`.
        total_steps: optimizer steps that the budget and its extension pay for.
        extension_steps: how many of them the extension pays for.
        mesh: over all devices.
    """

    config: ConfigDict
    reading: Reading
    task: Task
    training: TrainingConfig
    optimizer: OptimizerConfig
    total_steps: int
    extension_steps: int
    mesh: Mesh

    @property
    def batches(self) -> dict[str, Any]:
        """The arguments that training and evaluation batches have in common."""
        return dict(
            batch_size=self.config.batch_size,
            row_length=self.config.row_length,
            sharding=batch_sharding(self.mesh),
        )

    def evaluation(self, split: str, max_bytes: int, part: str = "") -> Iterator[Batch]:
        """Return the batches of a split.

        Args:
            split: of the corpus.
            max_bytes: raw bytes at most; 0 = all.
            part: name of one corpus of a mixture; "" = all of it.
        """
        reading = self.reading.parts[part] if part else self.reading
        return reading.evaluation(split=split, max_bytes=max_bytes, **self.batches)


def prepare(config: ConfigDict, startup: StartUp | None = None) -> Experiment:
    """Open the corpus, train or load the tokenizer, build the task, and turn the budget into steps.

    Args:
        config: as `configs.common.default` makes it.
        startup: gets the seconds of the phases.

    Raises:
        ValueError: a value of the configuration is wrong, or the corpus cannot be read.
    """
    startup = startup or StartUp()
    state_rule(config)
    check_settings(config)
    settle_entropy_model(config, {})
    training = TrainingConfig(**config.training, seed=config.seed)
    optimizer = OptimizerConfig(**config.optimizer)
    check_wandb(training.wandb)
    mesh = make_mesh(training.strategy, training.model_parallel)
    keep_programs()
    startup.mark("devices")
    check_batch(mesh, config.batch_size, training.accumulation)
    check_rows_read(mesh, config.batch_size, rows_read(config))
    if not (config.context_bytes or config.inference_flops_per_byte):
        task = make_task(config, assumed_vocabulary(config, 4.0))  # refuses what makes none
        check_metric_name(task, training.best_metric, config.row_length)
        if config.budget.steps:  # other budgets depend on the text
            solve_steps(config, task)
    reading = open_reading(config, startup)
    vocabulary = Vocabulary.of(reading.tokenizer, reading.bytes_per_token)
    config = solve_shape(config, vocabulary)
    task = make_task(settle_remat(config, vocabulary, mesh), vocabulary)
    planned_steps, _ = solve_steps(config, task)
    extension = solve_extension(config, task)
    total_steps = planned_steps + extension
    make_schedule(optimizer, total_steps, extension)  # only to raise its errors now
    config.training.best_metric = config.training.best_metric or task.headline
    training = TrainingConfig(**config.training, seed=config.seed)
    startup.mark("task")
    return Experiment(config, reading, task, training, optimizer, total_steps, extension, mesh)


def run(
    config: ConfigDict,
    workdir: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    more_evaluations: Callable[[Experiment], Sequence[Evaluation]] = lambda experiment: (),
    pictures: bool = True,
    startup: StartUp | None = None,
) -> dict[str, Any]:
    """Train a configuration into a run folder, or go on where the run stopped.

    A run that was extended keeps its extension, whether or not `config` names it again.

    Args:
        config: as `configs.common.default` makes it.
        workdir: the run folder; made where it is missing.
        overrides: what was changed on the command line, for the record.
        more_evaluations: returns what the experiment is scored on besides its validation split.
        pictures: whether to write samples and curves after each evaluation.
        startup: the seconds that the start has taken so far; None begins to count now.

    Returns:
        The last validation record.

    Raises:
        ValueError: see `prepare` and `training.train`, or another process writes to the folder;
            nothing half-written is left behind.
    """
    startup = startup or StartUp()
    state_rule(config)
    check_settings(config)
    check_path(workdir)
    folder = RunFolder(open_path(workdir))
    recorded = folder.config if (folder.path / "config.json").exists() else {}
    settle_entropy_model(config, recorded)
    if config.training.init_from and not recorded:
        check_source(config.training.init_from)
    with folder.hold():
        try:
            return _run(config, folder, recorded, overrides, more_evaluations, pictures, startup)
        except BaseException:
            if not recorded:
                discard(folder)
            raise


def _run(
    config: ConfigDict,
    folder: RunFolder,
    recorded: Mapping[str, Any],
    overrides: Mapping[str, Any] | None,
    more_evaluations: Callable[[Experiment], Sequence[Evaluation]],
    pictures: bool,
    startup: StartUp,
) -> dict[str, Any]:
    """Do what `run` says, in a folder that no other process writes to; {} is `recorded` anew."""
    config = with_extension(config, recorded)
    experiment = prepare(config, startup)
    check_extension(experiment.config, experiment.task, experiment.extension_steps, recorded)
    config, training, reading = experiment.config, experiment.training, experiment.reading
    tokenizer = reading.tokenizer
    spec = RowLayout.of(reading.code, config.row_length).batch_spec(config.batch_size)
    log_left_out(reading)
    if training.init_from and not recorded:
        check_weights(experiment.task, training, spec, experiment.mesh)
    if getattr(experiment.task, "borrowed", {}) and not recorded:
        check_borrowed(experiment.task, spec, experiment.mesh)
        log_other_text(config)

    def validation(part=""):
        return experiment.evaluation("validation", config.evaluation_bytes, part)

    evaluations = [
        Evaluation(validation),
        *(
            Evaluation(functools.partial(validation, part), prefix=f"{part}_")
            for part in reading.parts
        ),
        *more_evaluations(experiment),
    ]
    check_best_metric(experiment.task, training.best_metric, spec, evaluations)
    # Before the run folder is made, because this fails if a corpus is too small for one row.
    known = family(parse(config.method).family)
    train_data = reading.train(
        seed=config.seed,
        num_workers=config.data.num_workers,
        **(experiment.batches | {"batch_size": rows_read(config)}),
    )
    with train_data:
        train_data.start_prefetch()  # workers start while programs are compiled
        open_run_folder(
            folder.path,
            config.to_dict(),
            overrides,
            may_differ=[
                *(f"training.{field}" for field in RESUMABLE),
                "budget.extend",
                "data.cache_dir",
                "name",
            ],
            added=ADDED,
            renewed=renewed,
            agreed={"text": reading.fingerprint, "tokenizer": tokenizer.fingerprint()},
        )
        if is_primary():
            with named_errors(folder.path):
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
        if experiment.extension_steps:
            logger.info(
                "%d of the steps are an extension (%s), in which the learning rate %s",
                experiment.extension_steps,
                config.budget.extend,
                RATE_OF_EXTENSION[experiment.optimizer.schedule],
            )

        def after_evaluation(step, variables, record):
            del record
            if not pictures:
                return
            with named_errors(folder.path):
                write_samples(
                    folder.samples, step, experiment.task, variables, tokenizer, validation()
                )
                if is_primary():
                    write_curves(folder.path)

        earlier = traces(folder.profile) if training.profile else []
        startup.mark("folder")
        validation_record = train(
            experiment.task,
            training,
            experiment.optimizer,
            total_steps=experiment.total_steps,
            extension_steps=experiment.extension_steps,
            train_data=known.make_stream(config, experiment.task, tokenizer, train_data),
            evaluations=evaluations,
            run_folder=folder,
            mesh=experiment.mesh,
            tokenizer_fingerprint=tokenizer.fingerprint(),
            data_workers=config.data.num_workers,
            on_evaluation=after_evaluation,
            batch_spec=spec,
            startup=startup,
        )
    # If all steps were done already, no step was traced, and the folder may hold an older trace.
    if training.profile and is_primary() and traces(folder.profile) != earlier:
        print(describe_profile(folder.profile))
    return validation_record
