"""Finite scalar quantization: a few dimensions are bounded, and each is rounded to its levels.

Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple" (arXiv 2309.15505), section 3
and appendix A.1. There is no codebook to learn and no auxiliary loss: the codebook is the grid of
all level combinations, and a code is the mixed-radix number of its levels.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.quantizers import gradients, statistics
from latent_jax.quantizers.base import Quantized, QuantizerConfig

_EPSILON = 1e-3  # keeps the outermost levels reachable by a finite tanh


class FSQ(nn.Module):
    """A quantizer to the nearest point of a fixed grid in [-1, 1]^E."""

    config: QuantizerConfig

    def setup(self):
        """Declare the two projections and the constants of the grid."""
        self.levels = self.config.levels
        # The first dimension is the least significant digit of a code.
        self.basis = np.cumprod((1, *self.levels[:-1])).astype(np.int32)
        self.project_in = nn.Dense(len(self.levels))
        self.project_out = nn.Dense(self.config.d_model)

    def __call__(self, z_BKD: jax.Array, mask_BK: jax.Array, *, train: bool = False) -> Quantized:
        """Quantize latents; see `Quantized`. `aux_loss` and "n_restarted" are always 0.

        Args:
            z_BKD: latents of any float dtype; the grid is computed in float32.
            mask_BK: bool, True where a latent is real.
            train: has no effect, because there is no state.

        Raises:
            ValueError: the latents are not `d_model` wide.
        """
        del train
        bounded_BKE = self._bound(z_BKD)
        rounded_BKE = jnp.round(bounded_BKE)
        grid_BKE = gradients.straight_through(bounded_BKE, rounded_BKE)
        digits_BKE = rounded_BKE.astype(jnp.int32) + self._half()
        codes_BK = jnp.sum(digits_BKE * self.basis[None, None], axis=-1)

        weights_BK = mask_BK.astype(jnp.float32)
        # In units of the grid's [-1, 1].
        errors_BKE = (bounded_BKE - rounded_BKE) / self._half()
        error_sum = jnp.sum(jnp.sum(jnp.square(errors_BKE), axis=-1) * weights_BK)
        counts_V = statistics.count_codes(
            codes_BK.reshape(-1), mask_BK.reshape(-1), self.config.codebook_size
        )
        return Quantized(
            self.project_out(grid_BKE / self._half()).astype(z_BKD.dtype),
            codes_BK,
            jnp.zeros(()),
            {
                "code_counts": counts_V,
                "quantization_error_sum": jax.lax.stop_gradient(error_sum),
                "n_latents": jnp.sum(weights_BK),
                "n_restarted": jnp.zeros(()),
            },
        )

    def lookup(self, codes_BK: jax.Array) -> jax.Array:
        """Return the float32 vectors [B, K, D] that `__call__` gives for these codes.

        Codes may have any shape [...], such as [B] in generation; the result is then [..., D].
        """
        shape = (1,) * codes_BK.ndim + (-1,)
        levels = np.asarray(self.levels, np.int32).reshape(shape)
        digits = codes_BK[..., None] // self.basis.reshape(shape) % levels
        half = levels // 2
        return self.project_out((digits - half).astype(jnp.float32) / half)

    def log_assignment(self, z_BKD: jax.Array) -> jax.Array:
        """Return log-probabilities [B, K, V]: log_softmax of -squared distance / temperature.

        The squared distance to a grid point is a sum over dimensions, and the codes are all
        combinations of levels. So the softmax is the product of one small softmax per dimension.
        """
        bounded_BKE = self._bound(z_BKD)
        half = self._half().reshape(-1)
        log_p_BKV = jnp.zeros((*bounded_BKE.shape[:-1], 1))
        for i, n in enumerate(self.levels):
            offsets = (bounded_BKE[..., i, None] - (np.arange(n) - half[i])[None, None]) / half[i]
            log_p = jax.nn.log_softmax(-jnp.square(offsets) / self.config.temperature)
            # Later dimensions are more significant digits, so their levels become the outer axis.
            log_p_BKV = log_p[..., :, None] + log_p_BKV[..., None, :]
            log_p_BKV = log_p_BKV.reshape(*bounded_BKE.shape[:-1], -1)
        return log_p_BKV

    def _half(self):
        """Return half the number of levels, rounded down, [1, 1, E]; levels count from -half."""
        return (np.asarray(self.levels, np.int32) // 2)[None, None]

    def _bound(self, z_BKD):
        """Project and bound latents, so that rounding gives exactly `levels` values."""
        if z_BKD.shape[-1] != self.config.d_model:
            raise ValueError(
                f"latents are {z_BKD.shape[-1]} wide but the quantizer has d_model = "
                f"{self.config.d_model}; give both the same width"
            )
        z_BKE = self.project_in(z_BKD.astype(jnp.float32))
        levels = np.asarray(self.levels, np.float32)[None, None]
        reach = (levels - 1) * (1 + _EPSILON) / 2
        # An even number of levels has no middle level. So the result of the tanh is shifted by half
        # a level, and its argument is shifted so that 0 is still mapped to 0.
        offset = np.where(levels % 2 == 0, np.float32(0.5), np.float32(0.0))
        shift = np.arctanh(offset / reach)
        return jnp.tanh(z_BKE + shift) * reach - offset
