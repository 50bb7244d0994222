"""How well a language model predicts each token of an equal-information window.

Lester et al. 2024, section 6.2: within a window the tokens after the first are harder to predict,
because what they mean depends on those before.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.models.gpt import GPT, GPTConfig


def predictions(
    config: GPTConfig,
    variables: Mapping[str, Any],
    texts: Sequence[np.ndarray],
    separator_id: int,
    row_length: int,
    batch_size: int = 8,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for every id of every text -log p in nats, float32[n], and whether it was likeliest.

    Texts are cut into rows of `row_length` ids, and every row begins with an empty context after a
    separator, as in training.

    Args:
        config: of the GPT.
        variables: its Flax collections.
        texts: ids, int32[n].
        separator_id: what stands before a row.
        row_length: L.
        batch_size: rows at a time.
    """
    pieces = [ids[at : at + row_length] for ids in texts for at in range(0, len(ids), row_length)]
    nats, hits = [], []
    for first in range(0, len(pieces), batch_size):
        part = pieces[first : first + batch_size]
        ids_BT = np.zeros((batch_size, row_length), np.int32)
        for row, piece in zip(ids_BT, part, strict=False):
            row[: len(piece)] = piece
        found = jax.tree.map(np.asarray, _score(config, variables, ids_BT, separator_id))
        for row, piece in enumerate(part):
            nats.append(found[0][row, : len(piece)])
            hits.append(found[1][row, : len(piece)])
    stops = np.cumsum([len(ids) for ids in texts])[:-1]
    nats_N = np.concatenate(nats) if nats else np.zeros(0, np.float32)
    hits_N = np.concatenate(hits) if hits else np.zeros(0, bool)
    return list(zip(np.split(nats_N, stops), np.split(hits_N, stops), strict=True))


@jax.jit(static_argnames=("config", "separator_id"))
def _score(config: GPTConfig, variables, ids_BT, separator_id):
    inputs_BT = jnp.pad(ids_BT[:, :-1], ((0, 0), (1, 0)), constant_values=separator_id)
    logits_BTV = GPT(config).apply(variables, inputs_BT)
    log_p_BTV = jax.nn.log_softmax(logits_BTV, axis=-1)
    nats_BT = -jnp.take_along_axis(log_p_BTV, ids_BT[..., None], axis=-1)[..., 0]
    return nats_BT, jnp.argmax(logits_BTV, axis=-1) == ids_BT


def by_position(
    scored: Sequence[tuple[np.ndarray, np.ndarray]], n_positions: int
) -> list[dict[str, float]]:
    """Return one record for each position in a window.

    Args:
        scored: from `predictions`; every text begins with a window.
        n_positions: tokens in a window.
    """
    nats_N = np.concatenate([nats for nats, _ in scored])
    hits_N = np.concatenate([hits for _, hits in scored])
    position_N = np.concatenate([np.arange(len(nats)) % n_positions for nats, _ in scored])
    counts = np.bincount(position_N, minlength=n_positions)
    sums = np.bincount(position_N, weights=nats_N, minlength=n_positions)
    right = np.bincount(position_N, weights=hits_N, minlength=n_positions)
    return [
        {
            "position": position + 1,
            "n_tokens": int(counts[position]),
            "bits_per_token": float(sums[position] / counts[position] / np.log(2)),
            "accuracy": float(right[position] / counts[position]),
        }
        for position in range(n_positions)
        if counts[position]
    ]
