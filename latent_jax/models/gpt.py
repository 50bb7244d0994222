"""The causal transformer of all language models of this project.

By default it is GPT-2 (Radford et al. 2019): learned positions, pre-norm blocks, a head tied to the
embedding table. Options of `TransformerConfig` make it the decoder of Lester et al. 2024 (relative
positions, gated feed-forward, RMS norm, no biases) or a Llama with tied embeddings (rotary
positions, grouped-query attention, gated SiLU, RMS norm, no biases).
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.block import Stack
from latent_jax.layers.cache import Cache, empty_cache
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dropout import Dropout
from latent_jax.layers.embeddings import PositionEmbedding, TokenEmbedding


@dataclasses.dataclass(frozen=True, kw_only=True)
class GPTConfig(TransformerConfig):
    """A `TransformerConfig` whose `vocab_size` is also the number of logits."""

    def __post_init__(self):
        """Check every word and number."""
        super().__post_init__()
        if self.vocab_size < 1:
            raise ValueError(f"a GPT predicts ids: vocab_size must be >= 1, got {self.vocab_size}")

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per position by component, for rows of `length` positions.

        An embedding is a look-up and costs 0. Training costs three times the sum.
        """
        return {
            "embedding": 0.0,
            **self.stack_flops(length),
            "head": 2.0 * self.d_model * self.vocab_size,
        }

    def empty_cache(self, batch_size: int, length: int) -> Cache:
        """Return rings of `length` slots for `GPT.step`, [n_layers, B, G, S, d]."""
        one = empty_cache(batch_size, self.key_value_heads, length, self.head_size, self.dtype)
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * self.n_layers), one)


class GPT(nn.Module):
    """A causal transformer: the logits at position t depend on inputs up to t only."""

    config: GPTConfig

    def setup(self):
        """Create the tables and the blocks."""
        config = self.config
        self.token_embedding = TokenEmbedding(config.vocab_size, config.d_model, config.dtype)
        if config.positions == "learned":
            self.position_embedding = PositionEmbedding(config.max_length)
        self.dropout = Dropout(config.dropout)
        self.stack = Stack(config, causal=True)

    def __call__(self, inputs: jax.Array, *, train: bool = False) -> jax.Array:
        """Return logits float32[B, T, V].

        Args:
            inputs: ids int32[B, T], or vectors float[B, T, D] in place of embedded ids.
            train: whether dropout is on; it needs the rng stream "dropout" if the rate is not 0.

        Raises:
            ValueError: T exceeds `max_length` under learned positions.
        """
        return self.logits(self.features(inputs, train=train))

    def embed(self, ids_BT: jax.Array) -> jax.Array:
        """Return the embeddings of ids int32[B, T], [B, T, D], without positions."""
        return self.token_embedding(ids_BT)

    def features(self, inputs: jax.Array, *, train: bool = False) -> jax.Array:
        """Return the stream after the final norm, [B, T, D] in the compute dtype."""
        x_BTD = self._read(inputs)
        if self.config.positions == "learned":
            x_BTD = self.position_embedding(x_BTD)
        x_BTD, _ = self.stack(self.dropout(x_BTD, train=train), train=train)
        return x_BTD

    def prefill(
        self, inputs: jax.Array, lengths_B: jax.Array, cache: Cache
    ) -> tuple[jax.Array, Cache]:
        """Read the first inputs of each lane in one pass; `step` continues at `lengths_B`.

        Args:
            inputs: ids int32[B, T], or vectors float[B, T, D], padded at the end.
            lengths_B: int32, number of inputs of each lane, at least 1.
            cache: from `empty_cache`, of at least T slots.

        Returns:
            The logits after the last input of each lane, float32[B, V], and the cache.
        """
        x_BTD = self._read(inputs)
        if self.config.positions == "learned":
            x_BTD = self.position_embedding(x_BTD)
        x_BTD, cache = self.stack(x_BTD, cache=cache)
        last_B1D = jnp.take_along_axis(x_BTD, lengths_B[:, None, None] - 1, axis=1)
        return self.logits(last_B1D)[:, 0], cache

    def step(
        self, inputs: jax.Array, cache: Cache, position_B: jax.Array
    ) -> tuple[jax.Array, Cache]:
        """Read one id per lane and return the logits after it, float32[B, V], and the new cache.

        Args:
            inputs: ids int32[B], or vectors float[B, D].
            cache: from `empty_cache` or the previous call. A step attends to the last S positions.
            position_B: int32, number of ids that each lane has read before; it must stay below
                `max_length` under learned positions.
        """
        x_B1D = self._read(inputs[:, None])
        if self.config.positions == "learned":
            x_B1D = self.position_embedding(x_B1D, position_B)
        x_B1D, cache = self.stack(x_B1D, cache=cache, position_B=position_B)
        return self.logits(x_B1D)[:, 0], cache

    def _read(self, inputs: jax.Array) -> jax.Array:
        is_ids = jnp.issubdtype(inputs.dtype, jnp.integer)
        return self.embed(inputs) if is_ids else inputs.astype(self.config.dtype)

    def logits(self, x_BTD: jax.Array) -> jax.Array:
        """Return the logits of features, float32[B, T, V], from the tied embedding table."""
        return self.token_embedding.attend(x_BTD)
