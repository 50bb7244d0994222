"""Compression by a state-space model, which runs over the sequence; one step in C is kept.

The decompressor repeats every latent C times, adds a learned offset for each of the C positions,
and runs state-space blocks over the result.
"""

import dataclasses
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.fixed.base import (
    CompressorConfig,
    group_positions,
    latent_mask,
    position_mask,
    zero_padding,
)
from latent_jax.chunking.fixed.registry import register
from latent_jax.contracts import Chunker, Chunks, Dechunker
from latent_jax.layers.config import MOST_LAYERS
from latent_jax.layers.norms import LayerNorm
from latent_jax.layers.ssm import MambaBlock, SSMConfig
from latent_jax.ranges import Size, at_least


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class SSMCompressorConfig(CompressorConfig):
    """The config of state-space blocks in compressor and decompressor; see `CompressorConfig`.

    Attributes:
        ssm_layers: blocks in the compressor, and as many in the decompressor.
        ssm_state: N of the blocks, numbers of state per channel.
        ssm_head_dim: P of the blocks, width of a head; must divide 2 D.
    """

    kind = "ssm"
    ssm_layers: Annotated[int, at_least(1, MOST_LAYERS)] = 1
    ssm_state: Size = 16
    ssm_head_dim: Size = 64

    def __post_init__(self):
        """Refuse blocks that cannot be built."""
        super().__post_init__()
        _ = self.block

    def compressor(self) -> Chunker:
        """Return the blocks of which one step in C is kept."""
        return SSMCompressor(self)

    def decompressor(self) -> Dechunker:
        """Return the blocks over C copies of every latent."""
        return SSMDecompressor(self)

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return the FLOPs of the blocks of compressor and decompressor."""
        flops = float(self.ssm_layers * self.block.forward_flops(length))
        return {"compress": flops, "decompress": flops}

    @property
    def is_causal(self) -> tuple[bool, bool]:
        """True, True: a state-space block reads from left to right."""
        return True, True

    @property
    def block(self) -> SSMConfig:
        """The config of one state-space block."""
        return SSMConfig(
            d_model=self.d_model,
            d_state=self.ssm_state,
            head_dim=self.ssm_head_dim,
            dtype=self.dtype,
        )


class SSMCompressor(nn.Module):
    """The compressor: blocks over [B, T, D]; latent k is the last real step of group k.

    It is causal: latent k depends on positions up to the end of its group. It knows later text only
    as far as the encoder has put it into these positions.
    """

    config: SSMCompressorConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the latents of a batch; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        x_BTD = config.real_positions(x_BTD, mask_BT)
        for i in range(config.ssm_layers):
            x_BTD = MambaBlock(config.block, name=f"block_{i}")(x_BTD)
        x_BTD = LayerNorm(name="norm")(x_BTD)
        mask_BKC = group_positions(mask_BT, config.factor)
        last_BK = jnp.maximum(jnp.sum(mask_BKC, axis=-1), 1) - 1
        is_last_BKC = last_BK[..., None] == jnp.arange(config.factor)[None, None]
        # A masked sum, because the gradient of a gather would be a scatter.
        x_BKCD = group_positions(x_BTD, config.factor)
        z_BKD = jnp.sum(jnp.where(is_last_BKC[..., None], x_BKCD, 0), axis=2)
        return config.chunks(z_BKD, latent_mask(mask_BT, config.factor), mask_BT.shape[1])


class SSMDecompressor(nn.Module):
    """The decompressor: blocks over C copies of every latent, each plus its own offset."""

    decays = {"offsets": False}

    config: SSMCompressorConfig

    @nn.compact
    def __call__(self, z_BKD: jax.Array, chunks: Chunks, *, train: bool = False) -> jax.Array:
        """Return positions [B, T, D]; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        mask_BK, length = chunks.mask_BK, chunks.chunk_of_BT.shape[1]
        # Unit variance, like a latent: with small offsets the C copies would begin almost equal.
        offsets_CD = self.param(
            "offsets", nn.initializers.normal(1.0), (config.factor, config.d_model), jnp.float32
        )
        z_BKD = config.real_latents(z_BKD, chunks)
        x_BKCD = z_BKD[:, :, None] + offsets_CD[None, None].astype(config.dtype)
        x_BTD = x_BKCD.reshape(z_BKD.shape[0], -1, config.d_model)[:, :length]
        for i in range(config.ssm_layers):
            x_BTD = MambaBlock(config.block, name=f"block_{i}")(x_BTD)
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)
