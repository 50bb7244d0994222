"""The transformer block, and a stack of blocks scanned over depth.

Pre-norm as in GPT-2 (Radford et al. 2019, section 2.3): x + attention(norm(x)), then
x + feed_forward(norm(x)).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.attention import Attention
from latent_jax.layers.cache import Cache
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dropout import drop, keep_mask
from latent_jax.layers.experts import EXPERTS, Experts
from latent_jax.layers.feed_forward import FeedForward
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.norms import NORM_MODULES
from latent_jax.layers.view import View
from latent_jax.sharding_constraints import rows

BLOCKS = "blocks"
"""Name of the stacked block parameters among the parameters of a `Stack`."""


class Beside(NamedTuple):
    """What the blocks of a stack read beside the stream; all of it may be left out.

    Attributes:
        memory_BTD: a vector of each position, see `Attention`.
        mask_BT: bool, False at padding behind a row; experts take none of it.
    """

    memory_BTD: jax.Array | None = None
    mask_BT: jax.Array | None = None


class Block(nn.Module):
    """One attention and one feed-forward branch on the residual stream; [B, T, D] in and out.

    Attributes:
        config: of the stack.
        causal: whether a position reads earlier ones only.
        drops: whether experts that are full drop positions, see `Experts`.
    """

    config: TransformerConfig
    causal: bool
    drops: bool = True

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        lengths_B: jax.Array | None = None,
        kept_2BTD: jax.Array | None = None,
        cache: Cache | Sequence[Cache] | None = None,
        position_B: jax.Array | None = None,
        view: View | None = None,
        beside: Beside | None = None,
    ) -> tuple[jax.Array, Cache | None]:
        """Return the stream after both branches, and the cache (see `Attention`).

        `kept_2BTD` is the dropout mask of each branch, True where a number is kept; None = no
        dropout.
        """
        rate, beside = self.config.dropout, beside or Beside()
        norm = functools.partial(NORM_MODULES[self.config.norm], self.config.norm_epsilon)
        kept_BTD = (None, None) if kept_2BTD is None else kept_2BTD
        h_BTD = norm(name="attention_norm")(x_BTD)
        attention = Attention(self.config, self.causal, name="attention")
        h_BTD, cache = attention(h_BTD, lengths_B, cache, position_B, view, beside.memory_BTD)
        x_BTD = x_BTD + drop(h_BTD, kept_BTD[0], rate)
        h_BTD = norm(name="feed_forward_norm")(x_BTD)
        if isinstance(self.config, MiddleConfig) and self.config.n_experts:
            experts = Experts(self.config, self.drops, name="experts")
            h_BTD = experts(h_BTD, beside.mask_BT)
        else:
            h_BTD = FeedForward(self.config, name="feed_forward")(h_BTD)
        return x_BTD + drop(h_BTD, kept_BTD[1], rate), cache


class Stack(nn.Module):
    """`n_layers` blocks and a final norm; block parameters have a leading axis of depth."""

    config: TransformerConfig
    causal: bool

    @nn.compact
    def __call__(
        self,
        x_BTD: jax.Array,
        lengths_B: jax.Array | None = None,
        train: bool = False,
        cache: Cache | Sequence[Cache] | None = None,
        position_B: jax.Array | None = None,
        view: View | None = None,
        beside: Beside | None = None,
        drops: bool = True,
    ) -> tuple[jax.Array, Cache | None]:
        """Return the normalised stream after the last block, [B, T, D] in the config's dtype.

        The second result is the new cache, or None without one; see `Attention`. Caches have a
        leading axis of depth.

        Raises:
            ValueError: the config is not resolved.
        """

        def body(block, x_BTD, cache, kept_2BTD, lengths_B, position_B, view, beside):
            return block(rows(x_BTD), lengths_B, kept_2BTD, cache, position_B, view, beside)

        unroll = self.config.scan_unroll
        if not unroll or self.config.remat == "auto":
            raise ValueError(
                f"scan_unroll={unroll} and remat={self.config.remat} are left to the platform: "
                "call config.resolved first"
            )
        if self.config.remat != "none":
            # Without a loop, XLA would merge the recomputation with the forward pass (CSE).
            body = nn.remat(
                body,
                policy=remat_policy(self.config.remat),
                prevent_cse=unroll >= self.config.n_layers,
            )
        scan = nn.scan(
            body,
            variable_axes={"params": 0, "intermediates": 0, EXPERTS: 0},
            split_rngs={"params": True},
            in_axes=(0, 0, nn.broadcast, nn.broadcast, nn.broadcast, nn.broadcast),
            length=self.config.n_layers,
            unroll=unroll,
        )
        block = Block(self.config, self.causal, drops, name=BLOCKS)
        kept = self._kept(x_BTD, train)
        x_BTD, cache = scan(block, x_BTD, cache, kept, lengths_B, position_B, view, beside)
        norm = NORM_MODULES[self.config.norm](self.config.norm_epsilon, name="final_norm")
        return norm(x_BTD), cache

    def _kept(self, x_BTD: jax.Array, train: bool) -> jax.Array | None:
        """Draw the dropout masks of both branches of every layer, bool[n_layers, 2, B, T, D]."""
        if not train or not self.config.dropout:
            return None
        keys = jax.random.split(self.make_rng("dropout"), (self.config.n_layers, 2))
        draw = functools.partial(keep_mask, rate=self.config.dropout, shape=x_BTD.shape)
        return jax.vmap(jax.vmap(lambda key: rows(draw(key))))(keys)


def by_layer(tree: Any) -> tuple[Any, ...]:
    """Return one pytree per layer from a pytree whose leaves have a leading axis of depth."""
    n_layers = jax.tree.leaves(tree)[0].shape[0]
    return tuple(jax.tree.map(lambda leaf: leaf[i], tree) for i in range(n_layers))  # noqa: B023


def stacked(layers: tuple[Any, ...]) -> Any:
    """Return the pytrees of layers stacked along a leading axis: the inverse of `by_layer`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)


def map_blocks(function: Callable[[Any], Any], params: Any) -> Any:
    """Return parameters with `function` applied to the blocks of every `Stack`.

    A step that is called many times should take its blocks and caches `by_layer` and stack them
    inside (`stacked`). If the stack is unrolled, XLA then copies neither. In a step of a few rows,
    these copies would take most of the time.
    """
    if not isinstance(params, Mapping):
        return params
    return {
        name: function(part) if name == BLOCKS else map_blocks(function, part)
        for name, part in params.items()
    }


def remat_policy(remat: str) -> Callable[..., bool]:
    """Return what a block that is computed again keeps, of "block" or "dots"."""
    policies = jax.checkpoint_policies
    return {
        "block": policies.nothing_saveable,
        "dots": policies.dots_with_no_batch_dims_saveable,
    }[remat]
