"""Chains of operations as word problems: made, not read, in GSM8K's syntax, any number of them.

Kind "permutations": a state from 0 to 9 goes through operations that do not commute. Each of the
letters a to h is one fixed random permutation of the ten states. The question is the first state
and the letters; a mark holds the states after each of its operations, one digit each; only results
of marks are visible in the text. Without the states between, an answer needs as many dependent
steps as a mark has operations:

    7cafbde  ->  =<<253=3>>3=<<418=8>>8
                 #### 8

Kind "arithmetic": the same shape in English, with sums, differences and small multiples:

    Start with 7. Add 5. Multiply by 3.  ->  The value is <<(7+5)*3=36>>36.
                                             #### 36

All questions differ, so a problem that the hash of its question holds out is never trained on. But
its marks are: there are only 512 sequences of three letters, and all of them are trained on, so a
model that has learned them by heart solves it. With `n_held_out` a tenth of the sequences is in no
problem to train on, and held-out problems have no others: solving them takes one operation after
the other.
"""

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError
from latent_jax.data.problems import problem_document
from latent_jax.ranges import Seed, at_least, check_fields, one_of

KINDS = ("permutations", "arithmetic")

N_STATES = 10
LETTERS = "abcdefgh"

MULTIPLIERS = (2, 3)
"""Of kind "arithmetic": small, so that numbers stay readable after several operations."""

MOST_OPERATIONS = 24
"""Of a problem: numbers then stay below 2**53."""

HELD_OUT_SHARE = 0.1
"""The share of the sequences of operations of a mark that only held-out problems have."""

_MOST_SEQUENCES = 10**7
"""Where some are held out: all are listed in memory."""

_VERSION = 1
"""Raise it when the same options give other problems."""

_ENUMERATED = 4
"""Questions are drawn without replacement from the list of all where that has at most so many times
as many as are asked for; else they are drawn with replacement, and repeated ones are drawn anew."""


@dataclasses.dataclass(frozen=True)
class ChainsConfig:
    """The problems of data.source=chains.

    Raises:
        CorpusError: an option is unknown or out of range, or there are fewer problems.
    """

    # permutations (of ten states, named by letters) | arithmetic (in English)
    kind: Annotated[str, one_of(KINDS)] = "permutations"
    n_marks: Annotated[int, at_least(1, MOST_OPERATIONS)] = 2  # breakpoints of an answer
    # operations between two breakpoints
    n_operations: Annotated[int, at_least(1, MOST_OPERATIONS)] = 3
    n_problems: Annotated[int, at_least(1, 10**8)] = 100_000  # all splits together
    # problems of the validation split, beside n_problems to train on: a tenth of all sequences of
    # operations is in their marks and in no others; 0 = the hash of a question chooses the splits
    n_held_out: Annotated[int, at_least(0, 10**8)] = 0
    seed: Seed = 0  # of the permutations and of the problems
    largest: Annotated[int, at_least(1, 999)] = 20  # arithmetic: largest number of a question

    def __post_init__(self):
        """Check the fields; raises CorpusError (a ValueError)."""
        try:
            check_fields(self, "chains.")
        except ValueError as error:
            raise CorpusError(str(error)) from error
        if self.n_all_operations > MOST_OPERATIONS:
            raise CorpusError(
                f"chains.n_marks={self.n_marks} of chains.n_operations={self.n_operations} are "
                f"{self.n_all_operations} operations, and a problem has at most {MOST_OPERATIONS}"
            )
        n_sequences = self.n_choices**self.n_operations
        # Of single operations, those that are held out would never be learned.
        if self.n_held_out and (self.n_operations < 2 or n_sequences > _MOST_SEQUENCES):
            raise CorpusError(
                f"chains.n_held_out={self.n_held_out} keeps a tenth of the {n_sequences} sequences "
                f"of {self.n_operations} operations for held-out problems; that takes 2 operations "
                f"or more and at most {_MOST_SEQUENCES} sequences: change chains.n_operations, or "
                "set chains.n_held_out=0"
            )
        for held_out, name in enumerate(("n_problems", "n_held_out")):
            n_asked, n_questions = getattr(self, name), self.n_questions(bool(held_out))
            if n_asked > n_questions:
                raise CorpusError(
                    f"chains.{name}={n_asked}, and there are {n_questions} different questions of "
                    f"{self.n_all_operations} operations: ask for fewer, or raise "
                    "chains.n_marks or chains.n_operations"
                )

    @property
    def n_all_operations(self) -> int:
        """Operations of a question."""
        return self.n_marks * self.n_operations

    @property
    def n_choices(self) -> int:
        """What an operation can be: a letter; or a sum, a difference or a multiple."""
        if self.kind == "permutations":
            return len(LETTERS)
        return 2 * self.largest + len(MULTIPLIERS)

    @property
    def n_starts(self) -> int:
        """Numbers that a question can begin with."""
        return N_STATES if self.kind == "permutations" else self.largest

    def n_questions(self, held_out: bool = False) -> int:
        """Return how many different questions there are of those to train on, or of the others."""
        n_sequences = self.n_choices**self.n_operations
        if self.n_held_out:
            n_held_out = n_held_out_sequences(n_sequences)
            n_sequences = n_held_out if held_out else n_sequences - n_held_out
        return self.n_starts * n_sequences**self.n_marks


class Chains:
    """A source of made problems; see `contracts.Source`."""

    def __init__(self, config: ChainsConfig, held_out: bool = False):
        """Store the options; nothing is drawn yet.

        Args:
            config: of the problems.
            held_out: the `n_held_out` problems of the validation split, not those to train on.
        """
        self._config, self._held_out = config, held_out

    def stamp(self) -> Any:
        """Return the options, which decide all problems."""
        return ["chains", _VERSION, self._held_out, dataclasses.asdict(self._config)]

    def documents(self) -> Iterator[Document]:
        """Yield `n_problems` or `n_held_out` problems with different questions."""
        config = self._config
        starts_N, choices_NT = _draw(config, self._held_out)
        write = _permutations if config.kind == "permutations" else _arithmetic
        for question, answer in write(config, starts_N, choices_NT):
            yield problem_document(question, answer)


def permutations(seed: int) -> np.ndarray:
    """Return the permutations of a seed, int64[8, 10]: the state that follows each state."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    return np.stack([generator.permutation(N_STATES) for _ in LETTERS])


def n_held_out_sequences(n_sequences: int) -> int:
    """Return how many of the sequences of operations of a mark only held-out problems have."""
    return round(HELD_OUT_SHARE * n_sequences)


def _draw(config: ChainsConfig, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return starts, int64[N], and choices, int64[N, T], of different questions."""
    generator = np.random.Generator(np.random.Philox(key=[config.seed, 3 if held_out else 1]))
    n = config.n_held_out if held_out else config.n_problems
    allowed_S = _allowed_sequences(config, held_out)
    n_sequences = config.n_choices**config.n_operations if allowed_S is None else len(allowed_S)
    if config.n_questions(held_out) <= _ENUMERATED * n:
        numbers = generator.permutation(config.n_questions(held_out))[:n]
        columns = []
        for base in reversed([config.n_starts, *[n_sequences] * config.n_marks]):
            numbers, column = np.divmod(numbers, base)
            columns.append(column)
        rows = np.stack(columns[::-1], axis=1)
        sequences_NM = rows[:, 1:] if allowed_S is None else allowed_S[rows[:, 1:]]
        return rows[:, 0], _operations(config, sequences_NM)
    rows = np.zeros((0, 1 + config.n_all_operations), np.int64)
    while len(rows) < n:
        # A few more than are missing, because some are drawn twice.
        n_more = n - len(rows) + n // 8 + 8
        rows = np.concatenate([rows, _draw_rows(config, generator, n_more, allowed_S)])
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = rows[np.sort(first)]
    return rows[:n, 0], rows[:n, 1:]


def _allowed_sequences(config: ChainsConfig, held_out: bool) -> np.ndarray | None:
    """Return the numbers of the sequences that marks may hold, int64[S]; None = all there are."""
    if not config.n_held_out:
        return None
    generator = np.random.Generator(np.random.Philox(key=[config.seed, 2]))
    numbers_S = generator.permutation(config.n_choices**config.n_operations)
    n_held_out = n_held_out_sequences(len(numbers_S))
    return np.sort(numbers_S[:n_held_out] if held_out else numbers_S[n_held_out:])


def _operations(config: ChainsConfig, sequences_NM: np.ndarray) -> np.ndarray:
    """Return the operations of numbered sequences, int64[N, T]."""
    shape = [config.n_choices] * config.n_operations
    return np.stack(np.unravel_index(sequences_NM, shape), axis=-1).reshape(len(sequences_NM), -1)


def _draw_rows(
    config: ChainsConfig, generator: np.random.Generator, n: int, allowed_S: np.ndarray | None
) -> np.ndarray:
    """Return starts and choices, int64[n, 1 + T], of questions of which some may be equal.

    Where all sequences are allowed, sums, differences and multiples of kind "arithmetic" are
    equally frequent; else all allowed sequences are.
    """
    starts_N1 = generator.integers(0, config.n_starts, (n, 1))
    shape = (n, config.n_all_operations)
    if allowed_S is not None:
        sequences_NM = allowed_S[generator.integers(0, len(allowed_S), (n, config.n_marks))]
        return np.concatenate([starts_N1, _operations(config, sequences_NM)], 1)
    if config.kind == "permutations":
        return np.concatenate([starts_N1, generator.integers(0, config.n_choices, shape)], 1)
    kind_NT = generator.integers(0, 3, shape)
    number_NT = generator.integers(0, config.largest, shape)
    multiple_NT = generator.integers(0, len(MULTIPLIERS), shape)
    choice_NT = kind_NT * config.largest + np.where(kind_NT == 2, multiple_NT, number_NT)
    return np.concatenate([starts_N1, choice_NT], 1)


def _permutations(
    config: ChainsConfig, starts_N: np.ndarray, choices_NT: np.ndarray
) -> Iterator[tuple[str, str]]:
    """Yield questions and answers of kind "permutations"."""
    table = permutations(config.seed)
    state_N, states = starts_N, []
    for choice_N in choices_NT.T:
        state_N = table[choice_N, state_N]
        states.append(state_N)
    width = config.n_operations
    questions = _strings(np.concatenate([starts_N[:, None] + ord("0"), choices_NT + ord("a")], 1))
    thoughts = _strings(np.stack(states, axis=1) + ord("0"))
    for question, thought in zip(questions, thoughts, strict=True):
        marks = (thought[i : i + width] for i in range(0, len(thought), width))
        steps = "".join(f"=<<{mark}={mark[-1]}>>{mark[-1]}" for mark in marks)
        yield question, f"{steps}\n#### {thought[-1]}"


def _strings(codes_NT: np.ndarray) -> list[str]:
    """Return the text of each row of ASCII codes."""
    width = codes_NT.shape[1]
    text = codes_NT.astype(np.uint8).tobytes().decode("ascii")
    return [text[i : i + width] for i in range(0, len(text), width)]


def _arithmetic(
    config: ChainsConfig, starts_N: np.ndarray, choices_NT: np.ndarray
) -> Iterator[tuple[str, str]]:
    """Yield questions and answers of kind "arithmetic"."""
    operations = [
        *(("Add", "+", number) for number in range(1, config.largest + 1)),
        *(("Subtract", "-", number) for number in range(1, config.largest + 1)),
        *(("Multiply by", "*", number) for number in MULTIPLIERS),
    ]
    signs = np.array([sign for _, sign, _ in operations])
    numbers = np.array([number for _, _, number in operations])
    starts_N = starts_N + 1
    values = [starts_N]
    for choice_N in choices_NT.T:
        value_N, sign_N, number_N = values[-1], signs[choice_N], numbers[choice_N]
        added_N = value_N + np.where(sign_N == "-", -number_N, number_N)
        values.append(np.where(sign_N == "*", value_N * number_N, added_N))
    said = [f" {verb} {number}." for verb, _, number in operations]
    written = [f"{sign}{number}" for _, sign, number in operations]
    width = config.n_operations
    rows = zip(starts_N.tolist(), choices_NT.tolist(), np.stack(values, 1).tolist(), strict=True)
    for start, choices, value in rows:
        question = f"Start with {start}." + "".join([said[choice] for choice in choices])
        lines = []
        for first in range(0, len(choices), width):
            expression = str(value[first])
            for place, choice in enumerate(choices[first : first + width]):
                expression = f"({expression})" if place else expression
                expression += written[choice]
            result = value[first + width]
            lines.append(f"The value is <<{expression}={result}>>{result}.")
        yield question, "\n".join([*lines, f"#### {value[-1]}"])
