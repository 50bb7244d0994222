"""Compression by a learned linear map of the time axis, T -> K, and decompression by K -> T.

Fifty 2025 maps the T values of every feature to K values. One map per feature needs D T^2 / C
parameters in the compressor and as many in the decompressor (16.8M each at D = 128, T = 512,
C = 2). It is bound by memory and takes about six times as long as one map for all features. A
single map, however, cannot keep the positions of a group apart. `sequence_groups` sets the number
of maps; groups of neighbouring features share one. No map mixes features; encoder and decoder do.
"""

import dataclasses
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.fixed.base import (
    CompressorConfig,
    latent_mask,
    position_mask,
    zero_padding,
)
from latent_jax.chunking.fixed.registry import register
from latent_jax.contracts import Chunker, Chunks, Dechunker
from latent_jax.ranges import at_least


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceLinearConfig(CompressorConfig):
    """The config of linear maps over time; see `CompressorConfig`.

    Attributes:
        sequence_groups: number of maps over time, each shared by D / sequence_groups features and
            of max_length^2 / C parameters. 0 means one map per feature.
    """

    kind = "sequence_linear"
    sequence_groups: Annotated[int, at_least(0, 2**16)] = 0

    def __post_init__(self):
        """Refuse groups of unequal size."""
        super().__post_init__()
        self.check_divides("sequence_groups", self.n_groups)

    def compressor(self) -> Chunker:
        """Return the maps T -> K."""
        return SequenceLinearCompressor(self)

    def decompressor(self) -> Dechunker:
        """Return the maps K -> T."""
        return SequenceLinearDecompressor(self)

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return the FLOPs of both maps."""
        flops = 2.0 * self.n_latents(length) * self.d_model
        return {"compress": flops, "decompress": flops}

    @property
    def is_causal(self) -> tuple[bool, bool]:
        """False, False: a latent may read every position, and a position every latent."""
        return False, False

    @property
    def n_groups(self) -> int:
        """The number of maps over time: `sequence_groups`, or D where that is 0."""
        return self.sequence_groups or self.d_model


NOISE = 0.02
"""Scale of the noise on initial maps, which breaks the symmetry between features: each weight gets
a standard deviation of NOISE / sqrt(inputs)."""


class SequenceLinearCompressor(nn.Module):
    """The compressor: z[k, d] = sum_t map[group of d, t, k] x[t, d] + bias[k]."""

    decays = {"kernel": True, "bias": False}

    config: SequenceLinearConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the latents of a batch; see `latent_jax.chunking.fixed.base`.

        A latent may read every real position of the row; padding is zero and has no effect.
        """
        del train
        config = self.config
        x_BTD = config.real_positions(x_BTD, mask_BT)
        n_latents = config.n_latents(x_BTD.shape[1])
        map_GTK, bias_K = _time_map(self, config, config.max_length, config.max_latents)
        z_BKD = _map_time(x_BTD, map_GTK[:, : x_BTD.shape[1], :n_latents], bias_K[:n_latents])
        return config.chunks(z_BKD, latent_mask(mask_BT, config.factor), mask_BT.shape[1])


class SequenceLinearDecompressor(nn.Module):
    """The decompressor: x[t, d] = sum_k map[group of d, k, t] z[k, d] + bias[t]."""

    decays = {"kernel": True, "bias": False}

    config: SequenceLinearConfig

    @nn.compact
    def __call__(self, z_BKD: jax.Array, chunks: Chunks, *, train: bool = False) -> jax.Array:
        """Return positions [B, T, D]; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        mask_BK, length = chunks.mask_BK, chunks.chunk_of_BT.shape[1]
        z_BKD = config.real_latents(z_BKD, chunks)
        map_GKT, bias_T = _time_map(self, config, config.max_latents, config.max_length)
        x_BTD = _map_time(z_BKD, map_GKT[:, : z_BKD.shape[1], :length], bias_T[:length])
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)


def _time_map(
    module: nn.Module, config: SequenceLinearConfig, n_in: int, n_out: int
) -> tuple[jax.Array, jax.Array]:
    """Return the maps [group, in, out] and a bias per output step, in the compute dtype."""

    def init(key, shape, dtype):
        # The map of group g begins by taking position g mod C of every C positions. So the features
        # of a latent hold all C positions, and the initial decompressor puts each back in place.
        n_groups = shape[0]
        t = jnp.arange(config.max_length)[None]
        kept = t % config.factor == jnp.arange(n_groups)[:, None] % config.factor
        latent = jax.nn.one_hot(t[0] // config.factor, config.max_latents, dtype=dtype)
        start_GTK = kept[..., None] * latent[None]
        start = start_GTK if shape[1:] == start_GTK.shape[1:] else start_GTK.swapaxes(1, 2)
        return start + jax.random.normal(key, shape, dtype) * NOISE / n_in**0.5

    kernel = module.param("kernel", init, (config.n_groups, n_in, n_out), jnp.float32)
    bias = module.param("bias", nn.initializers.zeros, (n_out,), jnp.float32)
    return kernel.astype(config.dtype), bias.astype(config.dtype)


def _map_time(x_BTD: jax.Array, map_GTS: jax.Array, bias_S: jax.Array) -> jax.Array:
    """Return [B, S, D]: every group of features mapped from T to S steps by its map, plus bias."""
    n_batch, length, d_model = x_BTD.shape
    n_groups, _, n_out = map_GTS.shape
    x_BTGF = x_BTD.reshape(n_batch, length, n_groups, d_model // n_groups)
    y_BSGF = jnp.einsum("btgf,gts->bsgf", x_BTGF, map_GTS)
    return y_BSGF.reshape(n_batch, n_out, d_model) + bias_S[None, :, None]
