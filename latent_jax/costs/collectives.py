"""The collectives of a compiled program, and the bytes that they send between devices."""

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
        payload_bytes: bytes of the whole array on one device: the array to reduce, or the gathered
            one.
        group_size: devices that take part in one exchange.
        times: how often a step runs it.
        in_branch: whether it is in a branch of a conditional, which a step may not take.
    """

    kind: str
    payload_bytes: int
    group_size: int
    times: int
    in_branch: bool

    @property
    def sent_bytes(self) -> float:
        """Least bytes that a device sends for it in a step, over all its runs.

        An all-reduce in a ring sends each part of the array twice, once to sum it and once to
        distribute the sum: 2 (n - 1) / n of the array. Other collectives send each part once.
        """
        share = (self.group_size - 1) / self.group_size
        share = {"all-reduce": 2.0 * share, "collective-permute": 1.0}.get(self.kind, share)
        return self.times * share * self.payload_bytes


def collectives(text: str, n_devices: int) -> list[Collective]:
    """Return every collective that one step of a compiled program runs.

    The TPU's compiler may spread a collective over several fusions, so that it runs during
    computation. The text then has it several times with one channel, and it counts once.

    Args:
        text: from `jax.stages.Compiled.as_text()`.
        n_devices: devices of the program.
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
            # This fusion sums an array and keeps only a part of it, so it is a reduce-scatter.
            kind = "reduce-scatter" if step.computation.startswith("all-reduce-scatter") else kind
            found.append(_collective(kind, step, n_devices))
    return found


def _collective(kind: str, step: Step, n_devices: int) -> Collective:
    instruction = step.instruction
    sizes = [array.n_bytes for array in instruction.arrays]
    if instruction.op.endswith("-start") and len(sizes) > 1 and kind != "all-reduce":
        payload = sizes[1]  # of (operand, result, context)
    else:
        payload = sum(sizes)
    group = _group_size(instruction.line, n_devices)
    if instruction.op.startswith("reduce-scatter"):
        payload *= group  # the result is one part of the reduced array
    return Collective(kind, payload, group, step.times, step.in_branch)


def _group_size(line: str, n_devices: int) -> int:
    """Return how many devices a group has, from any notation in which XLA writes groups."""
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", line):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        # An axis may be split further: 'axis_0':(2)4 means 4 of its devices.
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", found[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes) if axes else n_devices
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(found[1])
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", line):
        return found[1].count(",") + 1
    return n_devices


def totals(found: list[Collective]) -> dict[str, float]:
    """Return flat sums: count, payload bytes and sent bytes, by kind and in total.

    Args:
        found: from `collectives`.

    Returns:
        "KIND_count" and "KIND_bytes" (payloads, times their runs) for each kind that occurs; the
        totals "collective_count" and "collective_bytes"; and "link_bytes", the least bytes that a
        device sends. "branch_collective_count" and "branch_collective_bytes" are of collectives in
        branches, which are in no other sum.
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
