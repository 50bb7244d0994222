"""A trained run scored on any corpus, with its own tokenizer; every document counts once."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.contracts import Code, Task, Vocabulary, amount_key
from latent_jax.data import (
    Batch,
    Corpus,
    DataConfig,
    evaluation_batches,
    open_corpus,
    own_cache,
)
from latent_jax.experiments.older_runs import with_added_keys
from latent_jax.experiments.reading import open_reading
from latent_jax.json_files import Kind, check
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.row_codes import config_batch_spec, make_row_code
from latent_jax.methods.tasks import make_task
from latent_jax.paths import open_path
from latent_jax.reports.tables import text_table, write_table
from latent_jax.tasks.losses import perplexity
from latent_jax.training import (
    Checkpoints,
    Evaluator,
    RunFolder,
    make_mesh,
    share_heap,
    spread_over_cores,
)
from latent_jax.training.sharding import batch_sharding, tree_shardings

CONFIG_KIND = Kind(
    keys=dict.fromkeys(("data", "model", "optimizer", "training", "tokenizer", "budget"), dict)
    | dict.fromkeys(("row_length", "batch_size", "seed"), int)
    | {"method": str},
    maybe={"name": str},
    way_out="restore it from a copy",
)
"""What config.json of a run has at least."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, read back from its folder.

    Attributes:
        config: the configuration that it was trained with.
        tokenizer: the one that it was trained with.
        task: of the configuration.
        variables: the Flax collections of one checkpoint.
        metadata: of the checkpoint: "step", and how much of each amount the run has seen.
        mesh: the devices that hold the variables.
    """

    config: ConfigDict
    tokenizer: tokenizers.Tokenizer
    task: Task
    variables: dict[str, Any]
    metadata: dict[str, Any]
    mesh: Mesh

    @property
    def code(self) -> Code:
        """The code that makes rows of documents; for text, the tokenizer."""
        return make_row_code(self.config, self.tokenizer)


def load_run(workdir: str | Path, checkpoint: str = "best") -> Run:
    """Read a run folder.

    Args:
        workdir: the run folder.
        checkpoint: "best", "latest", or a step.

    Raises:
        ValueError: the folder holds no run, or the checkpoint is missing or damaged.
    """
    workdir = open_path(workdir)
    config = read_config(workdir)
    tokenizer = tokenizers.load(workdir / "tokenizer")
    with _named_config(workdir):
        mesh = make_mesh(config.training.strategy, config.training.model_parallel)
        # Any number will do: bytes per token decide the task's FLOPs, not the checkpoint's arrays.
        task = make_task(config, Vocabulary.of(tokenizer, bytes_per_token=1.0))
        abstract = _abstract_variables(task, config, mesh)
    # A reader: the run may be training.
    with Checkpoints(workdir / "checkpoints", is_reader=True) as checkpoints:
        variables, metadata = checkpoints.restore_variables(abstract, _step(checkpoint))
    return Run(config, tokenizer, task, variables, metadata, mesh)


def evaluate(
    workdir: str | Path,
    *,
    split: str = "validation",
    files: tuple[str, ...] = (),
    text_field: str = "text",
    checkpoint: str = "best",
    max_bytes: int = 0,
    batch_size: int = 0,
) -> dict[str, Any]:
    """Return all metrics of a run on held-out text, as one flat record.

    Args:
        workdir: the run folder.
        split: of the corpus that the run was trained on; ignored where `files` are given.
        files: other text, or other problems for a run that reads those, read whole: paths, globs
            or folders.
        text_field: of .jsonl files.
        checkpoint: "best", "latest", or a step.
        max_bytes: raw bytes to score at most; 0 = all.
        batch_size: rows at a time; 0 = as in training. The sums do not depend on it, but those of
            thoughts that rows exchange with their neighbours; a row alone has none.

    Raises:
        ValueError: the folder holds no run, the checkpoint is damaged, or the text cannot be read.
    """
    run = load_run(workdir, checkpoint)
    config = run.config
    if files:
        reads_problems = family(parse(config.method).family).reads_problems
        source = "gsm8k" if reads_problems else "files"
        words = dict(source=source, files=files, text_field=text_field)
        data = DataConfig(**words, validation_percent=0.0, test_percent=0.0)
        metrics = score_corpus(run, open_corpus(data), "train", max_bytes, batch_size)
    else:
        with _named_config(open_path(workdir)):
            reading = open_reading(config)
        rows = reading.evaluation(split=split, **_rows(run, max_bytes, batch_size))
        metrics = score_rows(run, rows)
    return {
        "run": str(workdir),
        "name": config.name or config.method,
        "method": config.method,
        "step": run.metadata["step"],
        **{f"{unit}_seen": run.metadata[f"{unit}_seen"] for unit in run.task.amounts},
        "split": " ".join(files) or split,
        **metrics,
    }


def score_corpus(
    run: Run, corpus: Corpus, split: str, max_bytes: int = 0, batch_size: int = 0
) -> dict[str, Any]:
    """Return all metrics of a run on a split of any corpus, and how much of each amount was scored.

    Args:
        run: see `load_run`.
        corpus: any.
        split: of it.
        max_bytes: raw bytes to score at most; 0 = all.
        batch_size: rows at a time; 0 = as in training. The sums do not depend on it.
    """
    words = _rows(run, max_bytes, batch_size)
    return score_rows(run, evaluation_batches(corpus, run.code, split=split, **words))


def _rows(run: Run, max_bytes: int, batch_size: int) -> dict[str, Any]:
    return dict(
        batch_size=batch_size or run.config.batch_size,
        row_length=run.config.row_length,
        max_bytes=max_bytes,
        sharding=batch_sharding(run.mesh),
    )


def score_rows(run: Run, rows: Iterable[Batch]) -> dict[str, Any]:
    """Return all metrics of a run on batches of rows, and how much of each amount was scored."""
    sums = Evaluator(run.task, run.mesh)(run.variables, rows)
    amounts = {amount_key(unit): int(sums[amount_key(unit)]) for unit in run.task.amounts}
    metrics = run.task.summarize(sums)
    if "bytes_per_token" in metrics:  # what is scored is one language model over tokens
        bits = metrics.pop("bits_per_byte")
        told = perplexity(bits, metrics["bytes_per_token"])
        shown = {} if told is None else {"perplexity_per_token": told}
        metrics = {"bits_per_byte": bits, **shown, **metrics}
    return amounts | metrics


def evaluate_and_print(workdir: str | Path, *, json_path: str | None = None, **options) -> None:
    """Evaluate, print the metrics, and write the unrounded record where a file is named."""
    share_heap()
    spread_over_cores([options.get("batch_size") or read_config(open_path(workdir)).batch_size])
    print_record(evaluate(workdir, **options), json_path)


def print_record(record: dict[str, Any], json_path: str | None = None) -> None:
    """Print the metrics of a record, and write it unrounded where a file is named."""
    rows = [{"metric": key, "value": _readable(value)} for key, value in record.items()]
    print(text_table(rows))
    if json_path:
        write_table([record], json_path)


def _readable(value: Any) -> str:
    """Return counts in full and other numbers to four digits."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.4g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else value


def _abstract_variables(task: Task, config: ConfigDict, mesh: Mesh) -> dict[str, Any]:
    """Return the task's collections as `ShapeDtypeStruct`s that carry their shardings."""
    row = config_batch_spec(config, 1)
    shapes = jax.eval_shape(task.init, jax.random.key(0), row)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        tree_shardings(shapes, mesh, config.training.strategy),
    )


def _step(checkpoint: str) -> int | str:
    if checkpoint in ("best", "latest"):
        return checkpoint if checkpoint == "best" else -1
    if not checkpoint.isdigit():
        raise ValueError(f"--checkpoint is best, latest or a step, not {checkpoint!r}")
    return int(checkpoint)


def read_config(workdir: Path) -> ConfigDict:
    """Return the configuration of a run folder.

    Raises:
        ValueError: it holds no run, or a damaged one.
    """
    path = workdir / "config.json"
    if not path.exists():
        inside = sorted(folder.parent.name for folder in workdir.glob("*/config.json"))
        hint = f"; it holds the runs {', '.join(inside)}: name one" if inside else ""
        raise ValueError(f"{workdir} is no run folder (it has no config.json){hint}")
    config = check(RunFolder(workdir).config, path, CONFIG_KIND)
    data = check(config["data"], f"data in {path}", Kind(keys={"cache_dir": str}))
    data["cache_dir"] = own_cache(data["cache_dir"])
    return with_added_keys(config)


@contextlib.contextmanager
def _named_config(workdir: Path) -> Iterator[None]:
    """Name the file where a configuration lacks what a run needs, or has it of another type."""
    try:
        yield
    except (AttributeError, KeyError, TypeError) as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"{workdir / 'config.json'} is no configuration of a run that can be read here "
            f"({said}): restore it from a copy"
        ) from error
