"""Packing of examples of any length into rows of exactly L positions, the same for all fields.

A row is filled from a *lane*. A lane is a sequence of examples (documents, each followed by the
separator) that is cut wherever a row is full; the next row of the lane continues there. Training
has one lane for each row of the batch: lane r of B reads examples r, r + B, r + 2B, ... of the
shuffled stream. This has three consequences.

- A batch holds B different documents. If one stream were packed and its rows batched, neighbouring
  rows of a document would be in the same batch: a batch of 32 x 512 bytes would be one or two
  Wikipedia articles.
- The content of a batch depends only on the seed and B, not on the number of processes or workers
  that share the lanes.
- The state is two integers per lane, and is exact at any point. (The state of
  `grain.experimental.ConcatThenSplitIterDataset`, Grain 0.2.18, holds tuples. A round trip through
  JSON turns them into lists, and the comparison with tuples then fails, so a checkpoint taken where
  a document and its row end together resumes at the wrong place.)

The price is that lanes read the stream at different speeds: at any moment some are a little further
into an epoch than others.
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

# Blocks grow until one takes _BLOCK_SECONDS to make or holds _BLOCK_POSITIONS positions.
_BLOCK_SECONDS = 0.01
_BLOCK_POSITIONS = 1 << 17


@dataclasses.dataclass(frozen=True)
class RowLayout:
    """The arrays of a row of a batch.

    Attributes:
        length: L, positions of a row.
        fields: arrays of L positions, by name.
        amounts: units that are summed over a row.

    Raises:
        ValueError: a field has the name of another array of a batch ("weights" or an amount).
    """

    length: int
    fields: Mapping[str, FieldSpec]
    amounts: tuple[str, ...]

    def __post_init__(self):
        """Check the names."""
        taken = {"weights", *map(amount_key, self.amounts)} & self.fields.keys()
        if taken:
            raise ValueError(
                f"a code cannot have a field {sorted(taken)[0]!r}: a batch has another array of "
                "that name; rename the field"
            )

    @classmethod
    def of(cls, code: Code, length: int) -> Self:
        """Return the layout of rows of `length` positions of a code.

        Raises:
            ValueError: the code's examples have another length.
        """
        own = getattr(code, "row_length", length)
        if own != length:
            raise ValueError(
                f"row_length={length}, and each example of {code.name} has {own} positions, which "
                f"are one row: set row_length={own}"
            )
        return cls(length, code.fields, code.amounts)

    def empty(self, *outer: int) -> dict[str, np.ndarray]:
        """Return fields [*outer, L, ...] full of padding and amounts int32[*outer, L] of 0."""
        shape = (*outer, self.length)
        arrays = {
            name: np.full((*shape, *spec.shape), spec.padding, spec.dtype)
            for name, spec in self.fields.items()
        }
        return arrays | {amount_key(unit): np.zeros(shape, np.int32) for unit in self.amounts}

    def summed(self, arrays: Mapping[str, np.ndarray], axis: int) -> dict[str, np.ndarray]:
        """Return arrays as `empty` made them, but with amounts summed over `axis`, positions."""
        sums = {
            key: arrays[key].sum(axis=axis, dtype=np.int32) for key in map(amount_key, self.amounts)
        }
        return {**arrays, **sums}

    def check(self, name: str, encoded: Encoded) -> Encoded:
        """Return `encoded` unchanged after checking it against what its code declares.

        Args:
            name: name of the code, for the message.
            encoded: the encoded example.

        Raises:
            ValueError: a field or an amount is missing, undeclared, or of another dtype or shape;
                the message names it.
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
    """A function that encodes an example and checks the result; picklable if the code is."""

    def __init__(self, code: Code, layout: RowLayout):
        """Store code and layout."""
        self._code, self._layout = code, layout

    def __call__(self, example: Any) -> Encoded:
        """Return the encoded example.

        Raises:
            ValueError: see `RowLayout.check`.
        """
        return self._layout.check(self._code.name, self._code.encode_example(example))


class Lane:
    """The examples first, first + stride, ..., read as one sequence of positions.

    Attributes:
        turn: number of examples finished so far.
        offset: number of positions already taken from the current example.
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
            The number of positions written, less than n only where the examples end.
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
        """Return the next row, padded at its end, and the number of its real positions.

        Fields are [L, ...]; amounts are sums over the row.
        """
        arrays = layout.empty()
        n_positions = self.read(arrays)
        return layout.summed(arrays, axis=0), n_positions


class PackedLanes(grain.IterDataset):
    """An infinite dataset whose elements are blocks: the next rows of each of its lanes.

    Every block has a fixed cost, above all for handing it from one process to another. So the
    number of rows per block adapts to the speed at which rows are made. The rows themselves, and
    what follows after a saved state, do not depend on it.
    """

    def __init__(
        self, examples: grain.MapDataset, lanes: Sequence[int], n_lanes: int, layout: RowLayout
    ):
        """Describe the dataset.

        Args:
            examples: an infinite dataset of `Encoded`.
            lanes: the lanes (rows of the global batch) that this dataset packs.
            n_lanes: rows of the global batch.
            layout: the layout of a row.
        """
        super().__init__(examples)
        self._lanes, self._n_lanes, self._layout = tuple(lanes), n_lanes, layout

    def __iter__(self) -> grain.DatasetIterator:
        """Start at the first example of every lane."""
        return _PackedLanesIterator(self._parent, self._lanes, self._n_lanes, self._layout)


class _PackedLanesIterator(grain.DatasetIterator):
    """The iterator of `PackedLanes`; its state is the place of each lane."""

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
            # The lane fills its rows in one go: axes rows and positions become one axis.
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
