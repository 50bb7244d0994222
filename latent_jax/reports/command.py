"""The implementation of `launch/report.py`."""

from collections.abc import Sequence
from pathlib import Path

from latent_jax.reports.comparison import write_comparison
from latent_jax.reports.records import find_runs, read_run
from latent_jax.reports.results import refresh_tables, run_record, write_results
from latent_jax.reports.scores import is_sweep
from latent_jax.reports.sweep_report import report_sweep
from latent_jax.reports.tables import text_table

RESULTS_FOLDER = Path("configs/results")

COLUMNS = (
    "name",
    "bytes_seen",
    "seconds",
    "bits_per_byte",
    "reconstruction_bits_per_byte",
    "language_model_bits_per_byte",
    "unigram_bits_per_byte",
    "reconstruction_nats_per_byte",
    "reconstruction_accuracy",
    "codebook_perplexity",
    "language_model_choice_nats_per_byte",
)
"""Columns of a comparison of runs; a column that no run has is left out."""


def report(
    folders: Sequence[str], *, results: str | None = None, readme: str | None = None
) -> None:
    """Print the runs below `folders` as one table and draw them; refresh the tables of a page.

    For folders of sweeps it prints tables and verdicts, and draws figures; see `report_sweep`.

    Args:
        folders: folders with runs, or folders of sweeps.
        results: JSON file for the records, or None.
        readme: Markdown page whose marked tables are refreshed, or None.

    Raises:
        ValueError: there is neither a folder nor a page, or a folder holds no run, or folders of
            sweeps and of runs are mixed.
    """
    if not folders and not readme:
        raise ValueError("name a folder with runs, or a page with --readme; see --help")
    sweeps = [folder for folder in folders if is_sweep(folder)]
    if sweeps:
        if len(sweeps) < len(folders):
            raise ValueError(
                f"name only folders of sweeps, such as {sweeps[0]}, or only folders of runs"
            )
        report_sweep(sweeps, results=results)
    elif folders:
        runs = [path for folder in folders for path in find_runs(folder)]
        print(comparison_table(runs))
        picture = write_comparison(runs, Path(folders[0]) / "comparison.png")
        print(f"\n{picture}")
        if results:
            write_results(runs, results)
            print(results)
    if readme:
        names = refresh_tables(readme, RESULTS_FOLDER)
        print(f"{readme}: {', '.join(names) or 'no marked table'}")


def comparison_table(runs: Sequence[str | Path]) -> str:
    """Return the last validation records of several runs as one table."""
    records = [run_record(read_run(run)) for run in runs]
    known = {key for record in records for key in record}
    return text_table(records, [column for column in COLUMNS if column in known])
