"""The time of a step by kind of work on a device, from a trace of some steps.

The trace itself opens in XProf (`pip install xprof; xprof FOLDER`), and its .trace.json.gz in
ui.perfetto.dev.
"""

import collections
import re
from collections.abc import Sequence
from pathlib import Path

from jax.profiler import ProfileData

from latent_jax.costs.trace import Event, count_steps, device_events, own_times, traces
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import text_table

KINDS = (
    # (kind of work, pattern for names of kernels and of XLA's instructions); the first match counts
    ("collectives", r"nccl|all-?reduce|all-?gather|reduce-?scatter|all-?to-?all|permute|ppermute"),
    ("attention kernels", r"fmha|flash|cudnn|sdpa|splash"),
    # XLA's library for CPUs: the names of its instructions do not tell which of the two they are.
    ("matrix products or reductions (YNN)", r"ynn_"),
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
    Column("share", "of the time\n%", ".1f", 100.0),
    Column("milliseconds", "ms\nper step", ",.2f"),
    Column("n_events", "kernels\nper step", ",.1f"),
)


def summarize_profile(folder: str | Path, n_names: int = 12) -> str:
    """Return tables of the newest trace in a folder: of kinds of work, and of the slowest kernels.

    Both are for one step on one device, a mean over all steps and devices. The first table adds up
    to the time of a step: kernels that run at the same time share that time, a loop does not
    include the kernels inside it, and the device waits while nothing runs on it.

    Args:
        folder: the one that `jax.profiler.trace` wrote to.
        n_names: how many kernels are listed.

    Raises:
        ValueError: there is no trace, no device did anything in it, or it marks no steps.
    """
    found = traces(folder)
    if not found:
        raise ValueError(f"{folder} holds no trace (*.xplane.pb): run with --profile=N first")
    trace = found[-1]
    data = ProfileData.from_file(str(trace))
    devices, n_steps = list(device_events(data).values()), count_steps(data)
    if not devices:
        raise ValueError(
            f"no device worked in the trace {trace}; where libtpu is loaded, no CPU is traced"
        )
    if not n_steps:
        raise ValueError(f"the trace {trace} marks no steps; see training.profiler.mark_step")
    first = min(event.start for events in devices for event in events)
    seconds = (max(event.end for events in devices for event in events) - first) / 1e9
    title = (
        f"{_count(n_steps, 'step')} on {_count(len(devices), 'device')} in {seconds:,.2f} s; "
        f"below, one step on one device.\nTrace in {trace.parent}: xprof {folder}, or its "
        ".trace.json.gz in ui.perfetto.dev"
    )
    return "\n\n".join((title, *_tables(devices, n_steps, seconds, n_names)))


def check_traced(profile: str | Path | None, n_traced: int) -> None:
    """Check the number of steps to trace.

    Args:
        profile: folder of the trace; None = no trace.
        n_traced: steps to trace.

    Raises:
        ValueError: a trace of fewer than 1 step is asked for.
    """
    if profile is not None and n_traced < 1:
        raise ValueError(f"profile must be at least 1, or left out for no trace; got {n_traced}")


def describe_profile(folder: str | Path) -> str:
    """Return `summarize_profile`, or its error as text, so that a measurement does not fail."""
    try:
        return summarize_profile(folder)
    except ValueError as error:
        return f"the trace cannot be summed up: {error}"


def kind_of(name: str) -> str:
    """Return the kind of work of a kernel or an instruction by its name."""
    name = name.lower()
    return next((kind for kind, pattern in KINDS if re.search(pattern, name)), OTHER)


def _tables(
    devices: Sequence[Sequence[Event]], n_steps: int, seconds: float, n_names: int
) -> tuple[str, str]:
    """Return the table of kinds of work, and that of kernels."""
    times, counts = collections.Counter(), collections.Counter()
    for events in devices:
        times.update(own_times(events))
        counts.update(event.name for event in events)
    kind_times, kind_counts = collections.Counter(), collections.Counter()
    for name in counts:
        kind_times[kind_of(name)] += times[name]
        kind_counts[kind_of(name)] += counts[name]
    whole, n_device_steps = 1e9 * seconds * len(devices), n_steps * len(devices)

    def row(name: str, time: float, count: int | None) -> dict[str, str | float | None]:
        return {
            "name": name[:70],
            "share": time / whole,
            "milliseconds": time / 1e6 / n_device_steps,
            "n_events": None if count is None else count / n_device_steps,
        }

    kinds = [row(kind, time, kind_counts[kind]) for kind, time in kind_times.items()]
    kinds.append(row("nothing (the device waits)", whole - times.total(), None))
    kinds.sort(key=lambda row: -row["milliseconds"])
    kernels = [row(name, time, counts[name]) for name, time in times.most_common(n_names)]
    return (
        text_table(kinds, (Column("name", "kind of work"), *COLUMNS)),
        text_table(kernels, (Column("name", "kernel"), *COLUMNS)),
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
