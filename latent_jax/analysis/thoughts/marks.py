"""Operand and operator of each mark, as targets of probes: what a calculation is made of.

They are read from the text of the question and of the written thoughts, so they are the same
whatever slots hold, and a run with pauses has them too. Two kinds of marks are known:

- chains of permutations: a slot stands for one operation. Its operand is the state before it, its
  operator the letter of the question;
- sums, as in GSM8K: all slots of a block stand for the whole mark. Its operand is the first digit
  of its first number, its operator the first of + - * /.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from latent_jax.analysis.thoughts.probes import Stands
from latent_jax.tokenizers import Tokenizer

OPERAND = "operand"
OPERATOR = "operator"

_CHAIN = re.compile(r"(\d)([a-z]+)")
_OPERATOR = re.compile(r"(?<=[\d)%.])\s*([-+*/])")


def mark_targets(
    tokenizer: Tokenizer,
    problems: Mapping[str, np.ndarray],
    standing: Stands,
    is_used_PJK: np.ndarray,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the targets `OPERAND` and `OPERATOR`: classes, and where there is one, [P, J, K] each.

    Classes are code points of characters.

    Args:
        tokenizer: of the run.
        problems: the fields of `Problems` of P problems, and their breakpoints.
        standing: what slots stand for.
        is_used_PJK: bool, slots in use.
    """
    shape = is_used_PJK.shape
    class_2PJK = np.full((2, *shape), -1)
    opens_PJ, n_written_PJ = problems["breakpoints_BJ"], problems["n_written_BJ"]
    for row in range(shape[0]):
        n_question = int(np.argmax(problems["segment_BT"][row] > 0))
        question = _decoded(tokenizer, problems["ids_BT"][row][:n_question])
        blocks = np.nonzero(opens_PJ[row] > 0)[0]
        written = [problems["written_BJK"][row, j, : n_written_PJ[row, j]] for j in blocks]
        marks = [_decoded(tokenizer, ids).partition("=")[0] for ids in written]
        chain = chain_of(question, marks)
        done = 0
        for block, ids, mark in zip(blocks, written, marks, strict=True):
            for slot in np.nonzero(is_used_PJK[row, block])[0]:
                found = first_operation(mark)
                if chain is not None:
                    place = int(standing.place[row, block, slot])
                    # A token may hold several states; the slot stands for the last one.
                    at = len(_decoded(tokenizer, ids[: place + 1])) - 1
                    is_state = standing.is_there[row, block, slot] and 0 <= at < len(mark)
                    found = chain[done + at] if is_state else None
                if found is not None:
                    class_2PJK[:, row, block, slot] = [ord(character) for character in found]
            done += len(mark)
    return {
        name: (class_PJK, is_used_PJK & (class_PJK >= 0))
        for name, class_PJK in zip((OPERAND, OPERATOR), class_2PJK, strict=True)
    }


def chain_of(question: str, marks: Sequence[str]) -> list[tuple[str, str]] | None:
    """Return the state before each operation of a chain, and its letter; None for other problems.

    Args:
        question: such as "7cafbde".
        marks: the states of each mark, such as "253" and "418".
    """
    states = "".join(marks)
    if not all(mark.isdecimal() for mark in marks):
        return None
    for start, letters in _CHAIN.findall(question):
        if len(letters) == len(states):
            return list(zip(start + states[:-1], letters, strict=True))
    return None


def first_operation(mark: str) -> tuple[str, str] | None:
    """Return the first digit and the first operator of a mark; None where one of them is missing.

    A sign before the first number is no operator: "-3+5" has "3" and "+".
    """
    digit, sign = re.search(r"\d", mark), _OPERATOR.search(mark)
    return (digit[0], sign[1]) if digit and sign else None


def _decoded(tokenizer: Tokenizer, ids: Any) -> str:
    return tokenizer.decode(ids).decode("utf-8", "replace")
