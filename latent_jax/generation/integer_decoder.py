"""An integer GPT, as it is trained, that draws ids: by the tables which its file will have."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from latent_jax.exact import bounds
from latent_jax.exact.model_file import ATTENTION_BITS
from latent_jax.generation.decoders import TokenDecoder
from latent_jax.layers.block import by_layer, stacked
from latent_jax.models import integer_gpt, quantized_gpt

NATS = math.log(2) * 2.0**-bounds.OCTAVE
"""Of a logit: a logarithm to base 2 in units of 2^-6."""


@dataclasses.dataclass(frozen=True)
class IntegerDecoder(TokenDecoder):
    """An integer GPT over bytes; the separator stands before every row.

    Prompts are read one id after the other, which its step can do; a lane attends to as many
    positions as its cache has slots.
    """

    def prefill(self, variables, prompts_BT, lengths_B, cache):
        """See `Decoder`."""
        inputs_BT = jnp.pad(prompts_BT, ((0, 0), (1, 0)), constant_values=self.separator_id)

        def read(state, ids_B):
            logits_BV, cache, position = state
            position_B = jnp.full(lengths_B.shape, position)
            new_BV, cache = self.read_one(variables, ids_B, cache, position_B)
            is_last_B1 = (position == lengths_B)[:, None]
            return (jnp.where(is_last_B1, new_BV, logits_BV), cache, position + 1), None

        logits_BV = jnp.zeros((len(lengths_B), self.config.vocab_size), jnp.float32)
        state = logits_BV, cache, jnp.int32(0)
        (logits_BV, cache, _), _ = jax.lax.scan(read, state, inputs_BT.T)
        return logits_BV, cache

    def read_one(self, variables, ids_B, cache, position_B):
        """See `Decoder`. Keys and values are integers of 8 bits, exact in any dtype of a cache."""
        weights = quantized_gpt.integers(variables["params"], self.config)
        weights = jax.tree.map(lambda leaf: leaf.astype(jnp.int32), weights)
        powers = jnp.asarray(bounds.powers(ATTENTION_BITS), jnp.int32)
        logits_BV, caches = integer_gpt.step_logits(
            weights, powers, by_layer(cache), ids_B, position_B
        )
        return logits_BV.astype(jnp.float32) * NATS, stacked(tuple(caches))
