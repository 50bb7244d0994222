"""The display of a running sweep: a table that is redrawn on a terminal, lines elsewhere."""

import sys
import time
from pathlib import Path
from typing import Any

from latent_jax.experiments.sweep.jobs import cell_folder
from latent_jax.json_files import Kind, parse
from latent_jax.spelling import one_line

_RECORD = Kind(keys={"step": int, "bits_per_byte": float})

LINE_EVERY_SECONDS = 60.0
"""Without a terminal: seconds between two lines about running jobs."""


class Live:
    """Shows which jobs have ended, which are running, and how far they are.

    Args:
        schedule: see `Schedule`.
        folder: of the sweep.
        stream: file to write to; by default stderr.
    """

    def __init__(self, schedule: Any, folder: Path, stream: Any = None):
        """Show nothing yet."""
        self._schedule, self._folder = schedule, folder
        self._stream = stream or sys.stderr
        self._drawn = 0
        self._began = self._last_line = time.monotonic()

    def __enter__(self) -> "Live":
        """Print how many cells are finished already."""
        n_cells = len(self._schedule.results)
        n_done = n_cells - len(self._schedule.unfinished)
        if n_done:
            self._print(f"{n_done} of {n_cells} cells are finished already")
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the table."""
        self._erase()

    def ended(self, job: dict[str, Any], error: str | None, is_over: bool) -> None:
        """Print how a job ended."""
        result = self._schedule.results.get(job["name"])
        if error is not None:
            then = "given up" if is_over else "tried again"
            self._print(f"failed    {job['name']}: {error}; {then}")
        elif result is None:
            self._print(f"encoded   {job['name']}")
        else:
            self._print(
                f"finished  {job['name']}: {result['bits_per_byte']:.3f} bits/byte, "
                f"{result['seconds']:.0f} s of training"
            )

    def show(self) -> None:
        """Redraw the table, or print a line if one is due."""
        n_cells = len(self._schedule.results)
        n_done = n_cells - len(self._schedule.unfinished)
        minutes = (time.monotonic() - self._began) / 60
        lines = [f"{n_done} of {n_cells} cells after {minutes:.1f} min"]
        lines += [self._line(name) for name in sorted(self._schedule.running)]
        if self._stream.isatty():
            self._erase()
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
            self._drawn = len(lines)
        elif time.monotonic() - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            print("; ".join(lines), file=self._stream, flush=True)

    def _line(self, name: str) -> str:
        record = self._schedule.records.get(name)
        if record is None:
            return f"  {name}: encoding"
        last = _last_record(cell_folder(self._folder, name) / "metrics.jsonl")
        if last is None:
            return f"  {name}: starting"
        return (
            f"  {name}: step {last['step']} of {record['planned_steps']}, "
            f"{last['bits_per_byte']:.3f} bits/byte"
        )

    def _print(self, text: str) -> None:
        self._erase()
        print(one_line(text), file=self._stream, flush=True)

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0


def _last_record(path: Path) -> dict[str, Any] | None:
    """Return the last whole line of a run's metrics."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[1:] if len(lines) > 2 else lines):
        try:
            return parse(line, path, _RECORD)
        except ValueError:
            continue
    return None
