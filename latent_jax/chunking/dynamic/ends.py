"""Where chunks of every stage begin, in positions of the outermost one, on the host.

A stage knows its boundaries in its own positions, which are chunks of the stage before. What people
look at is the text. A boundary at position t, which reads the id before t, ends a chunk with that
id, and the first id behind the boundary is the one that t predicts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class StageEnds(NamedTuple):
    """The boundaries of one stage.

    Attributes:
        is_first_BT: bool, boundaries; those that documents and rows force are among them.
        p_BT: float32, their probabilities, moved by the threshold; NaN where the stage has no
            position.
        n_chunks: chunks in all.
        n_dropped: boundaries that found no room.
    """

    is_first_BT: np.ndarray
    p_BT: np.ndarray
    n_chunks: int
    n_dropped: float


def stage_ends(boundaries: Sequence[Any]) -> list[StageEnds]:
    """Return the boundaries of every stage, outermost first.

    Args:
        boundaries: what each stage decided, of NumPy arrays; see
            `models.hierarchical.Boundaries`. That of a batch may be padded.
    """
    is_there_BT = np.asarray(boundaries[0].row.mask_BT)
    at_BK = np.broadcast_to(np.arange(is_there_BT.shape[1])[None], is_there_BT.shape)
    found = []
    for own in boundaries:
        cut = own.cut
        rows_N, positions_N = np.nonzero(is_there_BT)
        places = rows_N, at_BK[rows_N, positions_N]
        p_BT = np.full(boundaries[0].row.mask_BT.shape, np.nan, np.float32)
        p_BT[places] = np.asarray(own.p_BT)[rows_N, positions_N]
        is_first_BT = np.zeros(p_BT.shape, bool)
        is_first_BT[places] = np.asarray(cut.is_first_BT)[rows_N, positions_N]
        is_there_BK = np.asarray(cut.mask_BK)
        found.append(
            StageEnds(is_first_BT, p_BT, int(is_there_BK.sum()), float(np.asarray(cut.n_dropped)))
        )
        # The next stage stands at the boundaries of this one.
        at_BK = np.take_along_axis(at_BK, np.asarray(cut.first_BK), axis=1)
        is_there_BT = is_there_BK
    return found
