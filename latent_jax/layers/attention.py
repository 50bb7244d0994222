"""Multi-head attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2).

With fewer heads of keys and values than of queries (G of H) it is grouped-query attention (Ainslie
et al. 2023, "GQA", section 2.2): query head h reads the keys and values of head h // (H / G).

The config key `attention_implementation` selects the code that runs. On CPU, XLA's implementation
of `jax.nn.dot_product_attention` takes twice as long as the tiles of this file, which skip most
scores that a causal mask hides. On accelerators, memory decides: no scores may be kept for the
backward pass, because [B, H, T, S] scores in every layer would be most of a model's memory.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.cache import Cache, attend_step, fill
from latent_jax.layers.config import ATTENTION_IMPLEMENTATIONS, TransformerConfig
from latent_jax.layers.dense import Dense, residual_init
from latent_jax.layers.relative import PositionBias
from latent_jax.layers.rotary import rotate
from latent_jax.layers.view import VIEW_WEIGHTS, View, mix_view, view_weights
from latent_jax.nearest import check_word

TILE = 128
"""Least number of queries in a tile."""
MAX_TILES = 8
"""Most tiles per row; with eight tiles, a causal mask leaves 56 % of the scores to compute."""
CUDNN_SHORTEST = 64
"""Fewest queries and keys for which cuDNN is used: the length of one of its tiles."""


def attend(
    q_BTHd: jax.Array,
    k_BSGd: jax.Array,
    v_BSGd: jax.Array,
    *,
    lengths_B: jax.Array | None = None,
    bias_HTS: jax.Array | None = None,
    causal: bool = False,
    implementation: str = "tiled",
) -> jax.Array:
    """Return softmax(q k^T / sqrt(d) + bias) v for every head, [B, T, H, d], in the dtype of q.

    The result of a query that may read no key is some mean of values; ignore it.

    Args:
        q_BTHd: queries.
        k_BSGd: keys, of any length S; G must divide H.
        v_BSGd: values.
        lengths_B: int32, the number of keys at the start of each row that may be read; None = all.
        bias_HTS: float32, added to the scores of every row of the batch.
        causal: whether query t reads keys up to t only; T must equal S.
        implementation: one of `ATTENTION_IMPLEMENTATIONS` except "auto", which
            `TransformerConfig.resolved` replaces. The softmax is float32 in all of them.

    Raises:
        ValueError: the implementation is unknown or "auto".
    """
    check_word(
        "attention implementation (resolve the config for a platform first)",
        implementation,
        ATTENTION_IMPLEMENTATIONS[1:],
    )
    has_bias = bias_HTS is not None
    if implementation == "cudnn" and cudnn_serves(q_BTHd, k_BSGd, has_bias=has_bias):
        return _cudnn(q_BTHd, k_BSGd, v_BSGd, lengths_B, bias_HTS, causal)
    if implementation == "splash":
        # Pallas takes most of a second to import, and only programs for TPUs need it.
        from latent_jax.layers.splash import splash, splash_serves

        if splash_serves(q_BTHd, k_BSGd, has_bias=has_bias):
            return splash(q_BTHd, k_BSGd, v_BSGd, lengths_B, causal)
    mask_BS = None
    if lengths_B is not None:
        mask_BS = jnp.arange(k_BSGd.shape[1])[None] < lengths_B[:, None]
    if implementation == "tiled":
        return _tiled(q_BTHd, k_BSGd, v_BSGd, mask_BS, bias_HTS, causal)
    xla = functools.partial(_xla, causal=causal)
    if implementation != "xla":
        xla = jax.checkpoint(xla)
    return xla(q_BTHd, k_BSGd, v_BSGd, mask_BS, bias_HTS)


def cudnn_serves(q_BTHd: jax.Array, k_BSGd: jax.Array, *, has_bias: bool = False) -> bool:
    """Return whether cuDNN's flash attention takes these shapes and dtypes, and is worth it.

    The limits are those of `jax._src.cudnn.fused_attention_stablehlo`: 16-bit floats; heads whose
    width is a multiple of 8 up to 128 (256 on Hopper only); even lengths, which its backward pass
    requires even without a bias. A bias over grouped heads has not been tried on a GPU, so it is
    refused.
    """
    length, n_keys, head_size = q_BTHd.shape[1], k_BSGd.shape[1], q_BTHd.shape[3]
    is_grouped = q_BTHd.shape[2] != k_BSGd.shape[2]
    return (
        q_BTHd.dtype in (jnp.bfloat16, jnp.float16)
        and head_size % 8 == 0
        and head_size <= 128
        and min(length, n_keys) >= CUDNN_SHORTEST
        and not (length % 2 or n_keys % 2)
        and not (is_grouped and has_bias)
    )


def _cudnn(q_BTHd, k_BSGd, v_BSGd, lengths_B, bias_HTS, causal):
    """Attend by cuDNN's kernel."""
    return jax.nn.dot_product_attention(
        q_BTHd,
        k_BSGd,
        v_BSGd,
        None if bias_HTS is None else bias_HTS[None].astype(q_BTHd.dtype),
        is_causal=causal,
        # At least one key, because the softmax of a row without keys would divide by zero.
        key_value_seq_lengths=None if lengths_B is None else jnp.maximum(lengths_B, 1),
        implementation="cudnn",
    )


def _xla(q_BTHd, k_BSGd, v_BSGd, mask_BS, bias_HTS, causal):
    """Attend with the code that XLA compiles, which holds all scores at once."""
    return jax.nn.dot_product_attention(
        q_BTHd,
        k_BSGd,
        v_BSGd,
        None if bias_HTS is None else bias_HTS[None].astype(q_BTHd.dtype),
        None if mask_BS is None else mask_BS[:, None, None, :],
        is_causal=causal,
        implementation="xla",
    )


def _tiled(q_BTHd, k_BSGd, v_BSGd, mask_BS, bias_HTS, causal):
    """Attend one tile of queries after the other; a causal tile reads only keys up to its end."""
    q_BHTd, k_BGSd, v_BGSd = (x.swapaxes(1, 2) for x in (q_BTHd, k_BSGd, v_BSGd))
    length, n_keys = q_BHTd.shape[2], k_BGSd.shape[2]
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
        q_BHQd, k_BGRd, v_BGRd = q_BHTd[:, :, start:stop], k_BGSd[:, :, :read], v_BGSd[:, :, :read]
        tiles.append(_tile(q_BHQd, k_BGRd, v_BGRd, allowed, bias_HQS))
    return jnp.concatenate(tiles, axis=2).swapaxes(1, 2)


def _tile(q_BHQd, k_BGSd, v_BGSd, allowed, bias_HQS):
    """Attend with every query of a tile to every key, except where `allowed` is False.

    The products join the queries of the H / G heads that share keys on one axis of P = Q H / G, so
    that each key is read once.
    """
    n_rows, n_heads, n_queries, head_size = q_BHQd.shape
    n_groups, n_keys = k_BGSd.shape[1:3]
    n_sharing = n_queries * (n_heads // n_groups)
    q_BHQd = q_BHQd * head_size**-0.5
    scores_BHQS = jnp.einsum(
        "BGPd,BGSd->BGPS",
        q_BHQd.reshape(n_rows, n_groups, n_sharing, head_size),
        k_BGSd,
        preferred_element_type=jnp.float32,
    ).reshape(n_rows, n_heads, n_queries, n_keys)
    if bias_HQS is not None:
        scores_BHQS = scores_BHQS + bias_HQS[None]
    if allowed is not None:
        scores_BHQS = jnp.where(allowed, scores_BHQS, jnp.finfo(jnp.float32).min)
    # The maximum cancels out, so it needs no gradient. Dividing after the product with the values
    # divides d numbers per query; a softmax would divide S.
    peak_BHQ1 = jax.lax.stop_gradient(jnp.max(scores_BHQS, axis=-1, keepdims=True))
    weights_BHQS = jnp.exp(scores_BHQS - peak_BHQ1)
    total_BHQ1 = jnp.sum(weights_BHQS, axis=-1, keepdims=True)
    weights_BHQS = weights_BHQS.astype(v_BGSd.dtype)
    out_BHQd = jnp.einsum(
        "BGPS,BGSd->BGPd",
        weights_BHQS.reshape(n_rows, n_groups, n_sharing, n_keys),
        v_BGSd,
        preferred_element_type=jnp.float32,
    ).reshape(q_BHQd.shape)
    return (out_BHQd / total_BHQ1).astype(q_BHQd.dtype)


class Attention(nn.Module):
    """Self-attention; shape [B, T, D] in and out, in the config's dtype."""

    config: TransformerConfig
    causal: bool

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        lengths_B: jax.Array | None = None,
        cache: Cache | Sequence[Cache] | None = None,
        position_B: jax.Array | None = None,
        view: View | None = None,
        memory_BTD: jax.Array | None = None,
    ) -> tuple[jax.Array, Cache | None]:
        """Return the result of attention over the positions of x.

        Args:
            x_BTD: the normalised stream; T = 1 if `position_B` is given.
            lengths_B: int32, the number of real positions at the start of each row; the others are
                hidden from every query. None = all are real.
            cache: keys and values of earlier positions. With `position_B`, x attends to them;
                without, the cache is filled from position 0 on. Only for causal layers. With a
                view: its contexts.
            position_B: int32, the position of each lane; only with a cache.
            view: what each position reads, in place of the three arguments above.
            memory_BTD: one more vector of each position, [B, T, D]. Projections of its own add to
                query, key and value of the position, as in ConceptMoE's joint decoding.

        Returns:
            [B, T, D], and the cache that includes these positions (None without one); with a view,
            the keys and values of x alone. A view needs rotary positions or none, else a
            ValueError.
        """
        config = self.config
        heads = (config.n_heads, config.head_size)
        if view is not None and config.positions not in ("rotary", "none"):
            raise ValueError(f"a view needs rotary positions; these are {config.positions!r}")
        bias = None
        if config.positions == "relative":
            position_bias = PositionBias(config, self.causal, name="position_bias")
            if position_B is None:
                bias = position_bias(x_BTD.shape[1])
            else:
                bias = position_bias.by_distance(np.arange(cache.k_BGSd.shape[-2]))
        q_BTHd, k_BTGd, v_BTGd = self._projected(x_BTD)
        if memory_BTD is not None:
            of_memory = self._projected(memory_BTD, "memory_", use_bias=False)
            q_BTHd, k_BTGd, v_BTGd = (
                x + y for x, y in zip((q_BTHd, k_BTGd, v_BTGd), of_memory, strict=True)
            )
        if config.positions == "rotary":
            at_BT = jnp.arange(x_BTD.shape[1])[None] if position_B is None else position_B[:, None]
            at_BT = at_BT if view is None else view.position_BT
            q_BTHd, k_BTGd = (rotate(x, at_BT, config.rope_theta) for x in (q_BTHd, k_BTGd))
        if view is not None:
            contexts = cache or ()
            cache = Cache(k_BTGd.swapaxes(1, 2), v_BTGd.swapaxes(1, 2))
            weights = view_weights(q_BTHd, cache, contexts, view)
            self.sow("intermediates", VIEW_WEIGHTS, weights)
            out_BTHd = mix_view(weights, cache, contexts, q_BTHd.dtype)
        elif position_B is None:
            out_BTHd = attend(
                q_BTHd,
                k_BTGd,
                v_BTGd,
                lengths_B=lengths_B,
                bias_HTS=bias,
                causal=self.causal,
                implementation=config.attention_implementation,
            )
            cache = None if cache is None else fill(cache, k_BTGd, v_BTGd)
        else:
            out_BHd, cache = attend_step(
                q_BTHd[:, 0], k_BTGd[:, 0], v_BTGd[:, 0], cache, position_B, bias
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

    def _projected(
        self, x_BTD: jax.Array, prefix: str = "", use_bias: bool | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return queries [B, T, H, d], and keys and values [B, T, G, d]."""
        config = self.config
        use_bias = config.has_qkv_bias if use_bias is None else use_bias
        if config.key_value_heads == config.n_heads:
            q_BTHd, k_BTHd, v_BTHd = self._parts(x_BTD, f"{prefix}query_key_value", 3, use_bias)
            return q_BTHd, k_BTHd, v_BTHd
        heads, name = (config.n_heads, config.head_size), f"{prefix}query"
        query = Dense((config.d_model,), heads, config.dtype, use_bias=use_bias, name=name)
        k_BTGd, v_BTGd = self._parts(x_BTD, f"{prefix}key_value", 2, use_bias)
        return query(x_BTD), k_BTGd, v_BTGd

    def _parts(
        self, x_BTD: jax.Array, name: str, n_parts: int, use_bias: bool
    ) -> tuple[jax.Array, ...]:
        """Return `n_parts` arrays [B, T, G, d] from a dense layer with a kernel [D, G, n_parts, d].

        Heads come before parts in the kernel, so that a mesh can split the kernel by heads.
        """
        config = self.config
        # Attention kernels of accelerators read each part as one contiguous array. Copying the
        # parts takes longer than one product per part. On a CPU, one product for all is faster, by
        # 4 % of a step.
        by_parts = config.attention_implementation != "tiled"
        parts = Dense(
            (config.d_model,),
            (config.key_value_heads, n_parts, config.head_size),
            config.dtype,
            use_bias=use_bias,
            parts_axis=1 if by_parts else None,
            name=name,
        )(x_BTD)
        if by_parts:
            return parts
        return tuple(jnp.squeeze(x, 3) for x in jnp.split(parts, n_parts, axis=3))
