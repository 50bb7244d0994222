"""Results behind their own thoughts and behind those of another problem: nats, and who is right.

Results are few tokens of a row, and logits of a large vocabulary are the largest array of all: for
32 rows of SmolLM2 those of all segments take 1.6 GB. So the states before results are gathered
first, and logits exist for a few places of each row at a time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.models.thinking import Text
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.losses import token_nats
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.thinker import Pass, Thinker

CHUNK = 16
"""Places of a row whose logits exist at a time."""


class Scored(NamedTuple):
    """Results of blocks.

    Attributes:
        nats_BJ: float32, -log p of the tokens that state the result of each block.
        is_right_BJ: bool, whether each of them is the likeliest one; True where there is none.
        said_BN: int32, the likeliest token at each place that was asked for; -1 at others.
    """

    nats_BJ: jax.Array
    is_right_BJ: jax.Array
    said_BN: jax.Array


def logits(trunks: Trunks, x_BND: jax.Array) -> jax.Array:
    """Return the logits of states, float32[B, N, V], from the tied embeddings."""
    table_VD = trunks.table_VD.astype(x_BND.dtype)
    return jnp.einsum("BND,VD->BNV", x_BND, table_VD, preferred_element_type=jnp.float32)


def results_of_blocks(problems: Problems) -> jax.Array:
    """Return bool[B, J, N]: whether a token states the result of a block."""
    number_1J1 = jnp.arange(1, problems.n_written_BJ.shape[1] + 1)[None, :, None]
    is_of_BJN = problems.block_BN[:, None] == number_1J1
    return is_of_BJN & problems.block_is_result_BN[:, None]


def likeliest(
    trunks: Trunks, x_BND: jax.Array, ids_BN: jax.Array, is_asked_BN: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return -log p of tokens, float32[B, N], and the likeliest ones, int32[B, N], where asked for.

    Elsewhere they are 0 and -1. It has no gradient, because its work depends on how many places are
    asked for: the most of a row, `CHUNK` at a time.

    Args:
        trunks: of the reasoner.
        x_BND: the states before the tokens.
        ids_BN: int32, the tokens.
        is_asked_BN: bool.
    """
    n_places = ids_BN.shape[1]
    chunk = min(CHUNK, n_places)
    # Places that are asked for come first. The last chunk may repeat a place beyond the end.
    order_BN = jnp.argsort(~is_asked_BN, axis=1, stable=True)
    order_BM = jnp.pad(order_BN, ((0, 0), (0, -n_places % chunk)))
    n_chunks = (jnp.max(jnp.sum(is_asked_BN, axis=1)) + chunk - 1) // chunk

    def score(number, found):
        at_BC = jax.lax.dynamic_slice_in_dim(order_BM, number * chunk, chunk, axis=1)
        logits_BCV = logits(trunks, jnp.take_along_axis(x_BND, at_BC[..., None], axis=1))
        nats_BC = token_nats(logits_BCV, jnp.take_along_axis(ids_BN, at_BC, axis=1))
        said_BC = jnp.argmax(logits_BCV, axis=-1).astype(jnp.int32)
        return tuple(
            jax.lax.dynamic_update_slice_in_dim(whole_BM, part_BC, number * chunk, axis=1)
            for whole_BM, part_BC in zip(found, (nats_BC, said_BC), strict=True)
        )

    nothing = jnp.zeros(order_BM.shape, jnp.float32), jnp.zeros(order_BM.shape, jnp.int32)
    nats_BM, said_BM = jax.lax.fori_loop(0, n_chunks, score, nothing)
    rank_BN = jnp.argsort(order_BN, axis=1)
    nats_BN, said_BN = (jnp.take_along_axis(x_BM, rank_BN, axis=1) for x_BM in (nats_BM, said_BM))
    return jnp.where(is_asked_BN, nats_BN, 0.0), jnp.where(is_asked_BN, said_BN, -1)


def score_results(
    trunks: Trunks,
    x_BND: jax.Array,
    ids_BN: jax.Array,
    is_of_BJN: jax.Array,
    is_shown_BN: jax.Array | None = None,
) -> Scored:
    """Return the results that are predicted from states.

    Args:
        trunks: of the reasoner.
        x_BND: the states before the tokens.
        ids_BN: int32, the tokens.
        is_of_BJN: bool, the tokens that state the result of each block.
        is_shown_BN: bool, further tokens whose likeliest one is asked for; None = no others.
    """
    is_asked_BN = is_of_BJN.any(axis=1)
    if is_shown_BN is not None:
        is_asked_BN |= is_shown_BN
    nats_BN, said_BN = likeliest(trunks, x_BND, ids_BN, is_asked_BN)
    is_missed_BJ = (is_of_BJN & (said_BN != ids_BN)[:, None]).any(axis=-1)
    nats_BJ = jnp.sum(jnp.where(is_of_BJN, nats_BN[:, None], 0.0), axis=-1)
    return Scored(nats_BJ, ~is_missed_BJ, said_BN)


def score_given(
    thinker: Thinker,
    trunks: Trunks,
    text: Text,
    problems: Problems,
    given_BJKD: jax.Array,
    n_BJ: jax.Array,
    is_shown_BN: jax.Array | None = None,
) -> Scored:
    """Return the results behind vectors that are given; see `Thinker.read_given`."""
    x_BND = thinker.read_given(trunks, text, problems, given_BJKD, n_BJ)
    is_of_BJN = results_of_blocks(problems)
    return score_results(trunks, x_BND, problems.block_ids_BN, is_of_BJN, is_shown_BN)


def of_next_row(
    v_BJKD: jax.Array, n_BJ: jax.Array, opens_BJ: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the thoughts of another problem, that of the next row.

    Args:
        v_BJKD: what the slots hold.
        n_BJ: int32, slots in use.
        opens_BJ: int32, 0 where there is no block.

    Returns:
        Vectors, slots in use, and bool[B, J], the blocks that the next row has too. Others keep the
        number of their own slots.
    """
    v_BJKD, next_n_BJ, next_opens_BJ = (jnp.roll(x, -1, axis=0) for x in (v_BJKD, n_BJ, opens_BJ))
    is_paired_BJ = (opens_BJ > 0) & (next_opens_BJ > 0)
    return v_BJKD, jnp.where(is_paired_BJ, next_n_BJ, n_BJ), is_paired_BJ


def swapped_scores(
    thinker: Thinker, trunks: Trunks, problems: Problems, found: Pass
) -> dict[str, jax.Array]:
    """Return sums over results behind their own thoughts, and behind those of the next row.

    Only blocks that the next row has too are compared. "right_own_J" and "right_swapped_J" count
    the blocks all of whose result tokens are the likeliest ones, "results_J" those that state a
    result, by number of the block.
    """
    held, v_BJKD = found.slots.contents, found.thoughts.v_BSJD[:, 1:].swapaxes(1, 2)
    *others, is_paired_BJ = of_next_row(v_BJKD, held.n_BJ, problems.breakpoints_BJ)
    is_compared_BJ = is_paired_BJ & problems.is_scored_B[:, None]
    is_of_BJN = results_of_blocks(problems) & is_compared_BJ[..., None]
    has_result_BJ = is_of_BJN.any(axis=-1)
    own = score_results(trunks, found.before_BND, problems.block_ids_BN, is_of_BJN)
    swapped = score_given(thinker, trunks, found.text, problems, *others)
    scores = {
        "n_paired_results": jnp.sum(is_of_BJN, dtype=jnp.float32),
        "results_J": jnp.sum(has_result_BJ, axis=0, dtype=jnp.float32),
    }
    for word, scored in (("own", own), ("swapped", swapped)):
        nats_BJ = jnp.where(is_compared_BJ, scored.nats_BJ, 0.0)
        is_right_BJ = scored.is_right_BJ & has_result_BJ
        scores[f"result_nats_{word}"] = jnp.sum(nats_BJ)
        scores[f"right_{word}_J"] = jnp.sum(is_right_BJ, axis=0, dtype=jnp.float32)
    return scores
