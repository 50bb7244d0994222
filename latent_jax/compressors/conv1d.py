"""Compression by a strided convolution, and back by its transpose.

Latent k sees `kernel_size` positions, centred on the C that it stands for. A convolution with
stride C is a matmul over patches, and a transposed one too: XLA's transposed convolution and its
gradient are some fifteen times slower on a CPU.
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


def strided_conv(x_BTD: jax.Array, kernel_JDE: jax.Array, factor: int) -> jax.Array:
    """Return z_BKE, z[k] = sum_j x[k C + j - left] kernel[j], zeros outside the row.

    left = (J - C) // 2 taps reach back and the rest ahead; `lax.conv_general_dilated` says the same
    with that padding and stride C. K = ceil(T / C).
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

    The transpose of `strided_conv` in which latents and positions meet.
    """
    n_taps, d_in, d_out = kernel_JDE.shape
    left, blocks, n_latents = _geometry(n_taps, factor, length)
    # Row g of the result, C positions, is written by the latents g - blocks + 1 to g.
    padded = jnp.pad(z_BKD, ((0, 0), (blocks - 1, blocks - 1), (0, 0)))
    n_rows = n_latents + blocks - 1
    patches = [padded[:, blocks - 1 - j :][:, :n_rows] for j in range(blocks)]
    patches = jnp.concatenate(patches, axis=-1)
    kernel = jnp.pad(kernel_JDE, ((0, blocks * factor - n_taps), (0, 0), (0, 0)))
    kernel = kernel.reshape(blocks, factor, d_in, d_out).swapaxes(1, 2)
    x = patches @ kernel.reshape(blocks * d_in, factor * d_out)
    return x.reshape(z_BKD.shape[0], -1, d_out)[:, left : left + length]


class Conv1DCompressor(nn.Module):
    """One latent per C positions: a convolution with stride C over [B, T, D]."""

    config: CompressorConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Latents:
        """Return the latents of a batch; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_positions(config, x_BTD)
        shape = (config.n_taps, config.d_model, config.d_model)
        # Orthonormal columns over all taps: what white input carries arrives at unit variance.
        kernel_JDD = self.param("kernel", nn.initializers.orthogonal(), shape, jnp.float32)
        bias_D = self.param("bias", nn.initializers.zeros, (config.d_model,), jnp.float32)
        x_BTD = zero_padding(x_BTD, mask_BT, config.dtype)
        z_BKD = strided_conv(x_BTD, kernel_JDD.astype(config.dtype), config.factor)
        z_BKD = z_BKD + bias_D[None, None].astype(config.dtype)
        return make_latents(z_BKD, latent_mask(mask_BT, config.factor), config.dtype)


class Conv1DDecompressor(nn.Module):
    """C positions per latent: a transposed convolution with stride C over [B, K, D]."""

    config: CompressorConfig

    @nn.compact
    def __call__(
        self, z_BKD: jax.Array, mask_BK: jax.Array, length: int, *, train: bool = False
    ) -> jax.Array:
        """Return positions [B, length, D]; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_latents(config, z_BKD, length)
        shape = (config.n_taps, config.d_model, config.d_model)
        # Orthonormal rows over all taps, scaled so that unit variance comes out again.
        init = nn.initializers.orthogonal(config.factor**0.5)
        kernel_JDD = self.param("kernel", lambda *args: _tap_first(init, *args), shape, jnp.float32)
        bias_D = self.param("bias", nn.initializers.zeros, (config.d_model,), jnp.float32)
        z_BKD = zero_padding(z_BKD, mask_BK, config.dtype)
        x_BTD = transposed_conv(z_BKD, kernel_JDD.astype(config.dtype), config.factor, length)
        x_BTD = x_BTD + bias_D[None, None].astype(config.dtype)
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)


def _geometry(n_taps: int, factor: int, length: int) -> tuple[int, int, int]:
    """Return (taps that reach back, groups of C taps, number of latents)."""
    return (n_taps - factor) // 2, -(-n_taps // factor), -(-length // factor)


def _tap_first(init, key, shape, dtype):
    """Draw a matrix from D latent features to (tap, feature) pairs; return it as [tap, in, out]."""
    n_taps, d_in, d_out = shape
    matrix = init(key, (d_in, n_taps * d_out), dtype)
    return matrix.reshape(d_in, n_taps, d_out).swapaxes(0, 1)
