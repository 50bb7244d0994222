"""Compression by narrowing: each position becomes D / C numbers, and C neighbours are joined.

This is the only compressor in which no number of a latent mixes two positions.
"""

import dataclasses

import flax.linen as nn
import jax

from latent_jax.chunking.fixed.base import (
    CompressorConfig,
    latent_mask,
    pad_to_multiple,
    position_mask,
    zero_padding,
)
from latent_jax.chunking.fixed.registry import register
from latent_jax.contracts import Chunker, Chunks, Dechunker


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearMergeConfig(CompressorConfig):
    """The config of linear merge; see `CompressorConfig`. It has no options of its own."""

    kind = "linear_merge"

    def __post_init__(self):
        """Refuse a factor that does not divide the width."""
        super().__post_init__()
        self.check_divides("factor", self.factor)

    def compressor(self) -> Chunker:
        """Return the projection that narrows."""
        return LinearMergeCompressor(self)

    def decompressor(self) -> Dechunker:
        """Return the projection that widens."""
        return LinearMergeDecompressor(self)

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return the FLOPs of both projections."""
        flops = 2.0 * self.d_model * (self.d_model // self.factor)
        return {"compress": flops, "decompress": flops}

    @property
    def is_causal(self) -> tuple[bool, bool]:
        """True, True: a latent depends only on its C positions, and they only on it."""
        return True, True


class LinearMergeCompressor(nn.Module):
    """The compressor: it projects every position from D to D / C and joins C neighbours."""

    config: LinearMergeConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the latents of a batch; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        narrow = nn.Dense(
            config.d_model // config.factor,
            dtype=config.dtype,
            kernel_init=nn.initializers.orthogonal(),
            name="narrow",
        )
        # Zeroed after the projection, because its bias would fill missing positions of the last
        # group.
        x_BTD = config.real_positions(x_BTD, mask_BT)
        narrow_BTd = zero_padding(narrow(x_BTD), mask_BT, config.dtype)
        z_BKD = pad_to_multiple(narrow_BTd, config.factor)
        z_BKD = z_BKD.reshape(z_BKD.shape[0], -1, config.d_model)
        return config.chunks(z_BKD, latent_mask(mask_BT, config.factor), mask_BT.shape[1])


class LinearMergeDecompressor(nn.Module):
    """The decompressor: it splits a latent into C parts and projects each from D / C to D."""

    config: LinearMergeConfig

    @nn.compact
    def __call__(self, z_BKD: jax.Array, chunks: Chunks, *, train: bool = False) -> jax.Array:
        """Return positions [B, T, D]; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        mask_BK, length = chunks.mask_BK, chunks.chunk_of_BT.shape[1]
        widen = nn.Dense(
            config.d_model,
            dtype=config.dtype,
            kernel_init=nn.initializers.orthogonal(config.factor**0.5),
            name="widen",
        )
        parts_BTd = config.real_latents(z_BKD, chunks)
        parts_BTd = parts_BTd.reshape(z_BKD.shape[0], -1, config.d_model // config.factor)
        x_BTD = widen(parts_BTd[:, :length])
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)
