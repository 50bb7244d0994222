"""No quantization: latents pass as they are, for ablations against a continuous bottleneck."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.quantizers.base import Quantized, QuantizerConfig


class Identity(nn.Module):
    """The "quantizer" of continuous latents: z_q is z, and there are no codes to count."""

    config: QuantizerConfig

    def __call__(self, z_BKD: jax.Array, mask_BK: jax.Array, *, train: bool = False) -> Quantized:
        """Return the latents unchanged, with codes of -1 and empty `code_counts`."""
        del train
        stats = {
            "code_counts": jnp.zeros((0,)),
            "quantization_error_sum": jnp.zeros(()),
            "n_latents": jnp.sum(mask_BK.astype(jnp.float32)),
            "n_restarted": jnp.zeros(()),
        }
        return Quantized(z_BKD, jnp.full(mask_BK.shape, -1, jnp.int32), jnp.zeros(()), stats)

    def lookup(self, codes_BK: jax.Array) -> jax.Array:
        """Raise ValueError: continuous latents have no codes."""
        raise ValueError(_NO_CODES.format("lookup"))

    def log_assignment(self, z_BKD: jax.Array) -> jax.Array:
        """Raise ValueError: continuous latents have no codes."""
        raise ValueError(_NO_CODES.format("log_assignment"))


_NO_CODES = "quantizer kind 'none' is continuous and has no codes for {}; use kind 'vq' or 'fsq'"
