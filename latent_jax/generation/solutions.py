"""Solutions that are scored on the device: written greedily, right if the last line is the same.

Lines are compared token by token, because no program on a device reads numbers: what states the
same number in another way, as "1,000" for 1000, is wrong here. `data.verifier` compares numbers.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.generation.rollout import Decoding, roll_out
from latent_jax.generation.solution_arrays import Rollout
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thinker import Thinker


def prompts_of(problems: Problems, separator_id: int) -> tuple[jax.Array, jax.Array]:
    """Return the questions of problems, int32[B, T] with separators behind, and their lengths.

    A row without a problem has a prompt of one separator.
    """
    first_B = problems.n_question_B
    at_1T = jnp.arange(problems.ids_BT.shape[1])[None]
    prompts_BT = jnp.where(at_1T < first_B[:, None], problems.ids_BT, separator_id)
    return prompts_BT, jnp.maximum(first_B, 1)


def last_lines_equal(
    ids_BT: jax.Array, is_answer_BT: jax.Array, other_BT: jax.Array, is_other_BT: jax.Array, mark
) -> jax.Array:
    """Return whether two solutions have the same tokens from their one mark on, bool[B].

    Args:
        ids_BT: int32, one solution.
        is_answer_BT: bool, the tokens that count.
        other_BT: int32, the other one.
        is_other_BT: bool.
        mark: the ids of the text that begins the last line, a tuple of at least one.
    """
    lines = []
    for tokens_BT, is_here_BT in ((ids_BT, is_answer_BT), (other_BT, is_other_BT)):
        known_BT = jnp.where(is_here_BT, tokens_BT, -1)
        is_mark_BT = jnp.ones(known_BT.shape, bool)
        for place, token in enumerate(mark):
            ahead_BT = jnp.pad(known_BT[:, place:], ((0, 0), (0, place)), constant_values=-1)
            is_mark_BT &= ahead_BT == token
        start_B = jnp.argmax(is_mark_BT, axis=1)
        from_BT = start_B[:, None] + jnp.arange(known_BT.shape[1])[None]
        padded_BT = jnp.pad(known_BT, ((0, 0), (0, known_BT.shape[1])), constant_values=-1)
        line_BT = jnp.take_along_axis(padded_BT, from_BT, axis=1)
        lines.append((line_BT, jnp.sum(is_mark_BT, axis=1) == 1))
    (one_BT, has_one_B), (other_BT, has_other_B) = lines
    return (one_BT == other_BT).all(axis=1) & has_one_B & has_other_B


def solution_scores(
    thinker: Thinker,
    params: Mapping[str, Any],
    problems: Problems,
    decoding: Decoding,
    mark: tuple[int, ...],
) -> dict[str, jax.Array]:
    """Return sums over solutions that are written greedily behind the questions of a batch.

    Right are those of `is_right`, "n_cut" counts those that did not end.
    """
    found = write_greedily(thinker, params, problems, decoding)
    is_problem_B = problems.is_answer_BT.any(axis=1)
    is_right_B = is_right(found, problems, mark) & is_problem_B
    counted = {
        "n_solutions": is_problem_B,
        "n_right": is_right_B,
        "n_cut": ~found.is_ended_B,
        "n_opened": jnp.sum(found.opens_BT > 0, axis=1),
        "n_slots_written": jnp.sum(found.n_BJ, axis=1),
    }
    return {
        name: jnp.sum(jnp.where(is_problem_B, x_B, 0)).astype(jnp.float32)
        for name, x_B in counted.items()
    }


def write_greedily(
    thinker: Thinker, params: Mapping[str, Any], problems: Problems, decoding: Decoding
) -> Rollout:
    """Return the solutions behind the questions of a batch; thoughts have no noise.

    Args:
        thinker: the reasoner.
        params: its collection "params".
        problems: the batch.
        decoding: its sampling is greedy.
    """
    prompts_BT, lengths_B = prompts_of(problems, thinker.separator_id)
    keys_B = jax.random.split(jax.random.key(0), len(prompts_BT))  # greedy draws nothing
    return roll_out(thinker, params, prompts_BT, lengths_B, keys_B, decoding)


def is_right(found: Rollout, problems: Problems, mark: tuple[int, ...]) -> jax.Array:
    """Return which solutions end, with the tokens of their problem's own last line, bool[B]."""
    is_same_B = last_lines_equal(
        found.ids_BT, found.segment_BT > 0, problems.ids_BT, problems.segment_BT > 0, mark
    )
    return is_same_B & found.is_ended_B
