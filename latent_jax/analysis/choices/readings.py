"""The readings of -log p(x | z_hat): which codes are decoded, and which bytes are scored."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax import generation
from latent_jax.analysis.codes import score_ids
from latent_jax.analysis.latents import PLAIN
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig

READINGS = {
    "own codes": "the text's own codes: the reconstruction",
    "all": "every code is a choice; all bytes",
    "all, right": "every code is a choice; bytes of right choices",
    "all, drawn": "every code is drawn; all bytes",
    "all, soft": "every code is the mean vector under the model; all bytes",
    "all, early": "every place reads the choice for the next place; its own bytes",
    "all, late": "the same, scored with the next place's bytes",
    "all, entropy": "every code is a choice; the decoder's entropy, no text",
    "one": "one code is a choice; its bytes",
    "one, right": "one code is a right choice; its bytes",
    "one, wrong": "one code is a wrong choice; its bytes",
    "one, drawn": "one code is drawn; its bytes",
    "one, whole row": "one code is a choice; all bytes of the row",
    "all, trained": "every code is a choice; a decoder trained on choices",
}
"""Name of a reading -> which codes are decoded; which bytes are scored."""


def reading_sums(
    config: LatentLMConfig,
    variables: Mapping[str, Any],
    ids_BT: np.ndarray,
    key: jax.Array,
    n_places: int,
    decoder: Mapping[str, Any] | None = None,
) -> dict[str, tuple[float, float]]:
    """Return nats and scored bytes of every reading, summed over a batch.

    Args:
        config: of the model; its latents are discrete.
        variables: its Flax collections.
        ids_BT: int32, byte ids of whole rows.
        key: typed, for drawn codes and for places.
        n_places: codes of each row that are replaced one at a time, at most K.
        decoder: the collections with a decoder that was trained on choices, or None.

    Returns:
        Reading -> (nats, bytes); and "accuracy" -> (right choices, codes).
    """
    factor = config.autoencoder.compressor.factor
    draw_key, place_key = jax.random.split(key)
    codes_BK, logits_BKV, own_BT = _predict(config, variables, ids_BT)
    choice_BK = jnp.argmax(logits_BKV, axis=-1).astype(jnp.int32)
    drawn_BK = _draw(draw_key, logits_BKV)
    right_BT = np.repeat(np.asarray(choice_BK == codes_BK), factor, axis=1)[:, : ids_BT.shape[1]]
    score = _Scorer(config, variables, ids_BT)
    all_BT, entropy_BT = score(choice_BK)
    early_BK = jnp.roll(choice_BK, -1, axis=1)  # its last place has no next one and is not scored
    early_BT, _ = score(early_BK)
    late_BT = score(early_BK, np.roll(ids_BT, -factor, axis=1))[0]
    sums = {
        "accuracy": (float(jnp.sum(choice_BK == codes_BK)), float(codes_BK.size)),
        "own codes": _sum(own_BT),
        "all": _sum(all_BT),
        "all, right": _sum(all_BT, right_BT),
        "all, drawn": _sum(score(drawn_BK)[0]),
        "all, soft": _sum(_soft(config, variables, logits_BKV, ids_BT)),
        "all, early": _sum(early_BT[:, :-factor]),
        "all, late": _sum(late_BT[:, :-factor]),
        "all, entropy": _sum(entropy_BT),
    }
    if decoder is not None:
        sums["all, trained"] = _sum(_Scorer(config, decoder, ids_BT)(choice_BK)[0])
    n_codes = codes_BK.shape[1]
    at_BP = places(place_key, len(ids_BT), n_codes, n_places)
    own_BPT = np.arange(ids_BT.shape[1]) // factor == np.asarray(at_BP)[..., None]
    one_BPT = score.one_at_a_time(codes_BK, choice_BK, at_BP)
    hit_BP = np.take_along_axis(np.asarray(choice_BK == codes_BK), np.asarray(at_BP), axis=1)
    return sums | {
        "one": _sum(one_BPT, own_BPT),
        "one, right": _sum(one_BPT, own_BPT & hit_BP[..., None]),
        "one, wrong": _sum(one_BPT, own_BPT & ~hit_BP[..., None]),
        "one, drawn": _sum(score.one_at_a_time(codes_BK, drawn_BK, at_BP), own_BPT),
        "one, whole row": _sum(one_BPT),
    }


def places(key: jax.Array, n_rows: int, n_codes: int, n_places: int) -> jax.Array:
    """Return places of codes, evenly spaced from a random one in each row, int32[B, P].

    P is the smaller of `n_codes` and `n_places`; the places of a row differ.
    """
    n_places = min(n_places, n_codes)
    first_B1 = jax.random.randint(key, (n_rows, 1), 0, n_codes)
    steps_1P = (jnp.arange(n_places) * n_codes // n_places)[None]
    return (first_B1 + steps_1P) % n_codes


class _Scorer:
    """Scores the bytes of rows given any codes."""

    def __init__(self, config: LatentLMConfig, variables: Mapping[str, Any], ids_BT: np.ndarray):
        self._config, self._variables, self._ids_BT = config, variables, ids_BT

    def __call__(self, codes_BK, ids_BT: np.ndarray | None = None):
        """Return -log p of each byte and the entropy of its distribution, nats[B, T] each."""
        ids_BT = self._ids_BT if ids_BT is None else ids_BT
        return _decode(self._config, self._variables, codes_BK, ids_BT)

    def one_at_a_time(self, codes_BK, new_BK, at_BP) -> np.ndarray:
        """Return nats[B, P, T] of rows in which one code, that at a place, is the new one."""
        is_place_BPK = jnp.arange(codes_BK.shape[1])[None, None] == at_BP[..., None]
        rows_BPK = jnp.where(is_place_BPK, new_BK[:, None], codes_BK[:, None])
        return np.stack([self(rows_BPK[:, place])[0] for place in range(at_BP.shape[1])], axis=1)


@jax.jit(static_argnames="config")
def _predict(config: LatentLMConfig, variables, ids_BT):
    mask_BT = jnp.ones(ids_BT.shape, bool)
    output = LatentLanguageModel(config).apply(variables, ids_BT, mask_BT)
    nats_BT, _ = score_ids(output.byte_logits_BTV, ids_BT)
    return output.quantized.codes_BK, output.code_logits_BKV, nats_BT


@jax.jit(static_argnames="config")
def _decode(config: LatentLMConfig, variables, codes_BK, ids_BT):
    masks = jnp.ones(codes_BK.shape, bool), jnp.ones(ids_BT.shape, bool)
    logits_BTV = LatentLanguageModel(config).apply(
        variables, codes_BK, *masks, method=LatentLanguageModel.decode_codes
    )
    log_p_BTV = jax.nn.log_softmax(logits_BTV, axis=-1)
    entropy_BT = -jnp.sum(jnp.exp(log_p_BTV) * log_p_BTV, axis=-1)
    return score_ids(logits_BTV, ids_BT)[0], entropy_BT


@jax.jit(static_argnames="config")
def _soft(config: LatentLMConfig, variables, logits_BKV, ids_BT):
    """Return nats[B, T] given the mean of the codebook's vectors under the language model."""

    def decode(model, p_BKV, mask_BT):
        table_VD = model.autoencoder.lookup(jnp.arange(p_BKV.shape[-1])[None])[0]
        mask_BK = jnp.ones(p_BKV.shape[:2], bool)
        return model.autoencoder.decode(p_BKV @ table_VD, mask_BK, mask_BT)

    logits_BTV = LatentLanguageModel(config).apply(
        variables,
        jax.nn.softmax(logits_BKV, axis=-1),
        jnp.ones(ids_BT.shape, bool),
        method=decode,
    )
    return score_ids(logits_BTV, ids_BT)[0]


@jax.jit
def _draw(key, logits_BKV):
    keys = jax.random.split(key, logits_BKV.shape[:2])
    by_code = jax.vmap(
        lambda k, logits: generation.sample(k, logits, PLAIN), in_axes=(1, 1), out_axes=1
    )
    return by_code(keys, logits_BKV)


def _sum(nats, is_scored: np.ndarray | None = None) -> tuple[float, float]:
    nats = np.asarray(nats, np.float64)
    if is_scored is None:
        return float(nats.sum()), float(nats.size)
    return float((nats * is_scored).sum()), float(is_scored.sum())
