"""Thoughts exchanged for other vectors in a trained model: what do results cost behind them?

Patterns in vectors prove no use of them. What a result costs behind other vectors does: a thought
is used if results are dearer behind the thoughts of another problem, and the interval of that
difference lies above 0. Nothing is trained. Marks stay where they are.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.models.thinking import Text
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.losses import token_nats
from latent_jax.tasks.problem_batch import Problems
from latent_jax.tasks.reasoning_scores import logits, results_of_blocks
from latent_jax.tasks.thinker import Thinker

OWN = "own"
SWAPPED = "of another problem"
TEXT = "no block, read in the text"

EXCHANGED = (
    SWAPPED,
    "zero",
    "mean of the batch",
    "noise of the same norm",
    "order reversed",
)
"""The vectors that take the place of thoughts, see `exchanged`."""

_Z = 1.959964  # of a 95 % interval of the normal distribution


class Scored(NamedTuple):
    """Results of blocks.

    Attributes:
        nats_BJ: float32, -log p of the tokens that state the result of each block.
        is_right_BJ: bool, whether each of them is the likeliest one; True where there is none.
        said_BN: int32, the likeliest token at each place of the segments.
    """

    nats_BJ: jax.Array
    is_right_BJ: jax.Array
    said_BN: jax.Array


def ways(n_thoughts: int) -> list[str]:
    """Return the names of all interventions in the order of `exchanged`.

    Args:
        n_thoughts: slots in use of a block, at most.
    """
    kept = {0: "k=0, none", 1: "k=1, the first one"}
    return [*EXCHANGED, *(kept.get(k, f"k={k}") for k in range(n_thoughts + 1))]


def exchanged(
    v_BJKD: jax.Array, n_BJ: jax.Array, opens_BJ: jax.Array, key: jax.Array, n_thoughts: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return what slots hold under each intervention of `ways`.

    "of another problem" takes the thoughts of the next row; blocks that the next row lacks are not
    compared. The mean is that of the batch over the same slot of the same block. Behind k slots
    nobody reads the rest, and the end mark moves up, as in training with fewer thoughts.

    Args:
        v_BJKD: what the slots hold.
        n_BJ: int32, slots in use.
        opens_BJ: int32, 0 where there is no block.
        key: typed, of the noise.
        n_thoughts: see `ways`.

    Returns:
        Vectors [W, B, J, K, D], slots in use int32[W, B, J], and which blocks are compared,
        bool[W, B, J].
    """
    slot_11K = jnp.arange(v_BJKD.shape[2])[None, None]
    is_used_BJK1 = (slot_11K < n_BJ[..., None])[..., None]
    is_block_BJ = opens_BJ > 0
    next_v_BJKD, next_n_BJ, next_opens_BJ = (
        jnp.roll(x, -1, axis=0) for x in (v_BJKD, n_BJ, opens_BJ)
    )
    is_paired_BJ = is_block_BJ & (next_opens_BJ > 0)
    count_JK1 = jnp.maximum(is_used_BJK1.sum(axis=0), 1)
    mean_JKD = jnp.where(is_used_BJK1, v_BJKD, 0).sum(axis=0) / count_JK1
    noise_BJKD = jax.random.normal(key, v_BJKD.shape, jnp.float32)
    length_BJK1, noise_length_BJK1 = (
        jnp.linalg.norm(x.astype(jnp.float32), axis=-1, keepdims=True) for x in (v_BJKD, noise_BJKD)
    )
    back_BJK = jnp.where(is_used_BJK1[..., 0], n_BJ[..., None] - 1 - slot_11K, slot_11K)
    found = {
        SWAPPED: (next_v_BJKD, jnp.where(is_paired_BJ, next_n_BJ, n_BJ), is_paired_BJ),
        "zero": (jnp.zeros_like(v_BJKD), n_BJ, is_block_BJ),
        "mean of the batch": (jnp.broadcast_to(mean_JKD, v_BJKD.shape), n_BJ, is_block_BJ),
        "noise of the same norm": (noise_BJKD * length_BJK1 / noise_length_BJK1, n_BJ, is_block_BJ),
        "order reversed": (
            jnp.take_along_axis(v_BJKD, back_BJK[..., None], axis=2),
            n_BJ,
            is_block_BJ,
        ),
    }
    rows = [found[name] for name in EXCHANGED]
    rows += [(v_BJKD, jnp.minimum(n_BJ, k), is_block_BJ) for k in range(n_thoughts + 1)]
    given, n, is_compared = zip(*rows, strict=True)
    return jnp.stack([x.astype(v_BJKD.dtype) for x in given]), jnp.stack(n), jnp.stack(is_compared)


def score_given(
    thinker: Thinker,
    trunks: Trunks,
    text: Text,
    problems: Problems,
    given_BJKD: jax.Array,
    n_BJ: jax.Array,
) -> Scored:
    """Return the results behind vectors that are given."""
    before_BND = thinker.read_given(trunks, text, problems, given_BJKD, n_BJ)
    return score_results(trunks, before_BND, problems.block_ids_BN, results_of_blocks(problems))


def score_results(
    trunks: Trunks, x_BND: jax.Array, ids_BN: jax.Array, is_of_BJN: jax.Array
) -> Scored:
    """Return the results that are predicted from states.

    Args:
        trunks: of the reasoner.
        x_BND: the states before the tokens.
        ids_BN: int32, the tokens.
        is_of_BJN: bool, the tokens that state the result of each block.
    """
    logits_BNV = logits(trunks, x_BND)
    said_BN = jnp.argmax(logits_BNV, axis=-1).astype(jnp.int32)
    nats_B1N = token_nats(logits_BNV, ids_BN)[:, None]
    is_missed_BJ = (is_of_BJN & (said_BN != ids_BN)[:, None]).any(axis=-1)
    nats_BJ = jnp.sum(jnp.where(is_of_BJN, nats_B1N, 0.0), axis=-1)
    return Scored(nats_BJ, ~is_missed_BJ, said_BN)


def intervention_records(
    scored: Mapping[str, Sequence[np.ndarray]], n_tokens_PJ: np.ndarray
) -> list[dict[str, Any]]:
    """Return a record for each intervention, for all blocks (block 0) and for each of them.

    Args:
        scored: name -> (nats_PJ, is_right_PJ, is_compared_PJ) of P problems; `OWN` is among them.
        n_tokens_PJ: result tokens of each block.

    Returns:
        "nats_per_token" of results, "right_share" of results whose tokens are all the likeliest;
        both for own thoughts on the same blocks, "own_..."; and "added_nats_per_token", the
        difference, with the ends of its 95 % interval, "..._low" and "..._high". "is_used" of
        `SWAPPED` says whether that interval lies above 0.
    """
    own_nats_PJ, is_own_right_PJ, _ = scored[OWN]
    records = []
    for name, (nats_PJ, is_right_PJ, is_compared_PJ) in scored.items():
        is_scored_PJ = is_compared_PJ & (n_tokens_PJ > 0)
        for block in range(n_tokens_PJ.shape[1] + 1):
            here = slice(None) if not block else slice(block - 1, block)
            mask_PJ = is_scored_PJ[:, here]
            n_results = int(mask_PJ.sum())
            if not n_results:
                continue
            n_P, nats_P, own_P = (
                np.where(mask_PJ, x[:, here].astype(np.float64), 0.0).sum(axis=1)
                for x in (n_tokens_PJ, nats_PJ, own_nats_PJ)
            )
            record = {
                "way": name,
                "block": block,
                "n_results": n_results,
                "n_tokens": int(n_P.sum()),
                "nats_per_token": nats_P.sum() / n_P.sum(),
                "right_share": float(is_right_PJ[:, here][mask_PJ].mean()),
                "own_nats_per_token": own_P.sum() / n_P.sum(),
                "own_right_share": float(is_own_right_PJ[:, here][mask_PJ].mean()),
            }
            if name != OWN:
                mean, half = ratio_interval(nats_P - own_P, n_P)
                record["added_nats_per_token"] = mean
                if half is not None:
                    record["added_nats_per_token_low"] = mean - half
                    record["added_nats_per_token_high"] = mean + half
                    if name == SWAPPED:
                        record["is_used"] = mean - half > 0
            records.append(record)
    return records


def ratio_interval(difference_P: np.ndarray, n_P: np.ndarray) -> tuple[float, float | None]:
    """Return sum(difference) / sum(n), and half of its 95 % interval over problems.

    Problems are drawn, not tokens: each is one observation of a ratio estimator (Cochran 1977,
    "Sampling Techniques", section 6.4), whose error is normal for many problems. None for fewer
    than two problems that have tokens.
    """
    is_there_P = n_P > 0
    difference_P, n_P = difference_P[is_there_P], n_P[is_there_P]
    n_problems = len(n_P)
    mean = float(difference_P.sum() / n_P.sum())
    if n_problems < 2:
        return mean, None
    residual_P = difference_P - mean * n_P
    variance = (residual_P**2).sum() * n_problems / (n_problems - 1)
    return mean, _Z * math.sqrt(variance) / float(n_P.sum())


def share_interval(is_so_P: np.ndarray) -> tuple[float, float, float]:
    """Return the share of problems of which something is so, and its 95 % interval.

    By Wilson (1927, "Probable inference, the law of succession, and statistical inference"), which
    has a width where all problems are alike, as `ratio_interval` has not.

    Args:
        is_so_P: bool, of at least one problem.
    """
    n, share = len(is_so_P), float(is_so_P.mean())
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    # Rounding would put the end at 0 or 1 a little beyond it.
    return share, max(middle - half, 0.0), min(middle + half, 1.0)
