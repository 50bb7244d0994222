"""Reads traces: the steps that a trace marks, and the work of each device in them."""

import collections
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jax.profiler import ProfileData

from latent_jax.training.profiler import STEP


class Event(NamedTuple):
    """One run of a kernel on a GPU, or of an instruction of XLA elsewhere.

    Attributes:
        line: the stream or thread that ran it.
        name: of the kernel or instruction.
        start: in nanoseconds, by a clock that all devices share.
        end: likewise.
    """

    line: str
    name: str
    start: float
    end: float


def traces(folder: str | Path) -> list[Path]:
    """Return the traces in a folder that `jax.profiler.trace` wrote to, the newest last."""
    return sorted(Path(folder).rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)


def count_steps(data: ProfileData) -> int:
    """Return how many steps began in a trace; see `training.profiler.mark_step`."""
    return sum(
        event.name == STEP
        for plane in data.planes
        if plane.name.startswith("/host:")
        for line in plane.lines
        for event in line.events
    )


def device_events(data: ProfileData) -> dict[str, list[Event]]:
    """Return the events of each device that ran anything, by the device's name."""
    chips = [plane for plane in data.planes if re.fullmatch(r"/device:\w+:\d+", plane.name)]
    by_device = collections.defaultdict(list)
    for plane in chips:
        for line in plane.lines:
            # A TPU repeats its work in lines for steps and modules; a GPU has one line per stream.
            if re.match(r"Stream|XLA Ops", line.name):
                by_device[plane.name] += [_event(line, event) for event in line.events]
    if not chips:
        # On a CPU, XLA's instructions run in threads of the host, among other work. A thread works
        # for any device, and several threads may work for one.
        for line in (line for plane in data.planes for line in plane.lines):
            for event in line.events:
                stats = dict(event.stats)
                if {"hlo_op", "device_ordinal"} <= stats.keys():
                    by_device[f"CPU {stats['device_ordinal']}"].append(_event(line, event))
    return {device: events for device, events in by_device.items() if events}


def own_times(events: Sequence[Event]) -> collections.Counter[str]:
    """Return the nanoseconds of each kernel of one device; they add up to the time it is busy.

    In each line the time belongs to the event that began last, so a loop does not include the
    events inside it. Lines that are busy at the same time share that time equally.
    """
    # At equal times an end comes before a start.
    moments = sorted(
        moment
        for number, event in enumerate(events)
        if event.end > event.start
        for moment in ((event.start, True, number), (event.end, False, number))
    )
    times: collections.Counter[str] = collections.Counter()
    running: dict[str, list[int]] = {}
    last = 0.0
    for now, begins, number in moments:
        for stack in running.values():
            times[events[stack[-1]].name] += (now - last) / len(running)
        last, line = now, events[number].line
        if begins:
            running.setdefault(line, []).append(number)
        else:
            running[line].remove(number)
            if not running[line]:
                del running[line]
    return times


def _event(line, event) -> Event:
    return Event(line.name, event.name, event.start_ns, event.start_ns + event.duration_ns)
