"""Compression by a learned linear map on the time axis, T -> K, for every feature; and back.

The blog maps every feature's T values to K. One map per feature needs D T^2 / C parameters on
each side (16.8M at D = 128, T = 512, C = 2) and, being bound by memory, about six times the time of
one map for all features, which cannot tell the positions of a group apart by itself.
`sequence_groups` sets how many maps there are: groups of neighbouring features share one.
No map mixes features: that is left to the networks on both sides.
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
    """Linear maps over time; see `CompressorConfig`.

    Attributes:
        sequence_groups: maps over time: D / groups features share one. 0 means one map per
            feature, max_length^2 / C parameters each.
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
        """False: a latent may read every position of the row."""
        return False, False

    @property
    def n_groups(self) -> int:
        """Maps over time, with 0 resolved."""
        return self.sequence_groups or self.d_model


NOISE = 0.02
"""Standard deviation of a map's row norm around its start; breaks the symmetry between features."""


class SequenceLinearCompressor(nn.Module):
    """z[k, d] = sum_t map[group of d, t, k] x[t, d] + bias[k]."""

    decays = {"kernel": True, "bias": False}

    config: SequenceLinearConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the latents of a batch; see `latent_jax.chunking.fixed.base`.

        A latent may read every real position of the row; padding is zero and adds nothing.
        """
        del train
        config = self.config
        x_BTD = config.real_positions(x_BTD, mask_BT)
        n_latents = config.n_latents(x_BTD.shape[1])
        map_GTK, bias_K = _time_map(self, config, config.max_length, config.max_latents)
        z_BKD = _map_time(x_BTD, map_GTK[:, : x_BTD.shape[1], :n_latents], bias_K[:n_latents])
        return config.chunks(z_BKD, latent_mask(mask_BT, config.factor), mask_BT.shape[1])


class SequenceLinearDecompressor(nn.Module):
    """x[t, d] = sum_k map[group of d, k, t] z[k, d] + bias[t]."""

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
        # Group g starts as "take position g mod C of every C", so that the features of a latent
        # carry all C positions and the way back finds each where it came from.
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
    """Return [B, S, D]: every group of features mapped from T to S steps."""
    n_batch, length, d_model = x_BTD.shape
    n_groups, _, n_out = map_GTS.shape
    x_BTGF = x_BTD.reshape(n_batch, length, n_groups, d_model // n_groups)
    y_BSGF = jnp.einsum("btgf,gts->bsgf", x_BTGF, map_GTS)
    return y_BSGF.reshape(n_batch, n_out, d_model) + bias_S[None, :, None]
