"""The likeliest texts: the best 2^W texts for a code of one token per window.

If a window takes the longest text that has a code, its average length in bytes is the sum, over all
texts of the code, of the probability that the rest of the document begins with the text. (Tunstall
1967 has the same sum, for trees in which only leaves are code words.) The 2^W likeliest texts make
this sum largest. They form a tree, because no text is likelier than its prefix. Integer cells
(`cells.py`) approximate such a tree and never look beyond the next byte; wide windows need that. A
tree of 2^16 texts can be listed, so no approximation is needed.
"""

from collections.abc import Callable, Sequence

import numpy as np

from latent_jax.tokenizers.byte_model import BEGIN, ByteModel, checked_step
from latent_jax.tokenizers.counts import cumulative_counts
from latent_jax.tokenizers.lockstep import shared

N_BYTES = 256


def likeliest_texts(
    model: ByteModel,
    n_texts: int,
    precision: int = 14,
    batch: int = 1024,
    on_read: Callable[[int], object] = lambda n_read: None,
) -> dict[bytes, float]:
    """Return the likeliest texts at the beginning of a window, and log2 of their probabilities.

    Every single byte is among them, however unlikely, so that all text can be coded. The others are
    the likeliest of all texts, by the product of the integer counts of their bytes.

    Args:
        model: M1; every text is read without a context before it.
        n_texts: number of texts, at least 256.
        precision: bits of the counts.
        batch: number of texts that M1 reads in one round of the search. It affects the time, not
            the result.
        on_read: called after each round with the number of texts that M1 read in it; these numbers
            sum to somewhat more than `n_texts`.
    """
    singles = [bytes([byte]) for byte in range(N_BYTES)]
    found = dict(zip(singles, _next_byte_bits(model, [b""], precision)[0].tolist(), strict=True))
    others: dict[bytes, float] = {}
    # Texts that M1 has not read yet, likeliest first.
    waiting = sorted(found.items(), key=_rank)
    n_others = n_texts - N_BYTES
    while waiting:
        texts = [text for text, _ in waiting[:batch]]
        logs = np.array([log for _, log in waiting[:batch]])
        others.update((text, log) for text, log in waiting[:batch] if len(text) > 1)
        del waiting[:batch]
        least = (
            -np.inf
            if len(others) < n_others
            else np.sort([*others.values(), np.inf])[-n_others - 1]
        )
        on_read(len(texts))
        child_logs = logs[:, None] + _next_byte_bits(model, texts, precision)
        # Keep the continuations that can still be among the likeliest.
        for row, byte in zip(*np.nonzero(child_logs >= least), strict=True):
            waiting.append((texts[row] + singles[byte], float(child_logs[row, byte])))
        waiting = [item for item in waiting if item[1] >= least]
        waiting.sort(key=_rank)
        del waiting[n_others:]
    return found | dict(sorted(others.items(), key=_rank)[:n_others])


def _rank(item: tuple[bytes, float]) -> tuple[float, bytes]:
    """Return a sort key: the likeliest first, and texts of equal probability in byte order."""
    return -item[1], item[0]


def _next_byte_bits(model: ByteModel, texts: Sequence[bytes], precision: int) -> np.ndarray:
    """Return log2 of the probability of each byte after each text, float64[n, 256]."""

    def work(part, worker):
        rows = np.empty((len(part), N_BYTES))
        order = sorted(range(len(part)), key=lambda i: len(part[i]))
        for first in range(0, len(part), model.lanes):
            group = order[first : first + model.lanes]
            _read([part[i] for i in group], worker, group, rows)
        return list(rows)

    def _read(group, worker, places, rows):
        lengths = np.array([len(text) for text in group])
        ids = np.full((model.lanes, lengths.max() + 1), BEGIN, np.int32)
        for lane, text in enumerate(group):
            ids[lane, 1 : len(text) + 1] = np.frombuffer(text, np.uint8)
        state, cumulative_C = model.start(worker), np.zeros(N_BYTES + 1, np.int64)
        for position in range(ids.shape[1]):
            positions_B = np.full(model.lanes, position, np.int32)
            read = ids[:, position], positions_B
            probabilities_BV, state = checked_step(model, state, *read)
            for lane in np.flatnonzero(lengths == position):
                cumulative_counts(probabilities_BV[lane, :N_BYTES], precision, cumulative_C)
                rows[places[lane]] = np.log2(np.diff(cumulative_C)) - precision

    return np.stack(shared(work, list(texts), [1] * len(texts), model))
