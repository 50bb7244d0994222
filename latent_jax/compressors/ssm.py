"""Compression by a state-space model: run over the sequence, and keep one step in C.

Back: every latent stands C times in a row, a learned offset says which of the C positions it
stands for, and state-space blocks tell them apart.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.compressors.base import (
    CompressorConfig,
    Latents,
    check_latents,
    check_positions,
    group_positions,
    latent_mask,
    make_latents,
    position_mask,
    zero_padding,
)
from latent_jax.layers.norms import LayerNorm
from latent_jax.layers.ssm import MambaBlock


class SSMCompressor(nn.Module):
    """State-space blocks over [B, T, D]; latent k is the last real step of the k-th group of C.

    Causal: latent k has seen the positions up to its own. What it can know of later ones is what
    the encoder before it has put there.
    """

    config: CompressorConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Latents:
        """Return the latents of a batch; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_positions(config, x_BTD)
        x_BTD = zero_padding(x_BTD, mask_BT, config.dtype)
        for i in range(config.ssm_layers):
            x_BTD = MambaBlock(config.ssm, name=f"block_{i}")(x_BTD)
        x_BTD = LayerNorm(name="norm")(x_BTD)
        mask_BKC = group_positions(mask_BT, config.factor)
        last_BK = jnp.maximum(jnp.sum(mask_BKC, axis=-1), 1) - 1
        is_last_BKC = last_BK[..., None] == jnp.arange(config.factor)[None, None]
        # A sum with one term: its gradient is a product, a gather's would be a scatter.
        x_BKCD = group_positions(x_BTD, config.factor)
        z_BKD = jnp.sum(jnp.where(is_last_BKC[..., None], x_BKCD, 0), axis=2)
        return make_latents(z_BKD, latent_mask(mask_BT, config.factor), config.dtype)


class SSMDecompressor(nn.Module):
    """Repeat every latent C times, add the offsets 1..C, and run state-space blocks over it."""

    config: CompressorConfig

    @nn.compact
    def __call__(
        self, z_BKD: jax.Array, mask_BK: jax.Array, length: int, *, train: bool = False
    ) -> jax.Array:
        """Return positions [B, length, D]; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_latents(config, z_BKD, length)
        # Unit variance, like a latent: a small offset would leave the C copies alike at the start.
        offsets_CD = self.param(
            "offsets", nn.initializers.normal(1.0), (config.factor, config.d_model), jnp.float32
        )
        z_BKD = zero_padding(z_BKD, mask_BK, config.dtype)
        x_BKCD = z_BKD[:, :, None] + offsets_CD[None, None].astype(config.dtype)
        x_BTD = x_BKCD.reshape(z_BKD.shape[0], -1, config.d_model)[:, :length]
        for i in range(config.ssm_layers):
            x_BTD = MambaBlock(config.ssm, name=f"block_{i}")(x_BTD)
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)
