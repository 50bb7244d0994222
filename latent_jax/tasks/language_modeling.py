"""Language modeling: a GPT predicts the next id of any tokenizer, in bits per raw byte."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.tasks.losses import bits_per_byte, histogram, token_nats, unigram_nats


def shift_right(ids_BT: jax.Array, first_id: int) -> jax.Array:
    """Put `first_id` before each row and drop its last id: the input that predicts `ids_BT`."""
    return jnp.pad(ids_BT[:, :-1], ((0, 0), (1, 0)), constant_values=first_id)


@dataclasses.dataclass(frozen=True)
class LanguageModeling:
    """The task of a causal language model over token ids.

    Attributes:
        model_config: the GPT; its vocabulary holds the tokenizer's ids, the separator included.
        separator_id: the id that stands before every row and after every document.
        row_length: L, ids per row.
        bytes_per_token: raw bytes per id, measured on the corpus; only `flops_per_byte` uses it.
        frozen: parameter paths that are not trained.
    """

    model_config: GPTConfig
    separator_id: int
    row_length: int
    bytes_per_token: float
    frozen: tuple[str, ...] = ()
    name = "language_modeling"

    @property
    def flops_per_byte(self):
        """Forward FLOPs per raw byte, see `Task`."""
        flops = self.model_config.forward_flops(self.row_length)
        return sum(flops.values()) / self.bytes_per_token

    def init(self, key, batch):
        """Draw parameters; see `Task`."""
        return GPT(self.model_config).init(key, batch["ids"])

    def loss(self, variables, batch, key, step, train):
        """Mean nats per scored id; see `Task`."""
        del step
        nats_BT = self._nats(variables, batch, train=train, rngs={"dropout": key})
        weight = jnp.sum(batch["weights"])
        nats = jnp.sum(nats_BT * batch["weights"])
        scores = {
            "weight": weight,
            "nats": nats,
            "n_tokens": weight,
            "n_bytes": jnp.sum(batch["n_bytes"]),
        }
        return nats / jnp.maximum(weight, 1.0), (scores, {})

    def evaluate(self, variables, batch):
        """Nats, bytes and the histogram of ids; see `Task`."""
        nats_BT = self._nats(variables, batch, train=False)
        return {
            "nats": jnp.sum(nats_BT * batch["weights"]),
            "n_tokens": jnp.sum(batch["weights"]),
            "n_bytes": jnp.sum(batch["n_bytes"]),
            "token_counts": histogram(batch["ids"], batch["weights"], self.model_config.vocab_size),
        }

    def summarize(self, sums):
        """Return bits per byte, nats and bytes per token; with counts, the baselines too."""
        metrics = {
            "bits_per_byte": bits_per_byte(sums["nats"], sums["n_bytes"]),
            "nats_per_token": float(sums["nats"] / sums["n_tokens"]),
            "bytes_per_token": float(sums["n_bytes"] / sums["n_tokens"]),
        }
        if "token_counts" in sums:
            uniform_nats = float(sums["n_tokens"]) * math.log(self.model_config.vocab_size)
            unigram = unigram_nats(sums["token_counts"])
            metrics["uniform_bits_per_byte"] = bits_per_byte(uniform_nats, sums["n_bytes"])
            metrics["unigram_bits_per_byte"] = bits_per_byte(unigram, sums["n_bytes"])
        return metrics

    def _nats(self, variables, batch, train, rngs=None):
        inputs_BT = shift_right(batch["ids"], self.separator_id)
        logits_BTV = GPT(self.model_config).apply(variables, inputs_BT, train=train, rngs=rngs)
        return token_nats(logits_BTV, batch["ids"])
