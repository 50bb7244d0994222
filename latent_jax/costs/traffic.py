"""The bytes that a compiled program reads from a chip's main memory and writes to it.

XLA's own count, `Compiled.cost_analysis()["bytes accessed"]`, takes the body of a loop once, and
also counts arrays in the TPU's vector memory. Here every instruction counts its arrays in main
memory, as often as it runs. Where a fusion slices an array, only the slice counts; where it updates
an array in place, only the update counts.
"""

from latent_jax.costs.hlo import Array, Instruction, Program, parse, steps

_FREE = frozenset(
    (
        *("parameter", "constant", "get-tuple-element", "tuple", "bitcast"),
        *("while", "conditional", "call", "after-all", "opt-barrier", "domain"),
        *("partition-id", "replica-id"),
    )
)
"""Instructions that move nothing themselves: they name arrays, or call computations whose own
instructions are counted."""

_SLICING = frozenset(("dynamic-slice", "slice", "gather"))
_UPDATING = {"dynamic-update-slice": 1, "scatter": 2}
"""Instruction -> number of the operand that is the update."""


def memory_traffic_bytes(text: str) -> int:
    """Return the bytes that one device reads from main memory and writes to it in one run.

    Branches of conditionals are left out.

    Args:
        text: from `jax.stages.Compiled.as_text()`.
    """
    program = parse(text)
    return sum(
        step.times * _moved(program, program.computations[step.computation], step.instruction)
        for step in steps(program, into_fusions=False)
        if not step.in_branch
    )


def _moved(program: Program, around: dict[str, Instruction], what: Instruction) -> int:
    """Return the bytes that one instruction reads and writes."""
    if what.op in _FREE or what.op.endswith(("-done", "-update")) or not what.operands:
        return 0
    operands = [around[name].arrays for name in what.operands if name in around]
    if what.op in ("copy-start", "slice-start", "async-start"):
        # (result, operand, context), and for the others ((operand), result, context).
        result = what.arrays[0 if what.op == "copy-start" else 1]
        return result.n_bytes * (result.in_memory + any(a.in_memory for a in operands[0]))
    if what.op in _SLICING:
        return _sum(what.arrays) + _sum(what.arrays, where=operands[0])
    if what.op in _UPDATING:
        return 2 * _sum(operands[_UPDATING[what.op]], where=what.arrays)
    if what.op == "fusion":
        return _moved_by_fusion(program, what, operands)
    results = what.arrays[1:2] if what.op.endswith("-start") else what.arrays
    return _sum(results) + sum(map(_sum, operands))


def _moved_by_fusion(program: Program, what: Instruction, operands: list[tuple[Array, ...]]) -> int:
    """Return the bytes that a fusion reads of its operands and writes of its results."""
    moved = sum(
        min(_sum(arrays), _read(program, what, number, _sum(arrays)))
        for number, arrays in enumerate(operands)
        if _sum(arrays)
    )
    inside = program.computations[what.called[0]]
    root = next(i for i in inside.values() if i.is_root)
    results = [inside[name] for name in root.operands] if root.op == "tuple" else [root]
    for array, result in zip(what.arrays, results, strict=False):
        if array.in_memory:
            moved += min(array.n_bytes, _written(program, inside, result, array.n_bytes))
    return moved


def _read(program: Program, fusion: Instruction, number: int, whole: int) -> int:
    """Return the bytes that a fusion reads of operand `number`, which is `whole` bytes."""
    inside = program.computations[fusion.called[0]]
    own = f" parameter({number})"
    total, sources = 0, [i.name for i in inside.values() if own in i.line]
    for source in sources:
        for user in (i for i in inside.values() if source in i.operands):
            places = [place for place, name in enumerate(user.operands) if name == source]
            if user.op == "bitcast":
                sources.append(user.name)
            elif user.op == "fusion":
                total += sum(_read(program, user, place, whole) for place in places)
            elif user.op in _SLICING and places == [0]:
                total += sum(array.n_bytes for array in user.arrays)
            elif not (user.op in _UPDATING and places == [0]):
                return whole
    return total


def _written(
    program: Program, inside: dict[str, Instruction], result: Instruction, whole: int
) -> int:
    """Return the bytes that a fusion writes of one of its results, which is `whole` bytes."""
    while result.op == "bitcast":
        result = inside[result.operands[0]]
    if result.op in _UPDATING:
        update = inside[result.operands[_UPDATING[result.op]]]
        return sum(array.n_bytes for array in update.arrays)
    if result.op == "fusion":
        nested = program.computations[result.called[0]]
        root = next(i for i in nested.values() if i.is_root)
        return _written(program, nested, root, whole)
    return 0 if result.op == "parameter" else whole


def _sum(arrays: tuple[Array, ...], where: tuple[Array, ...] | None = None) -> int:
    """Return the bytes of arrays in main memory; with `where`, of all arrays if it lies there."""
    if where is not None:
        return sum(a.n_bytes for a in arrays) if any(a.in_memory for a in where) else 0
    return sum(array.n_bytes for array in arrays if array.in_memory)
