"""Multi-head attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2).

Who computes it is a config word. On CPU, XLA's way through `jax.nn.dot_product_attention` takes
twice the time of the tiles written out here, which skip most scores that a causal mask hides.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dense import Dense, residual_init

TILE = 128
"""Least number of queries in a tile."""
MAX_TILES = 8
"""Most tiles per row; eight leave 56 % of the scores of a causal mask."""


def attend(
    q_BTHd: jax.Array,
    k_BSHd: jax.Array,
    v_BSHd: jax.Array,
    mask_BS: jax.Array | None = None,
    *,
    causal: bool = False,
    implementation: str = "auto",
) -> jax.Array:
    """Return softmax(q k^T / sqrt(d)) v for every head, [B, T, H, d], in the dtype of q.

    Args:
        q_BTHd: queries.
        k_BSHd: keys, of any length S.
        v_BSHd: values.
        mask_BS: bool, True where the key may be read; None reads all. A query that may read no key
            gets a mean of values: finite, and of use to nobody.
        causal: query t reads keys up to t only; T must equal S.
        implementation: one of `ATTENTION_IMPLEMENTATIONS`. The softmax is float32 in all of them.
    """
    if implementation == "auto":
        implementation = _fastest(q_BTHd.dtype)
    if implementation == "tiled":
        return _tiled(q_BTHd, k_BSHd, v_BSHd, mask_BS, causal)
    mask_B11S = None if mask_BS is None else mask_BS[:, None, None, :]
    return jax.nn.dot_product_attention(
        q_BTHd, k_BSHd, v_BSHd, mask=mask_B11S, is_causal=causal, implementation=implementation
    )


def _fastest(dtype) -> str:
    """Return the implementation for this process's default backend."""
    backend = jax.default_backend()
    if backend == "cpu":
        return "tiled"
    return "cudnn" if backend == "gpu" and dtype == jnp.bfloat16 else "xla"


def _tiled(q_BTHd, k_BSHd, v_BSHd, mask_BS, causal):
    """Attend heads first, one tile of queries after the other; a causal tile reads its prefix."""
    q_BHTd, k_BHSd, v_BHSd = (x.swapaxes(1, 2) for x in (q_BTHd, k_BSHd, v_BSHd))
    length, n_keys = q_BHTd.shape[2], k_BHSd.shape[2]
    size = max(TILE, -(-length // MAX_TILES)) if causal else length
    tiles = []
    for start in range(0, length, size):
        stop = min(start + size, length)
        read = stop if causal else n_keys
        allowed = None if mask_BS is None else mask_BS[:, None, None, :read]
        if causal:
            past_QS = jnp.arange(start, stop)[:, None] >= jnp.arange(read)[None]
            allowed = past_QS[None, None] if allowed is None else allowed & past_QS[None, None]
        tiles.append(
            _tile(q_BHTd[:, :, start:stop], k_BHSd[:, :, :read], v_BHSd[:, :, :read], allowed)
        )
    return jnp.concatenate(tiles, axis=2).swapaxes(1, 2)


def _tile(q_BHQd, k_BHSd, v_BHSd, allowed):
    """Attend with every query of a tile to every key, except where `allowed` is False."""
    scores_BHQS = jnp.einsum(
        "BHQd,BHSd->BHQS",
        q_BHQd * q_BHQd.shape[-1] ** -0.5,
        k_BHSd,
        preferred_element_type=jnp.float32,
    )
    if allowed is not None:
        scores_BHQS = jnp.where(allowed, scores_BHQS, jnp.finfo(jnp.float32).min)
    # The maximum cancels, and with it its gradient. Dividing after the product with the values
    # divides d numbers per query where a softmax divides S.
    peak_BHQ1 = jax.lax.stop_gradient(jnp.max(scores_BHQS, axis=-1, keepdims=True))
    weights_BHQS = jnp.exp(scores_BHQS - peak_BHQ1)
    total_BHQ1 = jnp.sum(weights_BHQS, axis=-1, keepdims=True)
    out_BHQd = jnp.einsum(
        "BHQS,BHSd->BHQd",
        weights_BHQS.astype(v_BHSd.dtype),
        v_BHSd,
        preferred_element_type=jnp.float32,
    )
    return (out_BHQd / total_BHQ1).astype(q_BHQd.dtype)


class Attention(nn.Module):
    """Self-attention with biases; shape [B, T, D] in and out, in the config's dtype."""

    config: TransformerConfig
    causal: bool

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array | None = None) -> jax.Array:
        """Mix positions; `mask_BT` (bool, True = real) hides padding from every query."""
        config = self.config
        heads = (config.n_heads, config.head_size)
        # Heads come first in the kernel, so that a mesh can split it by heads.
        qkv_BTH3d = Dense(
            (config.d_model,),
            (config.n_heads, 3, config.head_size),
            config.dtype,
            name="query_key_value",
        )(x_BTD)
        q_BTHd, k_BTHd, v_BTHd = (jnp.squeeze(x, 3) for x in jnp.split(qkv_BTH3d, 3, axis=3))
        out_BTHd = attend(
            q_BTHd,
            k_BTHd,
            v_BTHd,
            mask_BT,
            causal=self.causal,
            implementation=config.attention_implementation,
        )
        return Dense(
            heads, (config.d_model,), config.dtype, residual_init(config.n_layers), name="out"
        )(out_BTHd)
