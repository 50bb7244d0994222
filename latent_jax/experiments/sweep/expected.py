"""How long the cells of a sweep are expected to take on this machine, and what that assumes."""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

from latent_jax.costs.hardware import matmul_rate
from latent_jax.experiments.sweep.jobs import read_result
from latent_jax.experiments.sweep.plan import Record

USUAL_SHARE = 0.2
"""Share of the rate of matrix products that training is assumed to reach, until finished cells of
the sweep show theirs."""

YEAR_SECONDS = 365.25 * 86_400


@dataclasses.dataclass(frozen=True)
class Speed:
    """The speed of training that expected times assume.

    Attributes:
        matmul_flops_per_s: measured rate of matrix products of this machine's CPU.
        n_workers: they divide the rate.
        share: of a worker's part, which training reaches.
        n_cells: finished cells of the sweep that showed the share; 0 = it is `USUAL_SHARE`.
    """

    matmul_flops_per_s: float
    n_workers: int
    share: float
    n_cells: int

    @property
    def flops_per_s(self) -> float:
        """FLOP/s of a worker."""
        return self.share * self.matmul_flops_per_s / self.n_workers

    def __str__(self) -> str:
        """Return a sentence."""
        why = "is assumed until cells are finished"
        if self.n_cells:
            cells = "one finished cell" if self.n_cells == 1 else f"{self.n_cells} finished cells"
            why = f"is what {cells} reached"
        return (
            f"Times assume {spoken_rate(self.flops_per_s)} for each worker, on the CPU of this "
            f"machine: its matrix products make {spoken_rate(self.matmul_flops_per_s)}, divided "
            f"among {self.n_workers}, and {self.share:.0%} of that {why}."
        )


def expect(records: Sequence[Record], folder: Path, n_workers: int) -> Speed:
    """Add "expected_seconds" to each record, for this machine, and return the speed behind it."""
    rate = matmul_rate()
    results = [result for r in records if (result := read_result(folder, r["name"])) is not None]
    shares = [
        own_flops(result) / result["seconds"] / (rate / n_workers)
        for result in results
        if result.get("seconds", 0) > 0
    ]
    share = statistics.median(shares) if shares else USUAL_SHARE
    speed = Speed(rate, n_workers, share, len(shares))
    for record in records:
        record["expected_seconds"] = own_flops(record) / speed.flops_per_s
    return speed


def own_flops(record: Record) -> float:
    """Return the training FLOPs of a cell without M1's: spent if it is finished, else planned."""
    per_byte = record["train_flops_per_byte"] - record["tokenizer_flops_per_byte"]
    return record.get("bytes_seen", record["planned_bytes_seen"]) * per_byte


def spoken(seconds: float) -> str:
    """Return a time for people, in the unit in which it is a number of one to three digits."""
    for most, size, unit in (
        (100, 1, "s"),
        (100 * 60, 60, "min"),
        (48 * 3600, 3600, "h"),
        (2 * YEAR_SECONDS, 86_400, "days"),
    ):
        if seconds < most:
            return f"{seconds / size:.{1 if unit == 'h' and seconds < 36_000 else 0}f} {unit}"
    return f"{float(f'{seconds / YEAR_SECONDS:.2g}'):,.0f} years"


def spoken_rate(flops_per_s: float) -> str:
    """Return a speed for people."""
    size, unit = (1e12, "TFLOP/s") if flops_per_s >= 1e12 else (1e9, "GFLOP/s")
    return f"{flops_per_s / size:.3g} {unit}"
