"""The boundary predictor of dynamic token pooling: two dense layers on the encoder's result.

Nawrot et al. 2023, "Efficient Transformers with Dynamic Token Pooling" (arXiv 2211.09761), section
2.2: p_t = sigmoid(MLP(x_t)). As in the authors' code the hidden layer is four times as wide, its
activation is GELU, and the gradient goes on into the encoder. It is computed in float32. Kernels
are drawn so that log-odds differ by about 1 from the start: a threshold needs something to divide.

Three routers have it and differ by what teaches it: `gumbel`, `spikes` and `taught`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.layers.dense import Dense

HIDDEN = 4
"""Width of the hidden layer, as a multiple of that of the stage."""


class Predictor(Router):
    """A router that predicts boundaries by an MLP of the position's vector."""

    weight = 1.0

    def setup(self):
        """Create the two layers."""
        words = dict(dtype="float32", kernel_init=nn.initializers.lecun_normal())
        self.hidden = Dense((self.width,), (HIDDEN * self.width,), **words)
        self.out = Dense((HIDDEN * self.width,), (1,), **words)

    def log_odds(self, sight: Sight) -> jax.Array:
        """Return log-odds of boundaries, float32[B, T]."""
        hidden_BTF = nn.gelu(self.hidden(sight.x_BTD), approximate=False)
        return self.out(hidden_BTF)[..., 0]

    @classmethod
    def forward_flops(cls, width: int) -> float:
        """Return the FLOPs of the two layers; see `Part`."""
        return 2.0 * HIDDEN * width * (width + 1)


class TaughtPredictor(Predictor):
    """A predictor that the task teaches, see `Router.taught_by`."""

    def __call__(self, sight: Sight) -> jax.Array:
        """Return p_t; see `Router`."""
        return jax.nn.sigmoid(self.log_odds(sight))

    @staticmethod
    def loss(is_boundary_BT, p_BT, mask_BT, rate):
        """Return 0: the task knows the targets; see `Router`."""
        del is_boundary_BT, p_BT, mask_BT, rate
        return jnp.zeros((), jnp.float32)
