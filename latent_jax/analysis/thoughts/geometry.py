"""Where thoughts lie: how long they are beside embeddings, and how much alike they are.

Thoughts that are all alike, or far from the embeddings, are the known signs of a reasoner that does
not use them (Wei et al. 2025, "SIM-CoT", arXiv 2509.20317, section 3).
"""

from typing import Any

import numpy as np


def geometry_records(
    v_PJKD: np.ndarray, is_used_PJK: np.ndarray, embedding_norm: float
) -> list[dict[str, Any]]:
    """Return a record for each slot, and one for all of them (slot 0).

    Args:
        v_PJKD: what slots hold.
        is_used_PJK: bool.
        embedding_norm: the mean norm of embedding rows.

    Returns:
        "norm_ratio", the mean norm over that of embeddings; "problems_cosine", the mean cosine of
        the same slot of the same block in two problems; "effective_rank" of all thoughts of the
        slot; slot 0 has "slots_cosine", the mean cosine of two slots of one block.
    """
    v_PJKD = v_PJKD.astype(np.float64)
    records = []
    for slot in range(v_PJKD.shape[2] + 1):
        here = slice(None) if not slot else slice(slot - 1, slot)
        is_here_PJK = is_used_PJK[:, :, here]
        x_ND = v_PJKD[:, :, here][is_here_PJK]
        if not len(x_ND):
            continue
        record: dict[str, Any] = {
            "slot": slot,
            "n_thoughts": len(x_ND),
            "norm_ratio": float(np.linalg.norm(x_ND, axis=-1).mean() / embedding_norm),
            "effective_rank": effective_rank(x_ND),
        }
        pairs = [
            (len(own) * (len(own) - 1), mean_cosine(own))
            for block in range(v_PJKD.shape[1])
            for at in range(v_PJKD.shape[2])[here]
            if len(own := v_PJKD[:, block, at][is_used_PJK[:, block, at]]) > 1
        ]
        if pairs:
            n, cosines = map(np.array, zip(*pairs, strict=True))
            record["problems_cosine"] = float((n * cosines).sum() / n.sum())
        if not slot and (cosine := _slots_cosine(v_PJKD, is_used_PJK)) is not None:
            record["slots_cosine"] = cosine
        records.append(record)
    return records


def _slots_cosine(v_PJKD: np.ndarray, is_used_PJK: np.ndarray) -> float | None:
    """Return the mean cosine of two slots of one block; None if no block has two."""
    n_MK = is_used_PJK.reshape(-1, is_used_PJK.shape[-1])
    v_MKD = v_PJKD.reshape(-1, *v_PJKD.shape[2:])
    means = [mean_cosine(own[used]) for own, used in zip(v_MKD, n_MK, strict=True) if sum(used) > 1]
    return float(np.mean(means)) if means else None


def mean_cosine(x_ND: np.ndarray) -> float:
    """Return the mean cosine of all pairs of N > 1 different vectors; 0 for a vector of zeros."""
    norm_N1 = np.linalg.norm(x_ND, axis=-1, keepdims=True)
    unit_ND = x_ND / np.where(norm_N1 > 0, norm_N1, 1.0)
    n, own = len(x_ND), float((norm_N1 > 0).sum())
    return float(((unit_ND.sum(axis=0) ** 2).sum() - own) / (n * (n - 1)))


def effective_rank(x_ND: np.ndarray) -> float:
    """Return the exponential of the entropy of the singular values, divided by their sum.

    Roy and Vetterli 2007, "The effective rank", definition 1. Vectors are not centred, so it is 1
    if all of them point the same way. 0 if all of them are zeros.
    """
    values = np.linalg.svd(x_ND, compute_uv=False)
    if not values.sum():
        return 0.0
    share = values / values.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))
