"""Problems as rows of two streams: the text once, and each step once more behind its own thought.

A row has three regions of fixed sizes (see `ProblemLayout`), for a problem with n marks:

    A  T_A positions      prompt, question, segments 0 to n, end; a plain text without marks
    B  T_B positions      segments 1 to n once more, back to back: what follows each breakpoint
    C  J * K positions    K slots for each of J blocks: the written thought of each mark

Segment j and the slots of mark j are block j. Pieces are tokenized one by one, because a writer
stops at every breakpoint and goes on with a new piece; a whole text may be cut otherwise. Every
problem has exactly T_A + T_B + J K positions, so the packing of rows, which knows nothing of
problems, puts one into each row. A problem that does not fit has none: it is left out, never cut.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from latent_jax.contracts import Document, Encoded, FieldSpec
from latent_jax.data.problems import Problem, parse_problem, result_length
from latent_jax.ranges import check, check_fields
from latent_jax.tokenizers.base import Tokenizer
from latent_jax.tokenizers.promises import check_encoded

WRITTEN = ("equation", "expression")
"""The thoughts of a mark that slots can hold: "lhs=rhs" or "lhs"."""

FIELDS = ("ids", "segment", "place", "opens", "result")
AMOUNTS = ("bytes", "problems")

_VERSION = 1
"""Raise it when the same problem is encoded otherwise."""


@dataclasses.dataclass(frozen=True)
class ProblemLayout:
    """The sizes of the regions of a row.

    Attributes:
        text: T_A, positions of region A.
        blocks_text: T_B, positions of region B.
        n_blocks: J, blocks, which is the most marks that a problem can have.
        n_slots: K, slots of a block.

    Raises:
        ValueError: a size is out of range.
    """

    text: int
    blocks_text: int
    n_blocks: int
    n_slots: int

    def __post_init__(self):
        """Check the fields."""
        check_fields(self, "ProblemLayout.")
        for name, value in dataclasses.asdict(self).items():
            if not 1 <= value <= 2**20:
                raise ValueError(f"ProblemLayout.{name} must be from 1 to {2**20}; got {value}")

    @property
    def length(self) -> int:
        """L, positions of a row."""
        return self.text + self.blocks_text + self.n_blocks * self.n_slots

    @property
    def text_end(self) -> int:
        """The first position of region B."""
        return self.text

    @property
    def blocks_end(self) -> int:
        """The first position of region C."""
        return self.text + self.blocks_text


class ProblemCode:
    """A `contracts.Code` of problems; picklable.

    Fields are int32[L], and 0 where nothing is said:

    - "ids": of the tokenizer; the separator ends the last segment, in A and in B, and is padding;
    - "segment": in A s + 1 for a token of segment s, 0 for the prompt; in B and C the block, from
      1, and in C only where a slot holds text;
    - "place": in B the place of a token in its segment, in C the slot, empty or not; both from 0;
    - "opens": in A the block that hangs behind this token, the last one before its mark;
    - "result": in A and B 1 where a token begins within the result that opens its segment, see
      `problems.result_length`.

    Amounts: "bytes", the raw bytes of the answer's tokens in A, which add up to the answer without
    marks; "problems", 1 at the first position.

    Attributes:
        name: see `contracts.Code`.
        fields: see `contracts.Code`.
        amounts: see `contracts.Code`.
        row_length: L; every problem has so many positions, or none.
        tokenizer: makes the ids.
        layout: the regions.
        prompt: the text before and behind the question.
        written: which thought the slots hold, one of `WRITTEN`.
        longest_step: tokens of a segment behind a breakpoint, its end included, at most; 0 = any.
    """

    amounts = AMOUNTS

    def __init__(
        self,
        tokenizer: Tokenizer,
        layout: ProblemLayout,
        prompt: tuple[str, str] = ("", ""),
        written: str = "equation",
        extra: Mapping[str, FieldSpec] = MappingProxyType({}),
        longest_step: int = 0,
    ):
        """Store the parts.

        Args:
            tokenizer: see `ProblemCode`.
            layout: see `ProblemCode`.
            prompt: see `ProblemCode`.
            written: see `ProblemCode`.
            extra: fields that are padding here, and that roll-outs fill.
            longest_step: see `ProblemCode`.

        Raises:
            ValueError: `written` is unknown, or the prompt is no pair of texts.
        """
        if written not in WRITTEN:
            raise ValueError(f"written must be one of {', '.join(WRITTEN)}; got {written!r}")
        check("prompt", prompt, tuple[str, ...])
        if len(prompt) != 2:
            raise ValueError(f"prompt must be two texts, before and behind; got {prompt!r}")
        self.tokenizer, self.layout = tokenizer, layout
        self.prompt, self.written, self.longest_step = tuple(prompt), written, longest_step
        self.name = f"{tokenizer.name} of problems"
        self.row_length = layout.length
        self.fields = problem_fields(tokenizer.separator_id, extra)

    def fingerprint(self) -> str:
        """Return a hash of all that decides the rows; see `contracts.Code`."""
        sizes = dataclasses.astuple(self.layout)
        parts = [_VERSION, self.tokenizer.fingerprint(), sizes, self.prompt, self.written]
        # Rows without a limit keep the hash that they had before there was one.
        if self.longest_step:
            parts.append(self.longest_step)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def encode_example(self, example: Document) -> Encoded:
        """Return the row of a problem; no position where it does not fit.

        Raises:
            ValueError: the document holds no problem, or the tokenizer breaks a promise.
        """
        pieces = self._pieces(parse_problem(example.text))
        if not self._fits(pieces):
            fields = {
                name: np.zeros((0, *spec.shape), spec.dtype) for name, spec in self.fields.items()
            }
            return Encoded(fields, {unit: np.zeros(0, np.int32) for unit in AMOUNTS})
        return self._row(pieces)

    def fits(self, example: Document) -> bool:
        """Return whether a problem has a row.

        Raises:
            ValueError: see `encode_example`.
        """
        return self._fits(self._pieces(parse_problem(example.text)))

    def _pieces(self, problem: Problem) -> "_Pieces":
        """Tokenize the pieces of a problem one by one."""
        before, behind = self.prompt
        thoughts = problem.expressions
        if self.written == "equation":
            marks = zip(problem.expressions, problem.results, strict=True)
            thoughts = tuple(f"{left}={right}" for left, right in marks)
        pieces = [before + problem.question + behind, *problem.segments, *thoughts]
        texts = [piece.encode("utf-8", "surrogatepass") for piece in pieces]
        encoded = self.tokenizer.encode_batch(texts)
        whole = map(np.concatenate, zip(*encoded, strict=True))  # one check costs less than many
        check_encoded(self.tokenizer, b"".join(texts), *whole, "the pieces of a problem")
        n_segments = len(problem.segments)
        opening = zip(problem.segments[1:], problem.results, strict=True)
        stated = [segment[: result_length(segment, result)] for segment, result in opening]
        return _Pieces(
            encoded[0][0],
            encoded[1 : 1 + n_segments],
            [ids for ids, _ in encoded[1 + n_segments :]],
            [0, *(len(text.encode("utf-8", "surrogatepass")) for text in stated)],
        )

    def _fits(self, pieces: "_Pieces") -> bool:
        layout = self.layout
        sizes = [len(ids) for ids, _ in pieces.segments]
        steps = [*sizes[1:-1], sizes[-1] + 1] if pieces.thoughts else []
        return (
            len(pieces.thoughts) <= layout.n_blocks
            and len(pieces.prompt) + sum(sizes) + 1 <= layout.text
            and (not pieces.thoughts or sum(sizes[1:]) + 1 <= layout.blocks_text)
            and all(len(ids) <= layout.n_slots for ids in pieces.thoughts)
            and max(steps, default=0) <= (self.longest_step or layout.blocks_text)
            # Two marks without text between them would hang behind one token.
            and all(sizes[1:-1])
        )

    def _row(self, pieces: "_Pieces") -> Encoded:
        layout, n_marks = self.layout, len(pieces.thoughts)
        fields = {
            name: np.zeros((layout.length, *spec.shape), spec.dtype)
            for name, spec in self.fields.items()
        }
        amounts = {unit: np.zeros(layout.length, np.int32) for unit in AMOUNTS}
        ids, segment, place, opens, result = (fields[name] for name in FIELDS)
        ids[:] = self.tokenizer.separator_id
        in_text, in_blocks = len(pieces.prompt), layout.text_end
        ids[:in_text] = pieces.prompt
        for number, (own, byte_lengths) in enumerate(pieces.segments):
            is_last = number == n_marks
            starts = np.cumsum(byte_lengths) - byte_lengths
            in_result = (starts < pieces.result_bytes[number]).astype(np.int32)
            stop = in_text + len(own)
            ids[in_text:stop] = own
            result[in_text:stop] = in_result
            amounts["bytes"][in_text:stop] = byte_lengths
            segment[in_text : stop + is_last] = number + 1
            if not is_last:
                opens[stop - 1] = number + 1
            in_text = stop
            if number:
                stop = in_blocks + len(own)
                ids[in_blocks:stop] = own
                result[in_blocks:stop] = in_result
                segment[in_blocks : stop + is_last] = number
                place[in_blocks : stop + is_last] = np.arange(len(own) + is_last)
                in_blocks = stop
        place[layout.blocks_end :].reshape(layout.n_blocks, -1)[:] = np.arange(layout.n_slots)
        for number, thought in enumerate(pieces.thoughts):
            start = layout.blocks_end + number * layout.n_slots
            ids[start : start + len(thought)] = thought
            segment[start : start + len(thought)] = number + 1
        amounts["problems"][0] = 1
        return Encoded(fields, amounts)


class _Pieces(NamedTuple):
    """The tokens of a problem.

    Attributes:
        prompt: ids, int32[n].
        segments: ids and byte lengths of each segment.
        thoughts: ids of each mark's written thought.
        result_bytes: for each segment, the bytes at its beginning that state a result.
    """

    prompt: np.ndarray
    segments: list[tuple[np.ndarray, np.ndarray]]
    thoughts: list[np.ndarray]
    result_bytes: list[int]


def problem_fields(
    separator_id: int = 0, extra: Mapping[str, FieldSpec] = MappingProxyType({})
) -> dict[str, FieldSpec]:
    """Return the field specs of rows of problems; only the padding of ids depends on a code.

    Args:
        separator_id: of the tokenizer.
        extra: further fields.
    """
    own = {name: FieldSpec(padding=separator_id if name == "ids" else 0) for name in FIELDS}
    return {**own, **extra}


class LeftOut(NamedTuple):
    """How many problems have no row, of how many."""

    n: int
    of: int


def count_left_out(code: ProblemCode, documents: Iterable[Document]) -> LeftOut:
    """Return how many of some problems do not fit into the rows of a code.

    Raises:
        ValueError: a document holds no problem.
    """
    fit = [code.fits(document) for document in documents]
    return LeftOut(fit.count(False), len(fit))
