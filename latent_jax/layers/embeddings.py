"""Tables of vectors: one row per id, one row per position (Radford et al. 2019 train both)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.sharding_constraints import rows


class TokenEmbedding(nn.Module):
    """V learned rows of width D: reads ids, and as the tied head scores vectors."""

    decays = {"embedding": True}

    vocab_size: int
    d_model: int
    dtype: str = "float32"

    def setup(self):
        """Create the table, float32[V, D]."""
        self.embedding = self.param(
            "embedding",
            nn.initializers.normal(0.02),
            (self.vocab_size, self.d_model),
            jnp.float32,
        )

    def __call__(self, ids_BT: jax.Array) -> jax.Array:
        """Return the rows of `ids_BT` (int32), [B, T, D] in the compute dtype."""
        return rows(self.embedding[ids_BT].astype(self.dtype))

    def attend(self, x_BTD: jax.Array) -> jax.Array:
        """Return logits x W^T, float32[B, T, V]; the operands are in the compute dtype."""
        dtype = jnp.dtype(self.dtype)
        return jnp.einsum(
            "BTD,VD->BTV",
            x_BTD.astype(dtype),
            self.embedding.astype(dtype),
            preferred_element_type=jnp.float32,
        )


class PositionEmbedding(nn.Module):
    """One learned row per position, added to the input."""

    decays = {"embedding": False}

    max_length: int

    @nn.compact
    def __call__(self, x_BTD: jax.Array, position_B: jax.Array | None = None) -> jax.Array:
        """Return x plus the first T rows, in x's dtype; or, for T = 1, plus row `position_B`.

        Raises:
            ValueError: T is more than `max_length`.
        """
        length, d_model = x_BTD.shape[1:]
        if length > self.max_length:
            raise ValueError(
                f"the input has {length} positions, the model {self.max_length}: "
                "shorten the rows or raise max_length"
            )
        positions_TD = self.param(
            "embedding", nn.initializers.normal(0.01), (self.max_length, d_model), jnp.float32
        )
        if position_B is not None:
            return x_BTD + positions_TD[position_B][:, None].astype(x_BTD.dtype)
        x_BTD = x_BTD + positions_TD[None, :length].astype(x_BTD.dtype)
        # The gradient of positions sums that of x over rows. XLA would sum that of every layer by
        # itself, because a sum of sums is a sum, and read each once more.
        return jax.lax.optimization_barrier(x_BTD)
