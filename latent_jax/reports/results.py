"""Published tables, made from run folders by way of small committed records.

No table in the README or in a page of configs/results is written by hand. `write_results` keeps the
last validation record of every run in configs/results/NAME.json. `refresh_tables` writes a table of
these records between the two marks

    <!-- table: NAME; name bits_per_byte ... -->
    <!-- end of table -->

which name the file and the columns. `; METHOD METHOD ...` after the columns selects the rows of
these methods, in this order.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_jax.paths import replace_file
from latent_jax.reports.records import Run, read_run
from latent_jax.reports.tables import markdown_table, read_table, write_table

_BLOCK = re.compile(
    r"(<!-- table: (?P<name>[\w.-]+); (?P<columns>[\w.@\s]+)"
    r"(; (?P<methods>[^>]+?))? -->\n).*?(?P<end><!-- end of table -->)",
    re.DOTALL,
)


def run_record(run: Run) -> dict[str, Any]:
    """Return the name, the method and the last validation record of a run, as one record.

    Raises:
        RunFolderError: the run has no validation record yet.
    """
    record = run.final("validation")
    return {key: value for key, value in record.items() if key != "split"}


def write_results(folders: Sequence[str | Path], path: str | Path) -> list[dict[str, Any]]:
    """Write one record per run folder, unrounded, and return them.

    Raises:
        RunFolderError: a folder holds no finished evaluation.
    """
    records = [run_record(read_run(folder)) for folder in folders]
    write_table(records, path)
    return records


def refresh_tables(page: str | Path, results: str | Path) -> list[str]:
    """Rewrite every marked table of a Markdown page from `results`/NAME.json.

    Returns:
        The names of the tables, in order.

    Raises:
        ValueError: the file of a table is missing, or lacks a column that the mark names.
    """
    page, results = Path(page), Path(results)
    names = []

    def table(match: re.Match) -> str:
        path = results / f"{match['name']}.json"
        if not path.exists():
            raise ValueError(
                f"{page} shows the table {match['name']!r}, and there is no {path}: make it with "
                "launch/report.py RUNS --results"
            )
        names.append(match["name"])
        records: list[Mapping[str, Any]] = read_table(path)
        if match["methods"]:
            of = {record["method"]: record for record in records}
            records = [of[method] for method in match["methods"].split()]
        body = markdown_table(records, match["columns"].split())
        return f"{match[1]}\n{body}\n\n{match['end']}"

    text = _BLOCK.sub(table, page.read_text(encoding="utf-8"))
    replace_file(page, text.encode())
    return names
