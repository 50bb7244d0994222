"""The interface of causal models for decoding: one id in, the logits of the next one out."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.layers.block import by_layer, map_blocks, stacked
from latent_jax.layers.cache import Cache
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig

Variables = Mapping[str, Any]
Caches = tuple[Cache, ...]


class Decoder(abc.ABC):
    """A model whose ids are drawn one after the other.

    A model whose layers are not alike has `empty_cache`, `by_layer` and `step` of its own.

    A lane is one text of a batch.

    Attributes:
        separator_id: the id that ends a lane when it is drawn; None = lanes do not end.
    """

    separator_id: int | None

    @property
    @abc.abstractmethod
    def network(self) -> GPTConfig:
        """The GPT that predicts the ids, or another network with `empty_cache` and FLOPs."""

    @abc.abstractmethod
    def prefill(
        self, variables: Variables, prompts_BT: jax.Array, lengths_B: jax.Array, cache: Cache
    ) -> tuple[jax.Array, Cache]:
        """Read the prompts.

        Args:
            variables: Flax collections of the model.
            prompts_BT: int32, padded at the end.
            lengths_B: int32, ids in each prompt.
            cache: empty.

        Returns:
            The logits of the first new id, float32[B, V], and the filled cache. That id's position
            is `lengths_B` + 1.
        """

    @abc.abstractmethod
    def read_one(
        self, variables: Variables, ids_B: jax.Array, cache: Cache, position_B: jax.Array
    ) -> tuple[jax.Array, Cache]:
        """Read one id per lane with unrolled layers.

        Args:
            variables: Flax collections of the model, with stacked blocks.
            ids_B: int32.
            cache: stacked.
            position_B: int32, the position of each id.

        Returns:
            The logits of the next id, float32[B, V], and the cache.
        """

    def empty_cache(self, n_lanes: int, n_slots: int) -> Any:
        """Return a cache in which nothing is read, stacked where its layers are alike."""
        return self.network.empty_cache(n_lanes, n_slots)

    def by_layer(self, cache: Any) -> Caches:
        """Return a cache as `step` takes it: layers apart."""
        return by_layer(cache)

    def forward_flops(self, n_ids: int) -> float:
        """Return forward FLOPs per id in lanes of `n_ids` ids."""
        return sum(self.network.forward_flops(n_ids).values())

    @property
    def max_ids(self) -> int | None:
        """How many ids a lane can have, its prompt included; None = there is no limit."""
        return self.network.max_length if self.network.positions == "learned" else None

    def step(
        self, variables: Variables, ids_B: jax.Array, caches: Caches, position_B: jax.Array
    ) -> tuple[jax.Array, Caches]:
        """Do the same as `read_one`, but with blocks and caches by layer.

        XLA then copies neither of them in a loop over ids; see `map_blocks`.
        """
        variables = map_blocks(stacked, variables)
        logits_BV, cache = self.read_one(variables, ids_B, stacked(caches), position_B)
        return logits_BV, by_layer(cache)


@dataclasses.dataclass(frozen=True)
class TokenDecoder(Decoder):
    """A GPT over the ids of a tokenizer.

    Attributes:
        config: of the GPT.
        separator_id: see `Decoder`.
        first_id: the id before every row; None = the separator.
    """

    config: GPTConfig
    separator_id: int
    first_id: int | None = None

    @property
    def network(self) -> GPTConfig:
        """See `Decoder`."""
        return self.config

    def prefill(self, variables, prompts_BT, lengths_B, cache):
        """See `Decoder`."""
        first = self.separator_id if self.first_id is None else self.first_id
        inputs = jnp.pad(prompts_BT, ((0, 0), (1, 0)), constant_values=first)
        model = GPT(self.config)
        return model.apply(variables, inputs, lengths_B + 1, cache, method=GPT.prefill)

    def read_one(self, variables, ids_B, cache, position_B):
        """See `Decoder`."""
        model = GPT(self.config.unrolled)
        return model.apply(variables, ids_B, cache, position_B, method=GPT.step)


@dataclasses.dataclass(frozen=True)
class CodeDecoder(Decoder):
    """The language model of a latent language, which draws codes.

    A learned vector stands before the first code. No code ends a lane.
    """

    config: LatentLMConfig
    separator_id = None

    @property
    def network(self) -> GPTConfig:
        """See `Decoder`."""
        return self.config.language_model

    def prefill(self, variables, prompts_BT, lengths_B, cache):
        """See `Decoder`."""
        model, method = LatentLanguageModel(self.config), LatentLanguageModel.prefill_codes
        return model.apply(variables, prompts_BT, lengths_B, cache, method=method)

    def read_one(self, variables, ids_B, cache, position_B):
        """See `Decoder`."""
        config = dataclasses.replace(self.config, language_model=self.network.unrolled)
        model, method = LatentLanguageModel(config), LatentLanguageModel.step_codes
        return model.apply(variables, ids_B, cache, position_B, method=method)
