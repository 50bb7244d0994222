"""Thoughts exchanged for other vectors in a trained model: what do results cost behind them?

Patterns in vectors prove no use of them. What a result costs behind other vectors does: a thought
is used if results are dearer behind the thoughts of another problem, and the interval of that
difference lies above 0. Nothing is trained.

Nats also grow with the confidence of what is wrong behind exchanged thoughts. Two measures do not:
how many results are no longer right, and nats that are capped at the uniform cost of a result.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.analysis.intervals import ratio_interval
from latent_jax.tasks.result_scores import of_next_row

OWN = "own"
SWAPPED = "of another problem"
MASKED = "attention to them masked"
"""No slot is read, but the marks are, and stay where they are; with k=0 the end mark moves up."""

TEXT = "no block, read in the text"

EXCHANGED = (
    SWAPPED,
    "zero",
    "mean of the batch",
    "noise of the same norm",
    "order reversed",
)
"""The vectors that take the place of thoughts, see `exchanged`."""


def ways(n_thoughts: int) -> list[str]:
    """Return the names of the interventions of `exchanged`, in its order.

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
    count_JK1 = jnp.maximum(is_used_BJK1.sum(axis=0), 1)
    mean_JKD = jnp.where(is_used_BJK1, v_BJKD, 0).sum(axis=0) / count_JK1
    noise_BJKD = jax.random.normal(key, v_BJKD.shape, jnp.float32)
    length_BJK1, noise_length_BJK1 = (
        jnp.linalg.norm(x.astype(jnp.float32), axis=-1, keepdims=True) for x in (v_BJKD, noise_BJKD)
    )
    back_BJK = jnp.where(is_used_BJK1[..., 0], n_BJ[..., None] - 1 - slot_11K, slot_11K)
    found = {
        SWAPPED: of_next_row(v_BJKD, n_BJ, opens_BJ),
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


def intervention_records(
    scored: Mapping[str, Sequence[np.ndarray]], n_tokens_PJ: np.ndarray, uniform_nats: float
) -> list[dict[str, Any]]:
    """Return a record for each intervention, for all blocks (block 0) and for each of them.

    Args:
        scored: name -> (nats_PJ, is_right_PJ, is_compared_PJ) of P problems; `OWN` is among them.
        n_tokens_PJ: result tokens of each block.
        uniform_nats: what a result token costs without knowing anything, see `uniform_nats`.

    Returns:
        "nats_per_token" of results, "right_share" of results whose tokens are all the likeliest;
        both for own thoughts on the same blocks, "own_...". Beside them three differences to own
        thoughts, each with the ends of its 95 % interval, "..._low" and "..._high":
        "added_nats_per_token" (U, where thoughts are those of another problem);
        "capped_nats_per_token", the same where no result costs more than a uniform one, behind own
        thoughts neither, so that vectors that change nothing add nothing; and "lost_right_share",
        own share of right results less this one. "is_used" of `SWAPPED` says whether the interval
        of U lies above 0.
    """
    own_nats_PJ, is_own_right_PJ, _ = scored[OWN]
    most_PJ = uniform_nats * n_tokens_PJ
    records = []
    for name, (nats_PJ, is_right_PJ, is_compared_PJ) in scored.items():
        is_scored_PJ = is_compared_PJ & (n_tokens_PJ > 0)
        capped_PJ = np.minimum(nats_PJ, most_PJ) - np.minimum(own_nats_PJ, most_PJ)
        lost_PJ = is_own_right_PJ.astype(np.float64) - is_right_PJ
        for block in range(n_tokens_PJ.shape[1] + 1):
            here = slice(None) if not block else slice(block - 1, block)
            mask_PJ = is_scored_PJ[:, here]
            n_results_P = mask_PJ.sum(axis=1)
            if not n_results_P.sum():
                continue
            n_P, nats_P, own_P, capped_P, lost_P = (
                np.where(mask_PJ, x[:, here].astype(np.float64), 0.0).sum(axis=1)
                for x in (n_tokens_PJ, nats_PJ, own_nats_PJ, capped_PJ, lost_PJ)
            )
            record = {
                "way": name,
                "block": block,
                "n_results": int(n_results_P.sum()),
                "n_tokens": int(n_P.sum()),
                "nats_per_token": nats_P.sum() / n_P.sum(),
                "right_share": float(is_right_PJ[:, here][mask_PJ].mean()),
                "own_nats_per_token": own_P.sum() / n_P.sum(),
                "own_right_share": float(is_own_right_PJ[:, here][mask_PJ].mean()),
            }
            if name != OWN:
                for key, difference_P, per_P in (
                    ("added_nats_per_token", nats_P - own_P, n_P),
                    ("capped_nats_per_token", capped_P, n_P),
                    ("lost_right_share", lost_P, n_results_P),
                ):
                    mean, half = ratio_interval(difference_P, per_P)
                    record[key] = mean
                    if half is not None:
                        record |= {f"{key}_low": mean - half, f"{key}_high": mean + half}
                if name == SWAPPED and "added_nats_per_token_low" in record:
                    record["is_used"] = record["added_nats_per_token_low"] > 0
            records.append(record)
    return records


def uniform_nats(result_ids_N: np.ndarray) -> float:
    """Return the nats of a result token where all that results consist of are equally likely.

    On chains these are ten digits, so it is ln 10 = 2.303, which is chance.

    Args:
        result_ids_N: the tokens of the results of held-out problems.
    """
    return math.log(max(len(np.unique(result_ids_N)), 1))
