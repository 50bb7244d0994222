"""What a compiled program sends over the links of its slice, and which kernels it calls.

XLA prints a program as computations of instructions. A loop's body stands once, so whatever it
holds is multiplied by the loop's trip count. What stands in the branch of a conditional is kept
apart: a step may take another branch.
"""

import dataclasses
import math
import re

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)

_HEAD = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%(?P<name>[\w.\-]+) = (?P<shape>\(.*?\)|\S+) (?P<op>[a-z][\w\-]*)\("
)
_SHAPE = re.compile(r"\b(?P<dtype>pred|bf16|[a-z]+(?P<bits>\d+)\w*)\[(?P<axes>[\d,]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|called_computation|async_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(
    r"\b(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%[\w.\-]+))"
)
_TRIP_COUNT = re.compile(r'"?known_trip_count"?[:=]\{"?n"?[:=]"?(\d+)"?\}')


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


@dataclasses.dataclass(frozen=True)
class _Instruction:
    op: str
    shape: str
    line: str

    def word(self, pattern: str) -> str | None:
        """Return the first group of a pattern in this line."""
        found = re.search(pattern, self.line)
        return found and found[1]


def collectives(text: str, n_devices: int) -> list[Collective]:
    """Return every collective that one step of a compiled program runs.

    A collective that the TPU's compiler spreads over several fusions, so that it runs beside
    computation, stands in the text several times under one channel and counts once.

    Args:
        text: `jax.stages.Compiled.as_text()`.
        n_devices: of the program.
    """
    computations, entry = _computations(text)
    found: list[Collective] = []
    channels: set[str] = set()

    def visit(name: str, times: int, in_branch: bool) -> None:
        for instruction in computations[name]:
            op = instruction.op.removesuffix("-start")
            if op in COLLECTIVES:
                channel = instruction.word(r"channel_id=(\d+)")
                if channel is None or channel not in channels:
                    channels.add(channel)
                    kind = "reduce-scatter" if name.startswith("all-reduce-scatter") else op
                    found.append(_collective(kind, instruction, n_devices, times, in_branch))
            elif op == "while":
                body, condition = (
                    instruction.word(rf"{k}=%([\w.\-]+)") for k in ("body", "condition")
                )
                visit(body, times * _trip_count(instruction, computations[condition]), in_branch)
            elif op == "conditional":
                for several, one in _BRANCHES.findall(instruction.line):
                    for branch in (several or one).split(","):
                        visit(branch.strip().lstrip("%"), times, True)
            else:
                for called in _CALLED.findall(instruction.line):
                    visit(called, times, in_branch)

    visit(entry, 1, False)
    return found


def _computations(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    """Return the instructions that may matter here, by computation, and the name of the first."""
    computations, entry, current = {}, "", []
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations[head["name"]] = []
            entry = head["name"] if head["entry"] else entry
        elif found := _INSTRUCTION.match(line):
            current.append(_Instruction(found["op"], found["shape"], line))
    return computations, entry


def _trip_count(loop: _Instruction, condition: list[_Instruction]) -> int:
    """Return how often a loop runs: what XLA says, or the constant that its counter is below.

    A loop whose end depends on data counts once.
    """
    if known := _TRIP_COUNT.search(loop.line):
        return int(known[1])
    constants = [i.word(r"constant\((\d+)\)") for i in condition if i.op == "constant"]
    below = any(i.op == "compare" and "direction=LT" in i.line for i in condition)
    return int(constants[0]) if below and len(constants) == 1 and constants[0] else 1


def _collective(kind, instruction, n_devices, times, in_branch) -> Collective:
    shapes = [_n_bytes(shape) for shape in _SHAPE.finditer(instruction.shape)]
    if instruction.op.endswith("-start") and len(shapes) > 1 and kind != "all-reduce":
        payload = shapes[1]  # of (operand, result, and what the exchange needs)
    else:
        payload = sum(shapes)
    group = _group_size(instruction.line, n_devices)
    if instruction.op.startswith("reduce-scatter"):
        payload *= group  # the result is one part of what is reduced
    return Collective(kind, payload, group, times, in_branch)


def _n_bytes(shape: re.Match) -> int:
    bits = 8 if shape["dtype"] == "pred" else int(shape["bits"] or 16)
    return math.prod(int(n) for n in shape["axes"].split(",") if n) * bits // 8


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
