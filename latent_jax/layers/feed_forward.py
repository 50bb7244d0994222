"""The feed-forward part of a block: two dense layers with a non-linearity between them.

Vaswani et al. 2017, "Attention Is All You Need", section 3.3.
"""

import flax.linen as nn
import jax

from latent_jax.layers.activations import ACTIVATIONS
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dense import Dense, residual_init


class FeedForward(nn.Module):
    """Map x_BTD to act(x W_up + b_up) W_down + b_down, shape [B, T, D], in the config's dtype."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Apply the two layers to every position alone."""
        config = self.config
        wide, narrow = (config.hidden_size,), (config.d_model,)
        h_BTF = Dense(narrow, wide, config.dtype, name="up")(x_BTD)
        h_BTF = ACTIVATIONS[config.activation](h_BTF)
        return Dense(wide, narrow, config.dtype, residual_init(config.n_layers), name="down")(h_BTF)
