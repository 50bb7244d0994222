"""Examples of any length packed into rows of exactly L positions, all declared fields alike.

A row is filled from a *lane*: examples one after the other, documents each followed by the
separator, cut wherever a row is full; the next row of the lane goes on from there. Training has one
lane for each row of the batch: lane r of B reads examples r, r + B, r + 2B, ... of the shuffled
stream. Three things follow.

- A batch holds B different documents. Packing one stream and batching its rows puts neighbouring
  rows of a document into the same batch: a batch of 32 x 512 bytes is one or two Wikipedia
  articles.
- What is in a batch depends on the seed and B alone, not on how many processes or workers share the
  lanes.
- The state is two integers a lane, exact at any point. (The state of
  `grain.experimental.ConcatThenSplitIterDataset`, Grain 0.2.18, holds tuples that it compares after
  a round trip through JSON has made them lists: a checkpoint taken where a document ended with its
  row then resumes at the wrong place.)

The price is that lanes run through the stream at their own speed: at any moment some are a little
further into an epoch than others.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import grain
import jax
import numpy as np

from latent_jax.contracts import Code, Encoded, FieldSpec, amount_key

Block = dict[str, np.ndarray]
"""The next rows of b lanes: fields [b, rows, L, ...] and amounts int32[b, rows]."""

# A block grows until it takes so long to make, or holds so many positions.
_BLOCK_SECONDS = 0.01
_BLOCK_POSITIONS = 1 << 17


@dataclasses.dataclass(frozen=True)
class RowLayout:
    """What a row of a batch holds.

    Attributes:
        length: positions L of a row.
        fields: arrays of L positions, by name.
        amounts: units that are summed over a row.

    Raises:
        ValueError: a field has the name of something else in a batch.
    """

    length: int
    fields: Mapping[str, FieldSpec]
    amounts: tuple[str, ...]

    def __post_init__(self):
        """Check the names."""
        taken = {"weights", *map(amount_key, self.amounts)} & self.fields.keys()
        if taken:
            raise ValueError(
                f"a code cannot have a field {sorted(taken)[0]!r}: a batch has something else of "
                "that name"
            )

    @classmethod
    def of(cls, code: Code, length: int) -> Self:
        """Return the layout of rows of a code."""
        return cls(length, code.fields, code.amounts)

    def empty(self, *outer: int) -> dict[str, np.ndarray]:
        """Return arrays [*outer, L, ...] by name, of padding, and int32[*outer, L] of 0."""
        shape = (*outer, self.length)
        arrays = {
            name: np.full((*shape, *spec.shape), spec.padding, spec.dtype)
            for name, spec in self.fields.items()
        }
        return arrays | {amount_key(unit): np.zeros(shape, np.int32) for unit in self.amounts}

    def summed(self, arrays: Mapping[str, np.ndarray], axis: int) -> dict[str, np.ndarray]:
        """Return arrays of `empty` with the amounts summed over their positions, `axis`."""
        sums = {
            key: arrays[key].sum(axis=axis, dtype=np.int32) for key in map(amount_key, self.amounts)
        }
        return {**arrays, **sums}

    def check(self, name: str, encoded: Encoded) -> Encoded:
        """Return an example as its code gave it, if it has what the code declares.

        Args:
            name: of the code, for the message.
            encoded: the example.

        Raises:
            ValueError: naming the field or the amount that is missing or of another shape.
        """
        for what, declared, given in (
            ("fields", set(self.fields), encoded.fields.keys()),
            ("amounts", set(self.amounts), encoded.amounts.keys()),
        ):
            if declared != given:
                raise ValueError(
                    f"the code {name} declares the {what} {sorted(declared)} and gives "
                    f"{sorted(given)}"
                )
        length = len(next(iter(encoded.fields.values())))
        amount = FieldSpec()
        specs = [(key, encoded.fields[key], spec) for key, spec in self.fields.items()]
        specs += [(unit, encoded.amounts[unit], amount) for unit in self.amounts]
        for key, array, spec in specs:
            if array.shape != (length, *spec.shape) or not np.can_cast(
                array.dtype, spec.dtype, "same_kind"
            ):
                raise ValueError(
                    f"the code {name} declares {key!r} as {spec.dtype}{[length, *spec.shape]} for "
                    f"an example of {length} positions and gives {array.dtype}{[*array.shape]}"
                )
        return encoded

    def batch_spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Return shapes and dtypes of a global batch, for training and for evaluation."""
        shape = (batch_size, self.length)
        spec = {
            name: jax.ShapeDtypeStruct((*shape, *field.shape), np.dtype(field.dtype))
            for name, field in self.fields.items()
        }
        spec["weights"] = jax.ShapeDtypeStruct(shape, np.float32)
        amount = jax.ShapeDtypeStruct((batch_size,), np.int32)
        return spec | dict.fromkeys(map(amount_key, self.amounts), amount)


class Encode:
    """Maps an example to what its code gives, checked. Picklable where the code is."""

    def __init__(self, code: Code, layout: RowLayout):
        """Keep both."""
        self._code, self._layout = code, layout

    def __call__(self, example: Any) -> Encoded:
        """Encode; raises ValueError as `RowLayout.check` does."""
        return self._layout.check(self._code.name, self._code.encode_example(example))


class Lane:
    """Reads examples first, first + stride, ... as one run of positions.

    Attributes:
        turn: Examples finished so far.
        offset: Positions already taken from the example at hand.
    """

    def __init__(self, examples: Sequence[Encoded], first: int, stride: int):
        """Start at the beginning of the first example."""
        self._examples, self._first, self._stride = examples, first, stride
        self.seek(0, 0)

    def seek(self, turn: int, offset: int) -> None:
        """Continue at position `offset` of the lane's example number `turn`."""
        self.turn, self.offset = turn, offset
        self._arrays: list[tuple[str, np.ndarray]] | None = None

    def read(self, arrays: Mapping[str, np.ndarray]) -> int:
        """Write the next n positions into arrays [n, ...], named as in `RowLayout.empty`.

        Returns:
            The number of positions written, less than n only where the examples have come to their
            end.
        """
        filled, size = 0, len(next(iter(arrays.values())))
        while filled < size:
            if self._arrays is None:
                index = self._first + self.turn * self._stride
                if index >= len(self._examples):
                    break
                fields, amounts = self._examples[index]
                counted = {amount_key(unit): array for unit, array in amounts.items()}
                self._arrays = [*fields.items(), *counted.items()]
                self._length = len(self._arrays[0][1])
            end = min(self.offset + size - filled, self._length)
            stop = filled + end - self.offset
            for name, array in self._arrays:
                arrays[name][filled:stop] = array[self.offset : end]
            filled, self.offset = stop, end
            if end == self._length:
                self.seek(self.turn + 1, 0)
        return filled

    def row(self, layout: RowLayout) -> tuple[dict[str, np.ndarray], int]:
        """Return the next row, padded at its end, and the number of its positions.

        Fields are [L, ...], amounts are summed.
        """
        arrays = layout.empty()
        n_positions = self.read(arrays)
        return layout.summed(arrays, axis=0), n_positions


class PackedLanes(grain.IterDataset):
    """Infinite dataset; an element is a Block, the next rows of each of its lanes.

    How many rows a block has depends on how fast they are made: what there is to do for each block,
    above all where it is handed from one process to another, is shared by as many rows as take a
    moment to make. What follows after a state does not depend on it.
    """

    def __init__(
        self, examples: grain.MapDataset, lanes: Sequence[int], n_lanes: int, layout: RowLayout
    ):
        """Describe the dataset.

        Args:
            examples: Infinite, of `Encoded`.
            lanes: Which of the `n_lanes` lanes are packed here: rows of the global batch.
            n_lanes: Rows of the global batch.
            layout: Of a row.
        """
        super().__init__(examples)
        self._lanes, self._n_lanes, self._layout = tuple(lanes), n_lanes, layout

    def __iter__(self) -> grain.DatasetIterator:
        """Start at the first example of every lane."""
        return _PackedLanesIterator(self._parent, self._lanes, self._n_lanes, self._layout)


class _PackedLanesIterator(grain.DatasetIterator):
    """Its state is where each lane stands."""

    def __init__(
        self, examples: grain.MapDataset, lanes: Sequence[int], n_lanes: int, layout: RowLayout
    ):
        super().__init__()
        self._lanes = [Lane(examples, lane, n_lanes) for lane in lanes]
        self._layout = layout
        self._n_rows = 1

    def __next__(self) -> Block:
        start = time.perf_counter()
        arrays = self._layout.empty(len(self._lanes), self._n_rows)
        for number, lane in enumerate(self._lanes):
            # Its rows as one: the first two axes that are left are rows and positions.
            lane.read({name: x[number].reshape(-1, *x.shape[3:]) for name, x in arrays.items()})
        block = self._layout.summed(arrays, axis=2)
        n_positions = len(self._lanes) * self._n_rows * self._layout.length
        seconds = time.perf_counter() - start
        if seconds < _BLOCK_SECONDS and n_positions < _BLOCK_POSITIONS:
            self._n_rows *= 2
        elif seconds > 4 * _BLOCK_SECONDS:
            self._n_rows = max(self._n_rows // 2, 1)
        return block

    def get_state(self) -> dict[str, Any]:
        return {
            "turns": [lane.turn for lane in self._lanes],
            "offsets": [lane.offset for lane in self._lanes],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        for lane, turn, offset in zip(self._lanes, state["turns"], state["offsets"], strict=True):
            lane.seek(turn, offset)
