"""Tables of vectors: one row per id, one row per position (Radford et al. 2019 train both)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.sharding_constraints import rows


class TokenEmbedding(nn.Module):
    """A table of V learned rows of width D; it embeds ids and, as the tied head, gives logits."""

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
        """Return the embeddings of ids, int32[B, T], as [B, T, D] in the compute dtype."""
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
        """Return x plus the rows of its positions, in x's dtype.

        Args:
            x_BTD: the input; T = 1 if `position_B` is given.
            position_B: int32, the position of each row of the batch; None = 0 to T - 1.

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
        # The gradient of the position table is the sum over rows of the gradient of x, to which
        # every layer adds a part. Without the barrier XLA would sum each part separately and read
        # it once more.
        return jax.lax.optimization_barrier(x_BTD)
