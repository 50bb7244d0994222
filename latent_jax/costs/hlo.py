"""A parser of compiled programs: XLA's text, read as computations made of instructions.

The body of a loop, a branch of a conditional and the content of a fusion are computations of their
own. `steps` walks through all instructions that one run of the program executes.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_HEAD = re.compile(r"^(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(
    r"^\s+(?P<root>ROOT )?%(?P<name>[\w.\-]+) = (?P<shape>\(.*?\)|\S+) (?P<op>[a-z][\w\-]*)\("
)
_ARRAY = re.compile(
    r"\b(?P<dtype>pred|bf16|[a-z]+(?P<bits>\d+)\w*)\[(?P<axes>[\d,]*)\](?P<layout>\{[^}]*\})?"
)
_CALLED = re.compile(r"\b(?:calls|to_apply|called_computation|async_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(
    r"\b(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=(%[\w.\-]+))"
)
_TRIP_COUNT = re.compile(r'"?known_trip_count"?[:=]\{"?n"?[:=]"?(\d+)"?\}')


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of a shape.

    Attributes:
        n_bytes: of its elements, without padding.
        in_memory: whether it lies in the chip's main memory, not in a faster one.
    """

    n_bytes: int
    in_memory: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: by which other instructions refer to its result.
        op: such as "fusion" or "all-reduce-start".
        shape: of its result, as text.
        line: the whole line.
        is_root: whether its result is that of the computation.
    """

    name: str
    op: str
    shape: str
    line: str
    is_root: bool

    @functools.cached_property
    def arrays(self) -> tuple[Array, ...]:
        """The arrays of the result in order, including those of nested tuples."""
        return tuple(_array(found) for found in _ARRAY.finditer(self.shape))

    @functools.cached_property
    def operands(self) -> tuple[str, ...]:
        """Names of the operands."""
        start = self.line.index(f"{self.op}(", self.line.index(" = ") + len(self.shape))
        start, depth = start + len(self.op), 0
        for end in range(start, len(self.line)):
            depth += (self.line[end] == "(") - (self.line[end] == ")")
            if not depth:
                break
        return tuple(re.findall(r"%([\w.\-]+)", self.line[start:end]))

    def word(self, pattern: str) -> str | None:
        """Return the first group of a pattern's match in the line; None if it does not match."""
        found = re.search(pattern, self.line)
        return found and found[1]

    @property
    def called(self) -> list[str]:
        """Names of the computations that it calls once, such as a fusion's."""
        return _CALLED.findall(self.line)


@dataclasses.dataclass(frozen=True)
class Program:
    """All computations of a program.

    Attributes:
        computations: by name; each has its instructions by name.
        entry: name of the computation that runs first.
    """

    computations: dict[str, dict[str, Instruction]]
    entry: str


@dataclasses.dataclass(frozen=True)
class Step:
    """An instruction that a program executes.

    Attributes:
        computation: name of the computation that holds it.
        instruction: the instruction itself.
        times: how often one run of the program executes it.
        in_branch: whether it is in a branch of a conditional, which may not be taken.
    """

    computation: str
    instruction: Instruction
    times: int
    in_branch: bool


def parse(text: str) -> Program:
    """Read `jax.stages.Compiled.as_text()`.

    Raises:
        ValueError: the text has no ENTRY computation.
    """
    computations, entry, current = {}, "", {}
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations[head["name"]] = {}
            entry = head["name"] if head["entry"] else entry
        elif found := _INSTRUCTION.match(line):
            current[found["name"]] = Instruction(
                found["name"], found["op"], found["shape"], line, bool(found["root"])
            )
    if not entry:
        raise ValueError("the text of a compiled program has an ENTRY, and this one has none")
    return Program(computations, entry)


def steps(program: Program, into_fusions: bool) -> Iterator[Step]:
    """Yield every instruction that one run executes, with its number of runs.

    Args:
        program: from `parse`.
        into_fusions: whether to include the instructions of computations that an instruction
            calls, such as a fusion's.
    """

    def visit(name: str, times: int, in_branch: bool) -> Iterator[Step]:
        for instruction in program.computations[name].values():
            yield Step(name, instruction, times, in_branch)
            if instruction.op == "while":
                condition, body = (
                    instruction.word(rf"\b{part}=%([\w.\-]+)") for part in ("condition", "body")
                )
                n_times = times * _trip_count(instruction, program.computations[condition])
                yield from visit(body, n_times, in_branch)
            elif instruction.op == "conditional":
                for several, one in _BRANCHES.findall(instruction.line):
                    for branch in (several or one).split(","):
                        yield from visit(branch.strip().lstrip("%"), times, True)
            elif into_fusions or instruction.op == "call":
                for called in instruction.called:
                    yield from visit(called, times, in_branch)

    yield from visit(program.entry, 1, False)


def _trip_count(loop: Instruction, condition: dict[str, Instruction]) -> int:
    """Return how often a loop runs: XLA's own count, or the constant bound of its counter.

    A loop whose end depends on data counts once.
    """
    if known := _TRIP_COUNT.search(loop.line):
        return int(known[1])
    constants = [i.word(r"constant\((\d+)\)") for i in condition.values() if i.op == "constant"]
    below = any(i.op == "compare" and "direction=LT" in i.line for i in condition.values())
    return int(constants[0]) if below and len(constants) == 1 and constants[0] else 1


def _array(found: re.Match) -> Array:
    bits = 8 if found["dtype"] == "pred" else int(found["bits"] or 16)
    n_bytes = math.prod(int(n) for n in found["axes"].split(",") if n) * bits // 8
    return Array(n_bytes, "S(" not in (found["layout"] or ""))
