"""What the latents of a trained model hold, and what happens when the language model writes them.

`positions` finds where in its group and in its row a byte is lost. `distortion` decodes codes that
are not the encoder's: Fifty 2025 reports -log p(x | z_hat) for the language model's likeliest codes
after the true ones; here the codes may also be drawn, after the true ones or after each other.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.generation import Decoder, Sampling, draw, sample, start
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig

PLAIN = Sampling(temperature=1.0, top_k=0, top_p=1.0)
"""As the model has it."""


@jax.jit(static_argnames="config")
def _reconstruct(config: LatentLMConfig, variables, ids_BT, mask_BT):
    output = LatentLanguageModel(config).apply(variables, ids_BT, mask_BT)
    return (*_score(output.byte_logits_BTV, ids_BT), output)


def _score(logits_BTV, ids_BT):
    """Return -log p of each byte in nats, and whether it is the likeliest."""
    log_p_BTV = jax.nn.log_softmax(logits_BTV, axis=-1)
    nats_BT = -jnp.take_along_axis(log_p_BTV, ids_BT[..., None], axis=-1)[..., 0]
    return nats_BT, jnp.argmax(logits_BTV, axis=-1) == ids_BT


def position_sums(
    config: LatentLMConfig, variables: Mapping[str, Any], ids_BT: np.ndarray, mask_BT: np.ndarray
) -> dict[str, np.ndarray]:
    """Return sums over the rows of a batch for every position, float64[T] each.

    Args:
        config: of the model.
        variables: its Flax collections.
        ids_BT: int32, byte ids.
        mask_BT: bool, True where there is one.

    Returns:
        "nats", -log p(x_t | z); "hits", bytes that are right; "count".
    """
    nats_BT, hits_BT, _ = _reconstruct(config, variables, ids_BT, mask_BT)
    mask_BT = np.asarray(mask_BT)
    return {
        "nats": (np.asarray(nats_BT, np.float64) * mask_BT).sum(axis=0),
        "hits": (np.asarray(hits_BT, np.float64) * mask_BT).sum(axis=0),
        "count": mask_BT.sum(axis=0).astype(np.float64),
    }


def distortion_sums(
    config: LatentLMConfig,
    variables: Mapping[str, Any],
    ids_BT: np.ndarray,
    mask_BT: np.ndarray,
    key: jax.Array,
) -> dict[str, dict[str, float]]:
    """Return for codes from several sources how well they decode; sums over a batch.

    Sources:
        encoder     the text's own codes.
        likeliest   the language model's likeliest code after the text's own codes.
        drawn       one drawn from the language model after the text's own codes.
        written     the first half of each row keeps its codes, the second is drawn code after code.

    Of the first three, "nats" is -log p(x | codes) of all bytes; of "written" that of the first
    half, which the decoder reads together with what was written after it. "returned" counts the
    codes that come back when the likeliest bytes of a source are encoded again, of "codes" in all;
    for "written" only codes of the second half are counted.

    Args:
        config: of the model; its latents are discrete.
        variables: its Flax collections.
        ids_BT: int32, byte ids of whole rows.
        mask_BT: bool, True where there is one.
        key: typed, for what is drawn.
    """
    n_rows, length = ids_BT.shape
    factor = config.autoencoder.compressor.factor
    _, _, output = _reconstruct(config, variables, ids_BT, mask_BT)
    codes_BK, mask_BK = output.quantized.codes_BK, output.latents.mask_BK
    n_codes = codes_BK.shape[1]
    half = n_codes // 2
    draw_key, write_key = jax.random.split(key)
    keys = jax.random.split(draw_key, (n_rows, n_codes))
    by_code = jax.vmap(lambda k, logits: sample(k, logits, PLAIN), in_axes=(1, 1), out_axes=1)
    decoder = Decoder(config)
    lengths_B = np.full(n_rows, half, np.int32)
    lanes = start(decoder, variables, codes_BK[:, :half], lengths_B, n_slots=n_codes + 1)
    keys_B = jax.random.split(write_key, n_rows)
    _, written = draw(decoder, variables, lanes, keys_B, PLAIN, n_codes - half)
    first_half_T = np.arange(length) < half * factor
    second_half_K = np.arange(n_codes) >= half
    sources = {
        "encoder": codes_BK,
        "likeliest": jnp.argmax(output.code_logits_BKV, axis=-1).astype(jnp.int32),
        "drawn": by_code(keys, output.code_logits_BKV),
        "written": jnp.concatenate([codes_BK[:, :half], written.ids_BN], axis=1),
    }
    sums = {}
    for source, codes in sources.items():
        nats_BT, again_BK = _decode_and_encode(config, variables, codes, mask_BK, ids_BT, mask_BT)
        is_written = source == "written"
        scored_BT = np.asarray(mask_BT) & (first_half_T[None] if is_written else True)
        counted_BK = np.asarray(mask_BK) & (second_half_K[None] if is_written else True)
        returned = np.asarray(again_BK == codes) & counted_BK
        sums[source] = {
            "nats": float((np.asarray(nats_BT, np.float64) * scored_BT).sum()),
            "bytes": float(scored_BT.sum()),
            "returned": float(returned.sum()),
            "codes": float(counted_BK.sum()),
        }
    return sums


@jax.jit(static_argnames="config")
def _decode_and_encode(config: LatentLMConfig, variables, codes_BK, mask_BK, ids_BT, mask_BT):
    model = LatentLanguageModel(config)
    logits_BTV = model.apply(
        variables, codes_BK, mask_BK, mask_BT, method=LatentLanguageModel.decode_codes
    )
    likeliest_BT = jnp.argmax(logits_BTV, axis=-1).astype(jnp.int32)
    again_BK, _ = model.apply(
        variables, likeliest_BT, mask_BT, method=LatentLanguageModel.encode_codes
    )
    return _score(logits_BTV, ids_BT)[0], again_BK
