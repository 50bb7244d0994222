"""A BERT encoder (Devlin et al. 2018), in which every position sees the whole row.

Unlike the paper's, its blocks are pre-norm as in GPT-2, so that both networks share one block.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.block import Stack
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dropout import Dropout
from latent_jax.layers.embeddings import PositionEmbedding, TokenEmbedding


@dataclasses.dataclass(frozen=True, kw_only=True)
class BERTConfig(TransformerConfig):
    """A `TransformerConfig`; a `vocab_size` of 0 makes an encoder that reads vectors only."""

    vocab_size: int = 0

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per position by component; see `GPTConfig.forward_flops`."""
        return {"embedding": 0.0, **self.stack_flops(length)}


class BERT(nn.Module):
    """A transformer without a causal mask; there is no head."""

    config: BERTConfig

    def setup(self):
        """Create the tables and the blocks."""
        config = self.config
        if config.vocab_size:
            self.token_embedding = TokenEmbedding(config.vocab_size, config.d_model, config.dtype)
        if config.positions == "learned":
            self.position_embedding = PositionEmbedding(config.max_length)
        self.dropout = Dropout(config.dropout)
        self.stack = Stack(config, causal=False)

    def __call__(
        self, inputs: jax.Array, mask_BT: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """Return the stream after the final norm, [B, T, D] in the config's dtype.

        Args:
            inputs: ids int32[B, T], or vectors float[B, T, D].
            mask_BT: bool, True where the position is real; None means all. Padding must be at the
                end of a row. No position reads it; ignore the output at padding.
            train: whether dropout is on; it needs the rng stream "dropout" if the rate is not 0.

        Raises:
            ValueError: T exceeds `max_length` under learned positions, or ids are given to a model
                without a vocabulary.
        """
        if jnp.issubdtype(inputs.dtype, jnp.integer):
            if not self.config.vocab_size:
                raise ValueError(
                    "this BERT has vocab_size 0 and reads vectors only: "
                    "pass float[B, T, D], or set vocab_size"
                )
            x_BTD = self.token_embedding(inputs)
        else:
            x_BTD = inputs.astype(self.config.dtype)
        if self.config.positions == "learned":
            x_BTD = self.position_embedding(x_BTD)
        lengths_B = None if mask_BT is None else jnp.sum(mask_BT, axis=1, dtype=jnp.int32)
        x_BTD, _ = self.stack(self.dropout(x_BTD, train=train), lengths_B, train)
        return x_BTD
