"""How thoughts are explored in the second phase, and how they are trained by what follows.

A thought is no action by itself: roll-outs differ in their tokens only, and the gradient of what
was written flows through the thoughts. The other kinds draw thoughts, with numbers that depend on a
seed of the solution alone, so that the update reads the very thoughts that the roll-out had:

- "through": the thought itself, and the gradient flows through it;
- "stop": the same, and no gradient flows, so that thoughts change only with the shared weights;
- "gaussian": noise is added, and the thought is an action of a normal policy around its mean, with
  a log-probability of its own; no gradient flows through its value;
- "dropout": a share of its features is left out and the others are scaled up (Srivastava et al.
  2014), and the gradient flows;
- "hrpo": in each slot a token is drawn, which is an action, and a learned gate mixes its embedding
  with the thought; see `layers.gate`. The gradient reaches gate and token, not the thought. It is
  no noise, and evaluation does the same with the likeliest token.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from latent_jax.models.trunks import Trunks
from latent_jax.ranges import check_fields, one_of, within

NOISES = ("through", "stop", "gaussian", "dropout")
"""What is done to a thought by itself."""

GRADIENTS = (*NOISES, "hrpo")

N_SEEDS = 1 << 24
"""Seeds are below it, so that float32 holds them exactly."""


@dataclasses.dataclass(frozen=True)
class ThoughtNoise:
    """What is done to thoughts in roll-outs and updates.

    Attributes:
        kind: one of `GRADIENTS`.
        scale: "gaussian": standard deviation, in root mean squares of the thought; "dropout": the
            share of features that is left out.

    Raises:
        ValueError: a value is out of range.
    """

    kind: Annotated[str, one_of(GRADIENTS)] = "through"
    scale: Annotated[float, within("(0, 1)")] = 0.1

    def __post_init__(self):
        check_fields(self, "policy.")

    @property
    def is_drawn(self) -> bool:
        """Whether thoughts depend on a seed."""
        return self.kind in ("gaussian", "dropout")

    @property
    def has_tokens(self) -> bool:
        """Whether a token is drawn for each thought."""
        return self.kind == "hrpo"

    def draw(self, seeds_B: jax.Array, n_blocks: int, n_slots: int, width: int) -> jax.Array:
        """Return the numbers of solutions, float32[B, J, K, D].

        Args:
            seeds_B: int32, one for each solution.
            n_blocks: J.
            n_slots: K.
            width: D.
        """
        draw = jax.random.uniform if self.kind == "dropout" else jax.random.normal
        shape = (n_blocks, n_slots, width)
        return jax.vmap(lambda seed: draw(jax.random.key(seed), shape))(seeds_B)

    def disturb(self, thought: jax.Array, drawn: jax.Array) -> jax.Array:
        """Return the thoughts that are read, in their dtype.

        Args:
            thought: [..., D], as the reasoner makes them.
            drawn: float32[..., D], from `draw`.
        """
        if self.kind == "hrpo":
            raise ValueError("policy.gradient='hrpo' mixes thoughts with tokens, and disturbs none")
        if self.kind == "through":
            return thought
        if self.kind == "dropout":
            kept = (drawn >= self.scale).astype(thought.dtype)
            return thought * kept / (1 - self.scale)
        thought = jax.lax.stop_gradient(thought)
        if self.kind == "stop":
            return thought
        return (thought + self._deviation(thought) * drawn).astype(thought.dtype)

    def nats(self, trunks: Trunks, h_BSJD: jax.Array, v_BSJD: jax.Array) -> jax.Array:
        """Return -log p of thoughts but for D log(2 pi) / 2, float32[B, K, J].

        The deviation counts, so that ratios between two policies are right, but has no gradient.

        Args:
            trunks: of the reasoner.
            h_BSJD: the states behind start and each thought.
            v_BSJD: what slots hold.
        """
        mean_BKJD = trunks.project(h_BSJD[:, :-1]).astype(jnp.float32)
        away_BKJD = jax.lax.stop_gradient(v_BSJD[:, 1:].astype(jnp.float32)) - mean_BKJD
        deviation_BKJ1 = self._deviation(mean_BKJD)
        square_BKJ = jnp.sum(jnp.square(away_BKJD / deviation_BKJ1), axis=-1)
        return 0.5 * square_BKJ + mean_BKJD.shape[-1] * jnp.log(deviation_BKJ1[..., 0])

    def _deviation(self, thought: jax.Array) -> jax.Array:
        """Return the standard deviation of each feature, float32[..., 1], without a gradient."""
        square = jnp.square(jax.lax.stop_gradient(thought).astype(jnp.float32))
        return self.scale * jnp.sqrt(jnp.mean(square, axis=-1, keepdims=True) + 1e-12)
