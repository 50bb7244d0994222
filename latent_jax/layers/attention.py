"""Multi-head attention (Vaswani et al. 2017, "Attention Is All You Need", section 3.2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.feed_forward import residual_init


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
        mask_BS: bool, True where the key may be read; None reads all. A row that may read no key
            gets the mean of all values: finite, and never used by a position that is real.
        causal: query t reads keys up to t only; T must equal S.
        implementation: one of `ATTENTION_IMPLEMENTATIONS`. The softmax is float32 in all of them.
    """
    if implementation == "auto":
        on_gpu = jax.default_backend() == "gpu"
        implementation = "cudnn" if on_gpu and q_BTHd.dtype == jnp.bfloat16 else "xla"
    mask_B11S = None if mask_BS is None else mask_BS[:, None, None, :]
    return jax.nn.dot_product_attention(
        q_BTHd, k_BSHd, v_BSHd, mask=mask_B11S, is_causal=causal, implementation=implementation
    )


class Attention(nn.Module):
    """Self-attention with biases; shape [B, T, D] in and out, in the config's dtype."""

    config: TransformerConfig
    causal: bool

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array | None = None) -> jax.Array:
        """Mix positions; `mask_BT` (bool, True = real) hides padding from every query."""
        config = self.config
        dtype = jnp.dtype(config.dtype)
        qkv_BT3Hd = nn.DenseGeneral(
            (3, config.n_heads, config.head_size),
            dtype=dtype,
            kernel_init=nn.initializers.normal(0.02),
            name="query_key_value",
        )(x_BTD)
        q_BTHd, k_BTHd, v_BTHd = (qkv_BT3Hd[:, :, i] for i in range(3))
        out_BTHd = attend(
            q_BTHd,
            k_BTHd,
            v_BTHd,
            mask_BT,
            causal=self.causal,
            implementation=config.attention_implementation,
        )
        return nn.DenseGeneral(
            config.d_model,
            axis=(-2, -1),
            dtype=dtype,
            kernel_init=residual_init(config.n_layers),
            name="out",
        )(out_BTHd)
