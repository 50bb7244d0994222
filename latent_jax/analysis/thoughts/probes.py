"""Linear probes: what can be read off a slot by a linear map.

A probe shows that something is there, not that the model uses it, and patterns appear also where
nothing was thought (arXiv 2606.12689): compare with the same probe on a run that holds pauses,
which `beside` does.
"""

from typing import Any, NamedTuple

import numpy as np

from latent_jax.tasks.thought_slots import last_of_share

RIDGE = 1e-2
"""Weight of the penalty, per training example, for inputs of variance 1."""

LEAST = 8
"""Examples that a probe is trained and tested on, at least."""


class Stands(NamedTuple):
    """What slots stand for, arrays [P, J, K].

    Attributes:
        token: int, the written token.
        place: int, which token of the written thought it is, from 0.
        is_there: bool, slots in use that stand for one.
    """

    token: np.ndarray
    place: np.ndarray
    is_there: np.ndarray


def stands_for(written_PJK: np.ndarray, n_written_PJ: np.ndarray, n_PJ: np.ndarray) -> Stands:
    """Return the written token that each slot stands for.

    See `thought_slots.last_of_share`; here the slots may also hold pauses.

    Args:
        written_PJK: the tokens of written thoughts.
        n_written_PJ: how many.
        n_PJ: slots in use.
    """
    slot_K = np.arange(written_PJK.shape[-1])
    n_PJ1, m_PJ1 = np.maximum(n_PJ, 1)[..., None], n_written_PJ[..., None]
    at_PJK = last_of_share(slot_K, m_PJ1, n_PJ1)
    is_there_PJK = (slot_K < n_PJ[..., None]) & (at_PJK >= 0) & (at_PJK < m_PJ1)
    at_PJK = np.clip(at_PJK, 0, written_PJK.shape[-1] - 1)
    return Stands(np.take_along_axis(written_PJK, at_PJK, axis=-1), at_PJK, is_there_PJK)


def probe_records(
    inputs: dict[str, np.ndarray], targets: dict[str, tuple[np.ndarray, np.ndarray]]
) -> list[dict[str, Any]]:
    """Return a record for each input, target and slot.

    Problems of even number train a probe, the others test it.

    Args:
        inputs: name -> [P, J, K, D].
        targets: name -> (classes [P, J, K], where there is one, bool[P, J, K]).

    Returns:
        "accuracy" on problems that the probe was not trained on, and "majority_share", the accuracy
        of always saying the most frequent class of training. A slot with fewer than `LEAST`
        examples on either side has no record.
    """
    records = []
    for source, x_PJKD in inputs.items():
        for target, (y_PJK, is_there_PJK) in targets.items():
            for slot in range(x_PJKD.shape[2]):
                is_there_PJ = is_there_PJK[:, :, slot]
                problem_N = np.nonzero(is_there_PJ)[0]
                is_train_N = problem_N % 2 == 0
                n_train = int(is_train_N.sum())
                if min(n_train, len(problem_N) - n_train) < LEAST:
                    continue
                x_ND, y_N = x_PJKD[:, :, slot][is_there_PJ], y_PJK[:, :, slot][is_there_PJ]
                accuracy, majority = ridge_accuracy(x_ND, y_N, is_train_N)
                records.append(
                    {
                        "source": source,
                        "target": target,
                        "slot": slot + 1,
                        "n_train": n_train,
                        "n_test": len(problem_N) - n_train,
                        "accuracy": accuracy,
                        "majority_share": majority,
                    }
                )
    return records


def ridge_accuracy(
    x_ND: np.ndarray, y_N: np.ndarray, is_train_N: np.ndarray
) -> tuple[float, float]:
    """Return the accuracy of ridge regression to one-hot classes, and that of the majority class.

    Both are measured where `is_train_N` is False. Inputs have mean 0 and variance 1 in training.
    """
    x_ND = x_ND.astype(np.float64)
    x_MD, y_M = x_ND[is_train_N], y_N[is_train_N]
    mean_D, spread_D = x_MD.mean(axis=0), x_MD.std(axis=0)
    # What does not vary but by rounding says nothing.
    is_varied_D = spread_D > 1e-6 * np.maximum(np.abs(mean_D), 1e-6)
    scale_D = np.where(is_varied_D, 1.0 / np.where(is_varied_D, spread_D, 1.0), 0.0)
    x_MD, x_ND = (scale_D * (x - mean_D) for x in (x_MD, x_ND))
    classes, index_M = np.unique(y_M, return_inverse=True)
    target_MC = np.eye(len(classes))[index_M]
    share_C = target_MC.mean(axis=0)
    gram_DD = x_MD.T @ x_MD + RIDGE * len(x_MD) * np.eye(x_MD.shape[1])
    weights_DC = np.linalg.solve(gram_DD, x_MD.T @ (target_MC - share_C))
    said_N = classes[np.argmax(x_ND @ weights_DC + share_C, axis=1)]
    is_test_N = ~is_train_N
    return (
        float((said_N == y_N)[is_test_N].mean()),
        float((classes[np.argmax(share_C)] == y_N)[is_test_N].mean()),
    )
