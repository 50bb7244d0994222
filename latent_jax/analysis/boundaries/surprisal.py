"""What the ids behind boundaries cost: at chunk starts, elsewhere, and by their place in the chunk.

A boundary at position t is decided before the id at t + 1 is known, and the network over chunks has
run at t when that id is predicted. Boundaries that are well placed stand where the next id is hard
to predict. Neitemeier et al. 2026, "SOMBRERO" (arXiv 2601.22805), call how strongly chunk starts
concentrate there boundary enrichment, B. Here B is the mean at chunk starts over the mean of all
ids whose start is decided: 1 where boundaries know nothing of it.
"""

from typing import Any

import numpy as np

from latent_jax.analysis.boundaries.seen import Seen, SeenStage, places, starts
from latent_jax.analysis.intervals import ratio_error

N_PLACES = 12
"""Places that have a record of their own; the last one is of all from there on."""


def enrichment_record(seen: Seen, stage: SeenStage) -> dict[str, Any]:
    """Return nats at chunk starts and elsewhere, with standard errors over rows, and B."""
    is_start_N, is_decided_N = starts(seen, stage)
    record: dict[str, Any] = {}
    sides = {"start": is_start_N, "elsewhere": is_decided_N & ~is_start_N, "all": is_decided_N}
    for name, is_so_N in sides.items():
        mean, error = _mean(seen, is_so_N)
        record |= {f"{name}_nats": mean, f"{name}_standard_error_nats": error}
        record[f"n_{name}"] = int(is_so_N.sum())
    start, all_ = record["start_nats"], record["all_nats"]
    record["enrichment_ratio"] = start / all_ if start is not None and all_ else None
    return record


def place_records(seen: Seen, stage: SeenStage) -> list[dict[str, Any]]:
    """Return nats by place in the chunk, 1 for the first id behind a boundary, with errors."""
    place_N = np.minimum(places(seen, stage), N_PLACES)
    records = []
    for place in range(1, N_PLACES + 1):
        mean, error = _mean(seen, place_N == place)
        if mean is not None:
            is_rest = place == N_PLACES
            records.append(
                {
                    "place": place,
                    "is_this_and_later": is_rest,
                    "n_ids": int((place_N == place).sum()),
                    "place_nats": mean,
                    "place_standard_error_nats": error,
                }
            )
    return records


def _mean(seen: Seen, is_so_N: np.ndarray) -> tuple[float | None, float | None]:
    """Return the mean nats of some ids and its standard error, of which each row is one draw."""
    n_R = np.bincount(seen.row_N, weights=is_so_N)
    if not n_R.any():
        return None, None
    nats_R = np.bincount(seen.row_N, weights=np.where(is_so_N, seen.nats_N, 0.0))
    return ratio_error(nats_R, n_R)
