"""A language model that thinks in vectors between its words.

Fifty's post-mortem of interleaved latent reasoning breaks a text at marks and computes thoughts
there. Each block of thoughts hangs behind a *breakpoint* of the text:

    text      question, segment 0, segment 1, ...        a plain GPT; it never sees a thought
    block j   start, thought 1 .. thought n, end, segment j
              reads the text up to breakpoint j, and itself

Blocks do not read each other, so all blocks of a row are computed side by side, and the same
tokens are scored with thoughts (in a block) and without (in the text). Differentiable Cache
Augmentation (Liu et al. 2024, arXiv 2412.17747) also trains many places of a row at once.
`models.thinking` computes it; this file has the parameters.

With one trunk the same weights read text and thoughts. With two, the language trunk stays as it is,
and a second one, which begins equal to it (`layers.changes`), computes the thoughts.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.data.problem_rows import ProblemLayout
from latent_jax.layers.block import Stack
from latent_jax.layers.changes import CHANGES, Changes
from latent_jax.layers.dense import Dense
from latent_jax.layers.embeddings import TokenEmbedding
from latent_jax.layers.gate import Gate
from latent_jax.layers.projection import PROJECTIONS, Projection
from latent_jax.models.gpt import GPTConfig
from latent_jax.ranges import at_least, check_fields, one_of, within

START, END, PAUSE = range(3)
"""Rows of the table of marks."""

MESSAGES = ("keys", "embedding")
"""What the segment behind a block of thoughts reads of a thought of the second trunk: that trunk's
keys and values, or the vector itself, as an input of the language trunk."""

CACHES = ("shared", "separate")
"""Whose keys and values of the text the second trunk reads: the language trunk's, or its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReasonerConfig:
    """The shapes of a reasoner.

    Attributes:
        model: of the language trunk; its positions are rotary, and it has no dropout.
        layout: of a row.
        mark_ids: ids whose embeddings the marks start, end and pause begin as.
        projection: one of `layers.projection.PROJECTIONS`.
        trunks: 1 or 2.
        change: how a second trunk differs, one of `layers.changes.CHANGES`.
        rank: of a change by "lora".
        message: one of `MESSAGES`; with one trunk both are the same numbers, and "keys" is cheaper.
        cache: one of `CACHES`.
        gate: what a gate between tokens and thoughts begins at, see `layers.gate`; 0 = there is
            none.

    Raises:
        ValueError: a word is unknown, or the model has other positions or dropout.
    """

    model: GPTConfig
    layout: ProblemLayout
    mark_ids: tuple[int, int, int] = (0, 0, 0)
    projection: Annotated[str, one_of(PROJECTIONS)] = "mlp"
    trunks: Annotated[int, at_least(1, 2)] = 1
    change: Annotated[str, one_of(CHANGES)] = "copy"
    rank: Annotated[int, at_least(1, 4096)] = 16
    message: Annotated[str, one_of(MESSAGES)] = "keys"
    cache: Annotated[str, one_of(CACHES)] = "shared"
    gate: Annotated[float, within("[0, 1)")] = 0.0

    def __post_init__(self):
        """Check words and the model."""
        check_fields(self)
        if self.model.positions != "rotary":
            raise ValueError(
                f"a reasoner goes back to breakpoints, which needs model.positions=rotary; got "
                f"{self.model.positions!r}"
            )
        if self.model.dropout:
            raise ValueError(
                f"a reasoner has no dropout; leave model.dropout at 0, not {self.model.dropout}"
            )

    @property
    def has_message_pass(self) -> bool:
        """Whether the language trunk reads the thoughts once more, as inputs."""
        return self.trunks == 2 and self.message == "embedding"


class Reasoner(nn.Module):
    """The parameters of a reasoner. A GPT's own have the names that they have in a GPT."""

    config: ReasonerConfig

    def setup(self):
        """Create all parts."""
        model = self.config.model
        self.token_embedding = TokenEmbedding(model.vocab_size, model.d_model, model.dtype)
        self.stack = Stack(model, causal=True)
        self.thought = Thought(self.config)

    def __call__(self, ids_BT: jax.Array) -> jax.Array:
        """Visit every parameter; for `init`. The result has no meaning."""
        x_BTD, _ = self.stack(self.token_embedding(ids_BT))
        if not self.is_initializing():
            raise ValueError("models.thinking computes with the parameters of a Reasoner")
        return self.thought(x_BTD, self.token_embedding.embedding, self.stack.variables["params"])


class Thought(nn.Module):
    """What a reasoner has beyond its language trunk."""

    config: ReasonerConfig
    decays = {"marks": False}

    def setup(self):
        """Create marks, projection, classifiers, a gate and the changes of a second trunk."""
        config, width = self.config, self.config.model.d_model
        self.marks = self.param("marks", nn.initializers.normal(0.02), (3, width), jnp.float32)
        self.projection = Projection(config.projection)
        self.start_head = Dense((width,), (1,))
        self.end_head = Dense((width,), (1,))
        if config.gate:
            self.gate = Gate(config.gate)
        if config.trunks == 2:
            self.changes = Changes(config.change, config.rank)

    def __call__(
        self, x_BTD: jax.Array, table_VD: jax.Array, stack: Mapping[str, Any]
    ) -> jax.Array:
        """Visit every parameter; for `init`."""
        if self.config.trunks == 2:
            self.changes(stack)
        x_BTD = self.projection(x_BTD, table_VD)
        if self.config.gate:
            x_BTD = self.gate(x_BTD, x_BTD)
        return self.start_head(x_BTD) + self.end_head(x_BTD)

    def project(self, h: jax.Array, table_VD: jax.Array) -> jax.Array:
        """Return the thoughts that follow states; see `Projection`."""
        return self.projection(h, table_VD)

    def mix(self, e: jax.Array, z: jax.Array) -> jax.Array:
        """Return mixtures of tokens and thoughts; see `Gate`."""
        return self.gate(e, z)

    def changed(self, stack: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of the second trunk, made of those of the first."""
        return self.changes(stack)

    def start_logits(self, x: jax.Array) -> jax.Array:
        """Return the logits, float32[...], of opening a block behind states [..., D]."""
        return self.start_head(x.astype(jnp.float32))[..., 0]

    def end_logits(self, h: jax.Array) -> jax.Array:
        """Return the logits, float32[...], of thinking no further behind states [..., D]."""
        return self.end_head(h.astype(jnp.float32))[..., 0]
