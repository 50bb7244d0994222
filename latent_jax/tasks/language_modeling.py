"""Language modeling: a GPT predicts the next id of any tokenizer, in bits per raw byte."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.nearest import check_word
from latent_jax.ranges import Weight, check
from latent_jax.tasks.flops_of_text import FlopsOfText
from latent_jax.tasks.heads import HEADS, cross_entropy
from latent_jax.tasks.losses import bits_per_byte, histogram
from latent_jax.tasks.snippets import Snippets, cut
from latent_jax.tokenizers.trie import Trie
from latent_jax.tokenizers.trivial import trivial_models


def shift_right(ids_BT: jax.Array, first_id: int) -> jax.Array:
    """Return rows with `first_id` put first and the last id dropped: the inputs for `ids_BT`."""
    return jnp.pad(ids_BT[:, :-1], ((0, 0), (1, 0)), constant_values=first_id)


@dataclasses.dataclass(frozen=True)
class LanguageModeling(FlopsOfText):
    """The task of a causal language model over token ids.

    Attributes:
        model_config: the GPT; its vocabulary contains the tokenizer's ids, separator included.
        separator_id: the id before every row and after every document.
        row_length: L, ids per row.
        bytes_per_token: raw bytes per id, measured on the corpus; only FLOPs per byte use it.
        frozen: regular expressions of parameter paths that are not trained.
        z_loss: weight of (log Z)^2 in the loss, which keeps log Z near 0 (Chowdhery et al. 2022,
            "PaLM", section 5). No score contains it.
        head: one of `HEADS` except "auto".
        tokenizer_flops_per_byte: forward FLOPs of the tokenizer's own model, M1, per raw byte.
        snippets: rows that are cut in training. Evaluation scores whole rows, and snippets of all
            rows as well.
        windows: the tree of the code at whose windows snippets begin; None = consecutive snippets.

    Raises:
        ValueError: the length of a snippet does not divide the row's, `z_loss` is negative, or
            `head` is unknown or "auto".
    """

    model_config: GPTConfig
    separator_id: int
    row_length: int
    bytes_per_token: float
    frozen: tuple[str, ...] = ()
    z_loss: float = 0.0
    head: str = "whole"
    tokenizer_flops_per_byte: float = 0.0
    snippets: Snippets = dataclasses.field(default_factory=Snippets)
    windows: Trie | None = dataclasses.field(default=None, compare=False)
    name = "language_modeling"
    headline = "bits_per_byte"
    fields = ("ids",)

    def __post_init__(self):
        """Check the snippets against the row."""
        if self.snippets.every and self.row_length % self.snippets.length:
            raise ValueError(
                f"snippets.length={self.snippets.length} does not divide "
                f"row_length={self.row_length}"
            )
        check("z_loss", self.z_loss, Weight)
        check_word("head", self.head, HEADS[1:])

    @property
    def stacks(self):
        """The GPT, see `Task`."""
        return ((self.model_config, self.row_length),)

    @property
    def amounts(self):
        """Raw bytes, and tokens, which are ids; see `Task`."""
        return {"bytes": self.bytes_per_token, "tokens": 1.0}

    @property
    def component_flops(self):
        """Forward FLOPs per raw byte of the GPT's parts, see `Task`."""
        flops = self.model_config.forward_flops(self.row_length)
        if self.snippets.every:
            short = self.model_config.forward_flops(self.snippets.length)
            flops = {k: v + (short[k] - v) / self.snippets.every for k, v in flops.items()}
        return {part: value / self.bytes_per_token for part, value in flops.items()}

    def init(self, key, batch):
        """Draw parameters; see `Task`."""
        return GPT(self.model_config).init(key, batch["ids"])

    def loss(self, variables, batch, key, step, train):
        """Return the mean nats per scored id, plus the z-loss; see `Task`."""
        del step
        parts = [(batch["ids"], batch["weights"])]
        if self.snippets.every:
            whole, short = zip(*map(self.snippets.split, parts[0]), strict=True)
            parts = [whole, self._cut(*short)]
        objective = nats = weight = 0.0
        for part, (ids_BT, weights_BT) in enumerate(parts):
            if not ids_BT.size:
                continue  # every=1: no row stays whole
            rngs = {"dropout": jax.random.fold_in(key, part) if part else key}
            part_objective, part_nats = self._sums(variables, ids_BT, weights_BT, train, rngs)
            objective += part_objective
            nats += part_nats
            weight += jnp.sum(weights_BT)
        scores = {
            "weight": weight,
            "nats": nats,
            "n_tokens": weight,
            "n_bytes": jnp.sum(batch["n_bytes"]),
        }
        return objective / jnp.maximum(weight, 1.0), (scores, {})

    def evaluate(self, variables, batch):
        """Return nats, bytes and the histogram of ids; see `Task`."""
        ids_BT, weights_BT = batch["ids"], batch["weights"]
        scores = {
            "nats": self._sums(variables, ids_BT, weights_BT)[1],
            "n_tokens": jnp.sum(weights_BT),
            "n_bytes": jnp.sum(batch["n_bytes"]),
            "token_counts": histogram(ids_BT, weights_BT, self.model_config.vocab_size),
        }
        if self.snippets.every:
            ids_NS, weights_NS = self._cut(ids_BT, weights_BT)
            scores["snippet_nats"] = self._sums(variables, ids_NS, weights_NS)[1]
            scores["snippet_weight"] = jnp.sum(weights_NS)
        return scores

    def summarize(self, sums):
        """Return bits per byte, nats and bytes per token, and, with counts of ids, baselines."""
        metrics = {
            "bits_per_byte": bits_per_byte(sums["nats"], sums["n_bytes"]),
            "nats_per_token": float(sums["nats"] / sums["n_tokens"]),
            "bytes_per_token": float(sums["n_bytes"] / sums["n_tokens"]),
        }
        if "snippet_nats" in sums:
            n_bytes = sums["snippet_weight"] * metrics["bytes_per_token"]
            metrics["snippet_bits_per_byte"] = bits_per_byte(sums["snippet_nats"], n_bytes)
        if "token_counts" in sums:
            of_text_V = np.delete(np.asarray(sums["token_counts"]), self.separator_id)
            metrics |= trivial_models(of_text_V, float(sums["n_bytes"]))
        return metrics

    def _cut(self, ids_BT, weights_BT):
        return cut(ids_BT, weights_BT, self.snippets.length, self.windows)

    def _sums(self, variables, ids_BT, weights_BT, train=False, rngs=None):
        """Return the sums of weighted nats with and without the z-loss, float32 scalars."""
        inputs_BT = shift_right(ids_BT, self.separator_id)
        x_BTD = GPT(self.model_config).apply(
            variables, inputs_BT, train=train, rngs=rngs, method="features"
        )
        table_VD = variables["params"]["token_embedding"]["embedding"]
        return cross_entropy(self.head, x_BTD, table_VD, ids_BT, weights_BT, self.z_loss)
