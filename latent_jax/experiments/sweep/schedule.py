"""The schedule of a sweep: which job may begin next, and the state of every cell, kept on disk."""

import heapq
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from latent_jax.data.rows import DONE
from latent_jax.experiments.sweep.jobs import read_result
from latent_jax.experiments.sweep.loading import config_of
from latent_jax.experiments.sweep.plan import Record, encodings, rows_folder
from latent_jax.json_files import write_json
from latent_jax.methods.cells import Sweep

MANIFEST = "manifest.json"
"""File in the folder of a sweep: every cell, its state, and the errors of its attempts."""

Job = dict[str, Any]


class Schedule:
    """Jobs in the order in which they should begin.

    Rows are encoded first, because cells wait for them. Then come the cells, the most expensive
    first, so that no long one is left for the end.

    Args:
        words: NAME:ARGUMENTS of the sweep.
        sweep: its cells.
        folder: of the sweep.
        records: the plan.
        retries: how many times a job that failed is started again.
    """

    def __init__(
        self, words: str, sweep: Sweep, folder: Path, records: Sequence[Record], retries: int
    ):
        """Read the results of finished cells, and queue the other jobs.

        Raises:
            ValueError: a finished cell belongs to another plan.
        """
        self._words, self._folder, self._retries = words, folder, retries
        self.records = {record["name"]: record for record in records}
        self.results = {name: read_result(folder, name) for name in self.records}
        self._check_results()
        self.errors: dict[str, list[str]] = {}
        self.running: set[str] = set()
        self._waiting: dict[str, set[str]] = {}  # coder -> cells that wait for its rows
        self._queue: list[tuple[int, float, str]] = []
        self._jobs: dict[str, Job] = {}
        missing = [r for r in records if self.results[r["name"]] is None]
        for coder, kinds in encodings(missing).items():
            folders = [rows_folder(folder, _configured(sweep, kind)) for kind in kinds]
            if not all((rows / DONE).exists() for rows in folders):
                methods = {kind["method"] for kind in kinds}
                waiting = {r["name"] for r in missing if r["method"] in methods}
                self._waiting[coder] = waiting
                self._add("encode", f"rows of {coder}", kinds)
        blocked = set().union(*self._waiting.values())
        for record in missing:
            if record["name"] not in blocked:
                self._add("train", record["name"], [record])
        self.write()

    def next(self) -> Job | None:
        """Return a job that may begin now, or None."""
        if not self._queue:
            return None
        *_, name = heapq.heappop(self._queue)
        self.running.add(name)
        self.write()
        return self._jobs[name]

    def ended(self, job: Job, error: str | None) -> bool:
        """Record the end of a job; return False if it will be tried again."""
        name = job["name"]
        self.running.discard(name)
        if error is not None:
            self.errors.setdefault(name, []).append(error)
            again = len(self.errors[name]) <= self._retries
            if again:
                self._push(name)
            self.write()
            return not again
        if job["kind"] == "encode":
            coder = name.removeprefix("rows of ")
            for cell in sorted(self._waiting.pop(coder)):
                self._add("train", cell, [self.records[cell]])
        else:
            self.results[name] = read_result(self._folder, name)
        self.write()
        return True

    @property
    def failed(self) -> dict[str, str]:
        """Jobs that were given up, by name, with their last errors."""
        return {
            name: errors[-1]
            for name, errors in self.errors.items()
            if len(errors) > self._retries and self.results.get(name) is None
        }

    @property
    def unfinished(self) -> list[str]:
        """Names of the cells without a result."""
        return [name for name, result in self.results.items() if result is None]

    def write(self) -> None:
        """Write the manifest."""
        cells = [
            {
                "name": name,
                "config": record["config"],
                "state": self._state(name),
                "errors": self.errors.get(name, []),
            }
            for name, record in self.records.items()
        ]
        rows = {coder: self.errors.get(f"rows of {coder}", []) for coder in self._waiting}
        manifest = {"sweep": self._words, "cells": cells, "rows to encode": rows}
        write_json(self._folder / MANIFEST, manifest)

    def _state(self, name: str) -> str:
        if self.results[name] is not None:
            return "finished"
        if name in self.running:
            return "running"
        return "failed" if name in self.failed else "waiting"

    def _add(self, kind: str, name: str, records: Sequence[Record]) -> None:
        self._jobs[name] = {
            "kind": kind,
            "name": name,
            "sweep": self._words,
            "folder": str(self._folder),
            "records": json.loads(json.dumps(list(records))),
        }
        self._push(name)

    def _push(self, name: str) -> None:
        job = self._jobs[name]
        cost = sum(record["planned_train_flops"] for record in job["records"])
        heapq.heappush(self._queue, (job["kind"] != "encode", -cost, name))

    def _check_results(self) -> None:
        """Refuse finished cells of another plan.

        Raises:
            ValueError: naming the cell and what differs.
        """
        for name, result in self.results.items():
            if result is None:
                continue
            record = self.records[name]
            different = [
                key
                for key in ("config", "budget", "row_length", "vocab_size")
                if result.get(key) != record[key]
            ]
            if different:
                listed = ", ".join(f"{k}: {result.get(k)} then, {record[k]} now" for k in different)
                raise ValueError(
                    f"{name} in {self._folder} was trained by another sweep ({listed}): choose "
                    "another --workdir, or remove that cell"
                )


def _configured(sweep: Sweep, record: Record) -> ConfigDict:
    config = config_of(sweep, record["config"])
    config.row_length = record["row_length"]
    return config
