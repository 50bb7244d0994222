"""Compression by narrowing: each position to D / C numbers, and C neighbours side by side.

The only method in which no number of a latent mixes two positions.
"""

import flax.linen as nn
import jax

from latent_jax.compressors.base import (
    CompressorConfig,
    Latents,
    check_latents,
    check_positions,
    latent_mask,
    make_latents,
    pad_to_multiple,
    position_mask,
    zero_padding,
)


class LinearMergeCompressor(nn.Module):
    """Project every position from D to D / C, then merge C neighbours into one latent."""

    config: CompressorConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Latents:
        """Return the latents of a batch; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_positions(config, x_BTD)
        narrow = nn.Dense(
            config.d_model // config.factor,
            dtype=config.dtype,
            kernel_init=nn.initializers.orthogonal(),
            name="narrow",
        )
        # Zeroed after the projection: its bias would otherwise mark the missing positions of the
        # last group.
        x_BTD = zero_padding(x_BTD, mask_BT, config.dtype)
        narrow_BTd = zero_padding(narrow(x_BTD), mask_BT, config.dtype)
        z_BKD = pad_to_multiple(narrow_BTd, config.factor)
        z_BKD = z_BKD.reshape(z_BKD.shape[0], -1, config.d_model)
        return make_latents(z_BKD, latent_mask(mask_BT, config.factor), config.dtype)


class LinearMergeDecompressor(nn.Module):
    """Split every latent into C parts of width D / C and widen each to one position."""

    config: CompressorConfig

    @nn.compact
    def __call__(
        self, z_BKD: jax.Array, mask_BK: jax.Array, length: int, *, train: bool = False
    ) -> jax.Array:
        """Return positions [B, length, D]; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_latents(config, z_BKD, length)
        widen = nn.Dense(
            config.d_model,
            dtype=config.dtype,
            kernel_init=nn.initializers.orthogonal(config.factor**0.5),
            name="widen",
        )
        parts_BTd = zero_padding(z_BKD, mask_BK, config.dtype)
        parts_BTd = parts_BTd.reshape(z_BKD.shape[0], -1, config.d_model // config.factor)
        x_BTD = widen(parts_BTd[:, :length])
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)
