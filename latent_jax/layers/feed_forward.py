"""The feed-forward part of a block: two dense layers with a non-linearity between them.

Vaswani et al. 2017, "Attention Is All You Need", section 3.3.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.activations import ACTIVATIONS
from latent_jax.layers.config import TransformerConfig


class FeedForward(nn.Module):
    """Map x_BTD to act(x W_up + b_up) W_down + b_down, shape [B, T, D], in the config's dtype."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Apply the two layers to every position alone."""
        config = self.config
        dtype = jnp.dtype(config.dtype)
        h_BTF = nn.Dense(
            config.hidden_size, dtype=dtype, kernel_init=nn.initializers.normal(0.02), name="up"
        )(x_BTD)
        h_BTF = ACTIVATIONS[config.activation](h_BTF)
        return nn.Dense(
            config.d_model,
            dtype=dtype,
            kernel_init=residual_init(config.n_layers),
            name="down",
        )(h_BTF)


def residual_init(n_layers: int) -> nn.initializers.Initializer:
    """Return the initializer of a layer that writes to the residual stream.

    A stack of N blocks adds 2 N branches to the stream, so GPT-2 scales their weights by
    1 / sqrt(2 N) (Radford et al. 2019, section 2.3).
    """
    return nn.initializers.normal(0.02 / (2 * n_layers) ** 0.5)
