"""What a step waits for: a trace of some steps, summed by kind of work on the device.

The trace itself opens in XProf (`pip install xprof; xprof FOLDER`), and its .trace.json.gz in
ui.perfetto.dev.
"""

import collections
import re
from collections.abc import Iterable
from pathlib import Path

from jax.profiler import ProfileData

from latent_jax.reports.tables import Column, text_table

KINDS = (
    # (kind of work, what names of kernels and of XLA's instructions contain); the first counts
    ("collectives", r"nccl|all-?reduce|all-?gather|reduce-?scatter|all-?to-?all|permute|ppermute"),
    ("attention kernels", r"fmha|flash|cudnn|sdpa|splash"),
    ("matrix products", r"gemm|nvjet|cutlass|cublas|\bdot|dot_|convolution|matmul|wgmma"),
    ("scatter and gather", r"scatter|gather|dynamic-?slice|dynamic_update"),
    ("copies", r"copy|memcpy|memset|transpose"),
    ("sorting", r"sort|top_?k"),
    ("random numbers", r"rng|threefry|random"),
    ("reductions", r"reduce"),
    ("element-wise", r"fusion|loop|wrapped|convert|broadcast"),
)
OTHER = "other"

COLUMNS = (
    Column("kind", "kind of work"),
    Column("share", "of the time\n%", ".1f", 100.0),
    Column("milliseconds", "ms", ",.2f"),
    Column("n_events", "kernels", ",d"),
)


def summarize_profile(folder: str | Path, n_names: int = 12) -> str:
    """Return a table of the newest trace in a folder by kind of work, and its slowest kernels.

    Args:
        folder: what `jax.profiler.trace` was given.
        n_names: how many kernels are listed.

    Raises:
        ValueError: there is no trace, or no device did anything in it.
    """
    traces = sorted(Path(folder).rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not traces:
        raise ValueError(f"{folder} holds no trace (*.xplane.pb): run with --profile=N first")
    events = _device_events(ProfileData.from_file(str(traces[-1])))
    if not events:
        raise ValueError(
            f"no device worked in the trace {traces[-1]}; where libtpu is loaded, no CPU is traced"
        )
    first = min(start for _, start, _ in events)
    whole = max(end for _, _, end in events) - first
    busy = _union((start, end) for _, start, end in events)
    by_kind: dict[str, list[float]] = collections.defaultdict(list)
    by_name: dict[str, list[float]] = collections.defaultdict(list)
    for name, start, end in events:
        by_kind[kind_of(name)].append(end - start)
        by_name[name].append(end - start)
    rows = [_row(kind, times, whole) for kind, times in by_kind.items()]
    rows.append(_row("nothing (the device waits)", [whole - busy], whole) | {"n_events": None})
    names = [_row(name[:70], times, whole) for name, times in by_name.items()]
    return "\n\n".join(
        text_table(sorted(table, key=lambda row: -row["milliseconds"])[:n], COLUMNS)
        for table, n in ((rows, None), (names, n_names))
    )


def describe_profile(folder: str | Path) -> str:
    """Return `summarize_profile`, or why there is none: no reason for a measurement to fail."""
    try:
        return summarize_profile(folder)
    except ValueError as error:
        return f"the trace cannot be summed up: {error}"


def kind_of(name: str) -> str:
    """Return the kind of work of a kernel or an instruction by its name."""
    name = name.lower()
    return next((kind for kind, pattern in KINDS if re.search(pattern, name)), OTHER)


def _device_events(data: ProfileData) -> list[tuple[str, float, float]]:
    """Return (name, start, end) in nanoseconds of what the first device ran.

    On a CPU, XLA's instructions run in threads of the host, among much else.
    """
    planes = sorted(data.planes, key=lambda plane: plane.name)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    if devices:
        # A TPU repeats its work in lines for steps and modules; a GPU has one line per stream.
        lines = [line for line in devices[0].lines if re.match(r"Stream|XLA Ops", line.name)]
    else:
        lines = [line for plane in planes for line in plane.lines]
    return [
        (event.name, event.start_ns, event.start_ns + event.duration_ns)
        for line in lines
        for event in line.events
        if event.duration_ns > 0 and (devices or "hlo_op" in dict(event.stats))
    ]


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """Return the time that at least one of the spans covers."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def _row(kind: str, times: list[float], whole: float) -> dict:
    total = sum(times)
    return {
        "kind": kind,
        "share": total / whole,
        "milliseconds": total / 1e6,
        "n_events": len(times),
    }
