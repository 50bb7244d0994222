"""The feed-forward part of a block: two dense layers with a non-linearity between them.

Vaswani et al. 2017, "Attention Is All You Need", section 3.3. Gated: Shazeer 2020, "GLU Variants
Improve Transformer", section 2.
"""

import functools

import flax.linen as nn
import jax

from latent_jax.layers.activations import ACTIVATIONS
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dense import Dense, residual_init


class FeedForward(nn.Module):
    """The map of x_BTD to act(x W_up) W_down, [B, T, D], in the config's dtype.

    Gated: (act(x W_gate) * (x W_up)) W_down. Each dense layer adds a bias if `config.use_bias`.
    """

    config: TransformerConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return the result of the two layers at every position, [B, T, D]."""
        config = self.config
        wide, narrow = (config.hidden_size,), (config.d_model,)
        dense = functools.partial(Dense, dtype=config.dtype, use_bias=config.use_bias)
        activation = ACTIVATIONS[config.activation]
        h_BTF = dense(narrow, wide, name="up")(x_BTD)
        if config.gated:
            gate_BTF = dense(narrow, wide, name="gate")(x_BTD)
            h_BTF = jax.checkpoint(lambda gate, up: activation(gate) * up)(gate_BTF, h_BTF)
        else:
            h_BTF = jax.checkpoint(activation)(h_BTF)
        return dense(wide, narrow, kernel_init=residual_init(config.n_layers), name="down")(h_BTF)
