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

All questions differ, so a problem that the hash of its question holds out is never trained on.
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
        if self.n_problems > self.n_questions:
            raise CorpusError(
                f"chains.n_problems={self.n_problems}, and there are {self.n_questions} different "
                f"questions of {self.n_all_operations} operations: ask for fewer, or raise "
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

    @property
    def n_questions(self) -> int:
        """How many different questions there are."""
        return self.n_starts * self.n_choices**self.n_all_operations


class Chains:
    """A source of made problems; see `contracts.Source`."""

    def __init__(self, config: ChainsConfig):
        """Store the options; nothing is drawn yet."""
        self._config = config

    def stamp(self) -> Any:
        """Return the options, which decide all problems."""
        return ["chains", _VERSION, dataclasses.asdict(self._config)]

    def documents(self) -> Iterator[Document]:
        """Yield `n_problems` problems with different questions."""
        config = self._config
        starts_N, choices_NT = _draw(config)
        write = _permutations if config.kind == "permutations" else _arithmetic
        for question, answer in write(config, starts_N, choices_NT):
            yield problem_document(question, answer)


def permutations(seed: int) -> np.ndarray:
    """Return the permutations of a seed, int64[8, 10]: the state that follows each state."""
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    return np.stack([generator.permutation(N_STATES) for _ in LETTERS])


def _draw(config: ChainsConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return starts, int64[N], and choices, int64[N, T], of different questions."""
    generator = np.random.Generator(np.random.Philox(key=[config.seed, 1]))
    n, bases = config.n_problems, [config.n_starts, *[config.n_choices] * config.n_all_operations]
    if config.n_questions <= _ENUMERATED * n:
        numbers = generator.permutation(config.n_questions)[:n]
        columns = []
        for base in reversed(bases):
            numbers, column = np.divmod(numbers, base)
            columns.append(column)
        rows = np.stack(columns[::-1], axis=1)
    else:
        rows = np.zeros((0, len(bases)), np.int64)
        while len(rows) < n:
            # A few more than are missing, because some are drawn twice.
            n_more = n - len(rows) + n // 8 + 8
            rows = np.concatenate([rows, _draw_rows(config, generator, n_more)])
            _, first = np.unique(rows, axis=0, return_index=True)
            rows = rows[np.sort(first)]
        rows = rows[:n]
    return rows[:, 0], rows[:, 1:]


def _draw_rows(config: ChainsConfig, generator: np.random.Generator, n: int) -> np.ndarray:
    """Return starts and choices, int64[n, 1 + T], of questions of which some may be equal.

    Sums, differences and multiples of kind "arithmetic" are equally frequent.
    """
    starts_N1 = generator.integers(0, config.n_starts, (n, 1))
    shape = (n, config.n_all_operations)
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
