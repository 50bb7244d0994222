"""Multi-head attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2).

Who computes it is a config word. On CPU, XLA's way through `jax.nn.dot_product_attention` takes
twice the time of the tiles written out here, which skip most scores that a causal mask hides.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.cache import Cache, attend_step, fill
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dense import Dense, residual_init
from latent_jax.layers.relative import PositionBias

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
    bias_HTS: jax.Array | None = None,
    causal: bool = False,
    implementation: str = "auto",
) -> jax.Array:
    """Return softmax(q k^T / sqrt(d) + bias) v for every head, [B, T, H, d], in the dtype of q.

    Args:
        q_BTHd: queries.
        k_BSHd: keys, of any length S.
        v_BSHd: values.
        mask_BS: bool, True where the key may be read; None reads all. A query that may read no key
            gets a mean of values: finite, and of use to nobody.
        bias_HTS: float32, added to the scores of every row of the batch.
        causal: query t reads keys up to t only; T must equal S.
        implementation: one of `ATTENTION_IMPLEMENTATIONS`. The softmax is float32 in all of them.
    """
    if implementation == "auto":
        implementation = _fastest(q_BTHd.dtype)
    if implementation == "tiled":
        return _tiled(q_BTHd, k_BSHd, v_BSHd, mask_BS, bias_HTS, causal)
    mask_B11S = None if mask_BS is None else mask_BS[:, None, None, :]
    return jax.nn.dot_product_attention(
        q_BTHd,
        k_BSHd,
        v_BSHd,
        None if bias_HTS is None else bias_HTS[None].astype(q_BTHd.dtype),
        mask_B11S,
        is_causal=causal,
        implementation=implementation,
    )


def _fastest(dtype) -> str:
    """Return the implementation for this process's default backend."""
    backend = jax.default_backend()
    if backend == "cpu":
        return "tiled"
    return "cudnn" if backend == "gpu" and dtype == jnp.bfloat16 else "xla"


def _tiled(q_BTHd, k_BSHd, v_BSHd, mask_BS, bias_HTS, causal):
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
        bias_HQS = None if bias_HTS is None else bias_HTS[:, start:stop, :read]
        q_BHQd, k_BHRd, v_BHRd = q_BHTd[:, :, start:stop], k_BHSd[:, :, :read], v_BHSd[:, :, :read]
        tiles.append(_tile(q_BHQd, k_BHRd, v_BHRd, allowed, bias_HQS))
    return jnp.concatenate(tiles, axis=2).swapaxes(1, 2)


def _tile(q_BHQd, k_BHSd, v_BHSd, allowed, bias_HQS):
    """Attend with every query of a tile to every key, except where `allowed` is False."""
    scores_BHQS = jnp.einsum(
        "BHQd,BHSd->BHQS",
        q_BHQd * q_BHQd.shape[-1] ** -0.5,
        k_BHSd,
        preferred_element_type=jnp.float32,
    )
    if bias_HQS is not None:
        scores_BHQS = scores_BHQS + bias_HQS[None]
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
    """Self-attention; shape [B, T, D] in and out, in the config's dtype."""

    config: TransformerConfig
    causal: bool

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        mask_BT: jax.Array | None = None,
        cache: Cache | None = None,
        position_B: jax.Array | None = None,
    ) -> tuple[jax.Array, Cache | None]:
        """Mix positions.

        Args:
            x_BTD: the normalised stream; with `position_B`, T = 1.
            mask_BT: bool, True where the position is real: padding is hidden from every query.
            cache: what to attend to, or without `position_B`, what to begin anew; the layer must be
                causal.
            position_B: int32, the position of each lane; with a cache only.

        Returns:
            The mixed stream, and the cache with these positions in it (None without one).
        """
        config = self.config
        heads = (config.n_heads, config.head_size)
        bias = None
        if config.positions == "relative":
            position_bias = PositionBias(config, self.causal, name="position_bias")
            if position_B is None:
                bias = position_bias(x_BTD.shape[1])
            else:
                bias = position_bias.by_distance(np.arange(cache.k_BHSd.shape[-2]))
        # Heads come first in the kernel, so that a mesh can split it by heads.
        qkv_BTH3d = Dense(
            (config.d_model,),
            (config.n_heads, 3, config.head_size),
            config.dtype,
            use_bias=config.use_bias,
            name="query_key_value",
        )(x_BTD)
        q_BTHd, k_BTHd, v_BTHd = (jnp.squeeze(x, 3) for x in jnp.split(qkv_BTH3d, 3, axis=3))
        if position_B is None:
            out_BTHd = attend(
                q_BTHd,
                k_BTHd,
                v_BTHd,
                mask_BT,
                bias_HTS=bias,
                causal=self.causal,
                implementation=config.attention_implementation,
            )
            cache = None if cache is None else fill(cache, k_BTHd, v_BTHd)
        else:
            out_BHd, cache = attend_step(
                q_BTHd[:, 0], k_BTHd[:, 0], v_BTHd[:, 0], cache, position_B, bias
            )
            out_BTHd = out_BHd[:, None]
        out_BTD = Dense(
            heads,
            (config.d_model,),
            config.dtype,
            residual_init(config.n_layers),
            config.use_bias,
            name="out",
        )(out_BTHd)
        return out_BTD, cache
