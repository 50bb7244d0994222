"""The implementation of `launch/report.py`."""

from collections.abc import Sequence
from pathlib import Path

from latent_jax.reports.columns import Column
from latent_jax.reports.comparison import write_comparison
from latent_jax.reports.per_character import (
    BLOG,
    FULL,
    character_records,
    last_records,
    write_per_character,
)
from latent_jax.reports.records import Run, find_runs, read_run
from latent_jax.reports.results import refresh_tables, run_record, write_results
from latent_jax.reports.scores import is_sweep
from latent_jax.reports.sweep_report import report_sweep
from latent_jax.reports.tables import text_table, write_table

RESULTS_FOLDER = Path("configs/results")

COLUMNS = (
    "name",
    "bytes_seen",
    "seconds",
    "bits_per_byte",
    "reconstruction_bits_per_byte",
    "language_model_bits_per_byte",
    "bytes_per_chunk_1",
    "bytes_per_chunk_2",
    "unigram_bits_per_byte",
    "reconstruction_nats_per_byte",
    "reconstruction_accuracy",
    "codebook_perplexity",
    "language_model_choice_nats_per_byte",
    "result_nats_per_token_without",
    "result_nats_per_token_with",
    "use_nats_per_token",
    "lost_right_share",
    "blocks_per_solution",
    "right_share",
)
"""Columns of a comparison of runs; a column that no run has is left out."""

KEPT_COLUMNS = (
    Column("kept_value", "its best_metric at\nthe kept checkpoint", ".3f"),
    Column("kept_step", "which is\nof step", ",d"),
)
"""Further columns where a run may have been stopped early; all others are of the last step."""


def report(
    folders: Sequence[str],
    *,
    results: str | None = None,
    readme: str | None = None,
    per_character: str | None = None,
    pictures: str | Path | None = None,
) -> None:
    """Print the runs below `folders` as one table and draw them; refresh the tables of a page.

    For folders of sweeps it prints tables and verdicts, and draws figures; see `report_sweep`.

    Args:
        folders: folders with runs, or folders of sweeps.
        results: JSON file for the records, or None.
        readme: Markdown page whose marked tables are refreshed, or None.
        per_character: JSON file for the loss per character at every evaluation; the runs then also
            get per_character.png. None for neither.
        pictures: folder for the pictures of runs; None = the first of `folders`. Those of a sweep
            lie in its own folder.

    Raises:
        ValueError: there is neither a folder nor a page, or a folder holds no run, or folders of
            sweeps and of runs are mixed, or runs cannot be compared per character.
    """
    if not folders and not readme:
        raise ValueError("name a folder with runs, or a page with --readme; see --help")
    sweeps = [folder for folder in folders if is_sweep(folder)]
    if sweeps:
        if len(sweeps) < len(folders):
            raise ValueError(
                f"name only folders of sweeps, such as {sweeps[0]}, or only folders of runs"
            )
        if per_character:
            raise ValueError("--per_character compares runs: name folders of runs, not of a sweep")
        report_sweep(sweeps, results=results)
    elif folders:
        runs = [path for folder in folders for path in find_runs(folder)]
        drawn = Path(pictures or folders[0])
        print(comparison_table(runs))
        picture = write_comparison(runs, drawn / "comparison.png")
        print(f"\n{picture}")
        if results:
            write_results(runs, results)
            print(results)
        if per_character:
            _report_per_character(runs, drawn, per_character)
    elif per_character:
        raise ValueError("--per_character compares runs: name their folder")
    if readme:
        names = refresh_tables(readme, RESULTS_FOLDER)
        print(f"{readme}: {', '.join(names) or 'no marked table'}")


def _report_per_character(runs: Sequence[Path], folder: Path, path: str) -> None:
    """Write the records of all runs, draw them into the folder, and print their last values."""
    records = character_records(runs)
    columns = ("name", "bytes_seen", "bytes_per_token", "characters", BLOG, FULL, "bits_per_byte")
    known = {key for record in records for key in record}
    shown = [column for column in columns if column in known]
    print(f"\n{text_table(last_records(records), shown)}")
    print(f"\n{write_per_character(records, folder / 'per_character.png')}")
    write_table(records, path)
    print(path)


def comparison_table(runs: Sequence[str | Path]) -> str:
    """Return the last validation records of several runs as one table.

    Early stopping ends a run some evaluations after its best one, whose checkpoint is the one that
    later commands read. So a run with training.patience also shows what that evaluation measured.
    """
    records = [run_record(run := read_run(folder)) | _kept(run) for folder in runs]
    known = {key for record in records for key in record}
    columns = [column for column in COLUMNS if column in known]
    return text_table(records, [*columns, *(KEPT_COLUMNS if "kept_step" in known else ())])


def _kept(run: Run) -> dict[str, float]:
    """Return the value and the step of a run's best evaluation; {} for one without patience."""
    evaluations = run.split("validation")
    if "evaluations_without_improvement" not in evaluations[-1]:
        return {}
    if not all(run.metric in record for record in evaluations):
        raise ValueError(
            f"{run.folder / 'metrics.jsonl'} has validation records without {run.metric!r}, which "
            f"{run.folder / 'config.json'} names as training.best_metric: restore it from a copy"
        )
    best = min(evaluations, key=lambda record: record[run.metric])
    return {"kept_value": best[run.metric], "kept_step": best["step"]}
