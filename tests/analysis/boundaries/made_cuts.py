"""Texts with marks where chunks end, as if a run had cut them."""

import numpy as np

from latent_jax.analysis.boundaries.seen import Seen, SeenStage, joined


def made(*rows, nats=None, p=0.75):
    """Return what is seen of rows such as "An |owl|| sees": "||" ends one of stage 2 as well.

    Each row is a stretch of its own, whose last byte is not decided.
    """
    parts, n_stages = [], 1 + any("||" in row for row in rows)
    for number, row in enumerate(rows):
        ends, text = [set(), set()], b""
        for at, piece in enumerate(row.encode().replace(b"||", b"\1|").split(b"|")):
            text += piece.rstrip(b"\1")
            if at < row.replace("||", "|").count("|"):
                ends[0].add(len(text) - 1)
                if piece.endswith(b"\1"):
                    ends[1].add(len(text) - 1)
        n = len(text)
        stages = []
        for own in ends:
            ends_N = np.isin(np.arange(n), [*own])
            p_N = np.where(ends_N, p, 0.25).astype(np.float32)
            p_N[-1] = np.nan
            stages.append(SeenStage(ends_N, p_N, 1 + len(own), 0.0))
        own_nats = np.ones(n) if nats is None else np.asarray(nats[number], float)
        is_decided_N = np.arange(n) < n - 1
        where_N = np.full(n, number)
        arrays = (np.ones(n, np.int32), own_nats, where_N, where_N, is_decided_N)
        parts.append(Seen(text, *arrays, tuple(stages[:n_stages])))
    return joined(parts)
