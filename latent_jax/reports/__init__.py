"""Records, tables and pictures from run folders; this room imports no other room."""

from latent_jax.reports.columns import COLUMNS, Column
from latent_jax.reports.comparison import write_comparison
from latent_jax.reports.curves import write_curves
from latent_jax.reports.records import Run, RunFolderError, find_runs, flatten, read_run
from latent_jax.reports.tables import markdown_table, read_table, text_table, write_table

__all__ = [
    "COLUMNS",
    "Column",
    "Run",
    "RunFolderError",
    "find_runs",
    "flatten",
    "markdown_table",
    "read_run",
    "read_table",
    "text_table",
    "write_comparison",
    "write_curves",
    "write_table",
]
