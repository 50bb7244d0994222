"""What a compiled program sends over the links between devices."""

import dataclasses
import math
import re

from latent_jax.costs.hlo import Step, parse, steps

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective instruction.

    Attributes:
        kind: one of `COLLECTIVES`.
        payload_bytes: of the whole array on one device: what is reduced, or what has been gathered.
        group_size: devices that take part in one exchange.
        times: how often a step runs it.
        in_branch: it stands in a branch of a conditional, which a step may not take.
    """

    kind: str
    payload_bytes: int
    group_size: int
    times: int
    in_branch: bool

    @property
    def sent_bytes(self) -> float:
        """Least bytes that a device sends for it, all its runs together.

        Reducing in a ring sends each part once to be summed and once to be told (2 (n - 1) / n of
        the array); gathering, scattering and exchanging send it once.
        """
        share = (self.group_size - 1) / self.group_size
        share = {"all-reduce": 2.0 * share, "collective-permute": 1.0}.get(self.kind, share)
        return self.times * share * self.payload_bytes


def collectives(text: str, n_devices: int) -> list[Collective]:
    """Return every collective that one step of a compiled program runs.

    A collective that the TPU's compiler spreads over several fusions, so that it runs beside
    computation, stands in the text several times under one channel and counts once.

    Args:
        text: `jax.stages.Compiled.as_text()`.
        n_devices: of the program.
    """
    found: list[Collective] = []
    channels: set[str] = set()
    for step in steps(parse(text), into_fusions=True):
        kind = step.instruction.op.removesuffix("-start")
        if kind not in COLLECTIVES:
            continue
        channel = step.instruction.word(r"channel_id=(\d+)")
        if channel is None or channel not in channels:
            channels.add(channel)
            # A fusion that sums an array and keeps a part of it, which is cheaper than a sum.
            kind = "reduce-scatter" if step.computation.startswith("all-reduce-scatter") else kind
            found.append(_collective(kind, step, n_devices))
    return found


def _collective(kind: str, step: Step, n_devices: int) -> Collective:
    instruction = step.instruction
    sizes = [array.n_bytes for array in instruction.arrays]
    if instruction.op.endswith("-start") and len(sizes) > 1 and kind != "all-reduce":
        payload = sizes[1]  # of (operand, result, and what the exchange needs)
    else:
        payload = sum(sizes)
    group = _group_size(instruction.line, n_devices)
    if instruction.op.startswith("reduce-scatter"):
        payload *= group  # the result is one part of what is reduced
    return Collective(kind, payload, group, step.times, step.in_branch)


def _group_size(line: str, n_devices: int) -> int:
    """Return how many devices exchange, from any of the ways in which XLA writes their groups."""
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        # An axis may be split further: 'axis_0':(2)4 are 4 devices of it.
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", found[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes) if axes else n_devices
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(found[1])
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return found[1].count(",") + 1
    return n_devices


def totals(found: list[Collective]) -> dict[str, float]:
    """Return flat sums: count, payload bytes and sent bytes, by kind and in all.

    Args:
        found: from `collectives`.

    Returns:
        For each kind that there is "KIND_count" and "KIND_bytes" (of the arrays, times how often),
        and in all "collective_count", "collective_bytes" and "link_bytes", which a device sends at
        least. "branch_collective_count" and "branch_collective_bytes" have those in branches, which
        are in no other sum.
    """
    always = [each for each in found if not each.in_branch]
    sums: dict[str, float] = {}
    for kind in COLLECTIVES:
        of_kind = [each for each in always if each.kind == kind]
        if of_kind:
            sums |= _sums(kind.replace("-", "_"), of_kind)
    sums |= _sums("collective", always)
    sums["link_bytes"] = sum(each.sent_bytes for each in always)
    return sums | _sums("branch_collective", [each for each in found if each.in_branch])


def _sums(name: str, found: list[Collective]) -> dict[str, int]:
    return {
        f"{name}_count": sum(each.times for each in found),
        f"{name}_bytes": sum(each.times * each.payload_bytes for each in found),
    }
