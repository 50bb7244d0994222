"""Compression by a strided convolution, and decompression by a transposed one.

Latent k reads `kernel_size` positions, centred on its own C positions. Both convolutions are
written as matmuls over patches, because XLA's transposed convolution and its gradient are some
fifteen times slower on a CPU.
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
from latent_jax.ranges import at_least


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class Conv1DConfig(CompressorConfig):
    """The config of a strided and a transposed convolution; see `CompressorConfig`.

    Attributes:
        kernel_size: taps, at least C; 0 means 2 C, so that neighbouring latents share positions.
    """

    kind = "conv1d"
    kernel_size: Annotated[int, at_least(0, 2**16)] = 0

    def __post_init__(self):
        """Refuse a kernel that would skip positions."""
        super().__post_init__()
        if self.n_taps < self.factor:
            raise ValueError(
                f"kernel_size {self.kernel_size} is below the factor {self.factor}, so conv1d "
                "would skip positions; raise it, or take 0 for twice the factor"
            )

    def compressor(self) -> Chunker:
        """Return the convolution."""
        return Conv1DCompressor(self)

    def decompressor(self) -> Dechunker:
        """Return the transposed convolution."""
        return Conv1DDecompressor(self)

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return the FLOPs of both matmuls over patches."""
        flops = self.n_latents(length) / length * 2.0 * self.n_taps * self.d_model**2
        return {"compress": flops, "decompress": flops}

    @property
    def is_causal(self) -> tuple[bool, bool]:
        """Whether no tap reads beyond a latent's group, and whether none reaches back before it."""
        left, _, _ = _geometry(self.n_taps, self.factor, self.max_length)
        return self.n_taps - left <= self.factor, left == 0

    @property
    def n_taps(self) -> int:
        """The number of taps of the kernel."""
        return self.kernel_size or 2 * self.factor


def strided_conv(x_BTD: jax.Array, kernel_JDE: jax.Array, factor: int) -> jax.Array:
    """Return z_BKE, z[k] = sum_j x[k C + j - left] kernel[j], with x zero outside the row.

    K = ceil(T / C), and left = (J - C) // 2 taps read positions before the group. The result is
    that of `lax.conv_general_dilated` with stride C and this padding.
    """
    n_taps, d_in, d_out = kernel_JDE.shape
    left, blocks, n_latents = _geometry(n_taps, factor, x_BTD.shape[1])
    right = (n_latents + blocks - 1) * factor - left - x_BTD.shape[1]
    padded = jax.lax.pad(
        x_BTD, jnp.zeros((), x_BTD.dtype), ((0, 0, 0), (left, right, 0), (0, 0, 0))
    )
    rows = group_positions(padded, factor).reshape(x_BTD.shape[0], -1, factor * d_in)
    patches = [rows[:, j : j + n_latents] for j in range(blocks)]
    patches = jnp.concatenate(patches, axis=-1)[..., : n_taps * d_in]
    return patches @ kernel_JDE.reshape(n_taps * d_in, d_out)


def transposed_conv(z_BKD: jax.Array, kernel_JDE: jax.Array, factor: int, length: int) -> jax.Array:
    """Return x_BTE, x[t] = sum of z[k] kernel[j] over all k, j with k C + j - left = t.

    Position t reads latent k by tap j exactly where latent k reads position t in `strided_conv`.
    """
    n_taps, d_in, d_out = kernel_JDE.shape
    left, blocks, n_latents = _geometry(n_taps, factor, length)
    # Row g of the result (C positions) is a sum over the latents g - blocks + 1 to g.
    padded = jnp.pad(z_BKD, ((0, 0), (blocks - 1, blocks - 1), (0, 0)))
    n_rows = n_latents + blocks - 1
    patches = [padded[:, blocks - 1 - j :][:, :n_rows] for j in range(blocks)]
    patches = jnp.concatenate(patches, axis=-1)
    kernel = jnp.pad(kernel_JDE, ((0, blocks * factor - n_taps), (0, 0), (0, 0)))
    kernel = kernel.reshape(blocks, factor, d_in, d_out).swapaxes(1, 2)
    x = patches @ kernel.reshape(blocks * d_in, factor * d_out)
    return x.reshape(z_BKD.shape[0], -1, d_out)[:, left : left + length]


class Conv1DCompressor(nn.Module):
    """The compressor: a convolution with stride C over [B, T, D]."""

    decays = {"kernel": True, "bias": False}

    config: Conv1DConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the latents of a batch; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        shape = (config.n_taps, config.d_model, config.d_model)
        # Orthonormal columns over all taps, so white input of unit variance keeps unit variance.
        kernel_JDD = self.param("kernel", nn.initializers.orthogonal(), shape, jnp.float32)
        bias_D = self.param("bias", nn.initializers.zeros, (config.d_model,), jnp.float32)
        x_BTD = config.real_positions(x_BTD, mask_BT)
        z_BKD = strided_conv(x_BTD, kernel_JDD.astype(config.dtype), config.factor)
        z_BKD = z_BKD + bias_D[None, None].astype(config.dtype)
        return config.chunks(z_BKD, latent_mask(mask_BT, config.factor), mask_BT.shape[1])


class Conv1DDecompressor(nn.Module):
    """The decompressor: a transposed convolution with stride C over [B, K, D]."""

    decays = {"kernel": True, "bias": False}

    config: Conv1DConfig

    @nn.compact
    def __call__(self, z_BKD: jax.Array, chunks: Chunks, *, train: bool = False) -> jax.Array:
        """Return positions [B, T, D]; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        mask_BK, length = chunks.mask_BK, chunks.chunk_of_BT.shape[1]
        shape = (config.n_taps, config.d_model, config.d_model)
        # Orthonormal rows over all taps, scaled so that the output has unit variance.
        init = nn.initializers.orthogonal(config.factor**0.5)
        kernel_JDD = self.param("kernel", lambda *args: _tap_first(init, *args), shape, jnp.float32)
        bias_D = self.param("bias", nn.initializers.zeros, (config.d_model,), jnp.float32)
        z_BKD = config.real_latents(z_BKD, chunks)
        x_BTD = transposed_conv(z_BKD, kernel_JDD.astype(config.dtype), config.factor, length)
        x_BTD = x_BTD + bias_D[None, None].astype(config.dtype)
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)


def _geometry(n_taps: int, factor: int, length: int) -> tuple[int, int, int]:
    """Return (taps that read before the group, groups of C taps, number of latents)."""
    return (n_taps - factor) // 2, -(-n_taps // factor), -(-length // factor)


def _tap_first(init, key, shape, dtype):
    """Draw a matrix from D latent features to (tap, feature) pairs; return it as [tap, in, out]."""
    n_taps, d_in, d_out = shape
    matrix = init(key, (d_in, n_taps * d_out), dtype)
    return matrix.reshape(d_in, n_taps, d_out).swapaxes(0, 1)
