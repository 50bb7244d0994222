"""The networks of a reasoner as functions of its parameters: its trunks, marks and small heads."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.layers.block import Stack
from latent_jax.models.reasoner import ReasonerConfig, Thought

Params = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Trunks:
    """The functions of a reasoner with parameters.

    Attributes:
        config: of the reasoner.
        params: its collection "params".
        latent_params: those of the stack that thinks. They are computed here, in the trace that
            makes the trunks: what a scan computes first must not be kept beyond it.
    """

    config: ReasonerConfig
    params: Params
    latent_params: Params = dataclasses.field(init=False)

    def __post_init__(self):
        """Compute the parameters of a second trunk."""
        stack = self.params["stack"]
        changed = stack if self.config.trunks == 1 else self._thought("changed", stack)
        object.__setattr__(self, "latent_params", changed)

    def language(self, x_BTD, cache=None, view=None):
        """Run the language trunk; see `Stack`."""
        return self._stack(self.params["stack"], x_BTD, cache, view)

    def latent(self, x_BTD, cache=None, view=None):
        """Run the trunk of thoughts; see `Stack`."""
        return self._stack(self.latent_params, x_BTD, cache, view)

    def embed(self, ids: jax.Array) -> jax.Array:
        """Return the embeddings of ids, [..., D] in the compute dtype."""
        return self.table_VD[ids].astype(self.config.model.dtype)

    def mark(self, number: int) -> jax.Array:
        """Return a mark, [D]: the embedding of the id that it begins as, plus what it learned."""
        known = jax.lax.stop_gradient(self.table_VD[self.config.mark_ids[number]])
        return (known + self.params["thought"]["marks"][number]).astype(self.config.model.dtype)

    def project(self, h: jax.Array) -> jax.Array:
        """Return the thoughts that follow states."""
        return self._thought("project", h, self.table_VD)

    def mix(self, ids: jax.Array, h: jax.Array) -> jax.Array:
        """Return thoughts that follow states, mixed with tokens; see `layers.gate`.

        No gradient flows into the states, as in the code of the paper, where they are constants:
        it reaches gates and tokens.
        """
        made = jax.lax.stop_gradient(self.project(h))
        return self._thought("mix", self.embed(ids), made)

    def start_logits(self, x: jax.Array) -> jax.Array:
        """See `Thought.start_logits`."""
        return self._thought("start_logits", x)

    def end_logits(self, h: jax.Array) -> jax.Array:
        """See `Thought.end_logits`."""
        return self._thought("end_logits", h)

    def likeliest(self, h: jax.Array) -> jax.Array:
        """Return the likeliest ids behind states, int32[...]; it has no gradient."""
        table_VD = self.table_VD.astype(h.dtype)
        logits = jnp.einsum("...D,VD->...V", h, table_VD, preferred_element_type=jnp.float32)
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    @property
    def table_VD(self) -> jax.Array:
        """The embeddings, float32, which are the tied head too."""
        return self.params["token_embedding"]["embedding"]

    def _stack(self, params, x_BTD, cache=None, view=None):
        stack = Stack(self.config.model, causal=True)
        return stack.apply({"params": params}, x_BTD, cache=cache, view=view)

    def _thought(self, method, *arguments):
        params = self.params["thought"]
        return Thought(self.config).apply({"params": params}, *arguments, method=method)
