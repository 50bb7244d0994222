"""A router that learns by trial: boundaries are drawn, and those that helped become likelier.

"You can learn tokenization with RL" (arXiv 2602.13940) and ReinPatch (arXiv 2603.26097): the
boundaries of training are actions of a policy, drawn by their probabilities, and the gradient is
that of the score function, advantage times log-probability, and none flows through the chunks. The
task repeats rows and compares their nats (`tasks.boundary_policy`). Here the threshold moves the
policy, so that evaluation, which draws nothing, has the rate that is asked for; ReinPatch too
leaves the rate to its environment, and not to a loss. Without control nothing holds the rate,
unless `hierarchy.boundary_weight` states a weight of the ratio loss.

Two layers read the position and the one before it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.chunking.dynamic.registry import register
from latent_jax.layers.dense import Dense

SPREAD = 3.0
"""Standard deviation of the first log-odds of vectors of unit size. The threshold is a quantile:
with all log-odds near it, every second position would be drawn, whatever the target."""

SILU_SIZE = 0.6
"""Root of the mean square of SiLU of a standard normal number."""


@register
class Policy(Router):
    """The probabilities that boundaries of training are drawn by."""

    kind = "policy"
    draws = True
    by_reward = True
    weight = 0.0

    def setup(self):
        """Create the two layers."""
        size = (2.0 * self.width) ** -0.5
        first = dict(kernel_init=nn.initializers.normal(size))
        last = dict(kernel_init=nn.initializers.normal(SPREAD / SILU_SIZE / self.width**0.5))
        self.now = Dense((self.width,), (self.width,), **first)
        self.before = Dense((self.width,), (self.width,), use_bias=False, **first)
        self.score = Dense((self.width,), (1,), **last)

    def __call__(self, sight: Sight) -> jax.Array:
        """Return the probabilities; see `Router`."""
        x_BTD = self.now(sight.x_BTD) + self.before(sight.before_BTD)
        return jax.nn.sigmoid(self.score(jax.nn.silu(x_BTD))[..., 0])

    def draw(self, p_BT, key):
        """Return boundaries drawn by `p_BT`, and the same as 0 and 1; see `Router`."""
        drawn_BT = jax.random.bernoulli(key, jax.lax.stop_gradient(p_BT))
        return drawn_BT, drawn_BT.astype(jnp.float32)

    @staticmethod
    def read(p_BT):
        """Return 0 and 1, as in training; see `Router`."""
        return (p_BT > 0.5).astype(jnp.float32)

    @classmethod
    def forward_flops(cls, width: int) -> float:
        """Return the FLOPs of two layers."""
        return 2.0 * 2.0 * width * width + 2.0 * width
