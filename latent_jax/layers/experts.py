"""A mixture of experts in place of the feed-forward part of a block, with static shapes.

Shazeer et al. 2017 (arXiv 1701.06538); the gate and the loss as in Fedus et al. 2021, "Switch
Transformers" (arXiv 2101.03961), equations 1 to 6, for more than one choice too: a position reads
the k experts of the highest p = softmax(W_r x), in float32, each times its p. The loss

    E sum_e f_e P_e

has the share f_e of choices that fall on e, without a gradient, and the mean P_e of p over the real
positions of a batch. It is 1 where all experts are chosen equally often.

An expert has room for so many positions of each row. Places are given in the order of positions, so
that whether a position finds room depends on earlier ones of its row and on nothing else: rows do
not mix, and nothing later is read. A position that finds none takes nothing from that expert, and
is counted. With documents apart in a row, an earlier one may still take the room of a later one.

Positions are carried to places and back by gathers, whose gradients are gathers too. All places
are computed, taken or not.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.activations import ACTIVATIONS
from latent_jax.layers.dense import Dense, residual_init
from latent_jax.layers.middle import MiddleConfig
from latent_jax.sharding_constraints import use_whole, whole

EXPERTS = "experts"
"""The Flax collection of `ExpertNotes`; they are kept only where a caller makes it mutable."""


class ExpertNotes(NamedTuple):
    """What a layer of experts leaves beside its result; float32, scalars or one number per layer.

    Attributes:
        balance: the loss, 1 where all experts are chosen equally often.
        n_choices: choices of real positions.
        n_drops: those that found no room.
    """

    balance: jax.Array
    n_choices: jax.Array
    n_drops: jax.Array


class Plan(NamedTuple):
    """Which choice has which place; N = T k choices, S = E C places of a row.

    Attributes:
        place_BN: int32, the place of each choice; of no meaning where it has none.
        is_kept_BN: bool, whether it has one.
        choice_BS: int32, the choice at each place.
        is_taken_BS: bool, whether there is one.
    """

    place_BN: jax.Array
    is_kept_BN: jax.Array
    choice_BS: jax.Array
    is_taken_BS: jax.Array


class Experts(nn.Module):
    """E feed-forward parts of which each position reads k; [B, T, D] in and out.

    Attributes:
        config: of the stack.
        drops: whether experts have room for `MiddleConfig.places` positions of a row; else for
            all, as in generation, so that whole rows and steps agree.
    """

    config: MiddleConfig
    drops: bool = True

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array | None = None) -> jax.Array:
        """Return the weighted sum of each position's experts, in the config's dtype.

        Args:
            x_BTD: the normalised stream.
            mask_BT: bool, False at padding, which takes no place; None = there is none.
        """
        config, (n_rows, length, width) = self.config, x_BTD.shape
        n_experts, n_chosen = config.n_experts, config.n_chosen
        mask_BT = jnp.ones((n_rows, length), bool) if mask_BT is None else mask_BT
        router = Dense((width,), (n_experts,), "float32", use_bias=False, name="router")
        p_BTE = jax.nn.softmax(router(x_BTD), axis=-1)
        expert_BTk = highest(p_BTE, n_chosen)
        p_BTk = jnp.take_along_axis(p_BTE, expert_BTk, axis=2)
        n_places = config.places(length) if self.drops else length
        plan = plan_of(expert_BTk, mask_BT, n_experts, n_places)
        notes = _notes(p_BTE, expert_BTk, mask_BT, plan)
        self.sow(EXPERTS, "notes", notes, reduce_fn=lambda _, new: new, init_fn=lambda: None)
        chosen_BND = jnp.repeat(x_BTD.astype(config.dtype), n_chosen, axis=1)
        places_BSD = carried(chosen_BND, *plan[2:], *plan[:2])
        y_BSD = self._computed(places_BSD.reshape(n_rows, n_experts, n_places, width))
        y_BND = carried(y_BSD.reshape(places_BSD.shape), *plan)
        y_BTkD = y_BND.reshape(n_rows, length, n_chosen, width)
        return jnp.sum(y_BTkD * p_BTk[..., None].astype(y_BTkD.dtype), axis=2)

    def _computed(self, x_BECD):
        """Return the results of all experts at all of their places."""
        config = self.config
        wide, narrow = config.expert_size, config.d_model

        def dense(size, name, **words):
            kinds = dict(dtype=config.dtype, use_bias=config.use_bias, name=name)
            return ExpertDense(config.n_experts, size, **kinds, **words)

        activation = ACTIVATIONS[config.activation]
        h_BECF = dense(wide, "up")(x_BECD)
        if config.gated:
            gate_BECF = dense(wide, "gate")(x_BECD)
            h_BECF = jax.checkpoint(lambda gate, up: activation(gate) * up)(gate_BECF, h_BECF)
        else:
            h_BECF = jax.checkpoint(activation)(h_BECF)
        return dense(narrow, "down", kernel_init=residual_init(config.n_layers))(h_BECF)


class ExpertDense(nn.Module):
    """A linear map of the last axis for each expert; parameters are float32.

    Attributes:
        n_experts: E.
        size: of the last axis of the result.
        dtype: of the matmul and its result.
        use_bias: whether each expert adds a bias.
        kernel_init: initializer of the kernel.
    """

    decays = {"kernel": True, "bias": False}

    n_experts: int
    size: int
    dtype: str
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.normal(0.02)

    @nn.compact
    def __call__(self, x_BECI: jax.Array) -> jax.Array:
        """Return [B, E, C, size]."""
        shape = (self.n_experts, x_BECI.shape[-1], self.size)
        kernel_EIO = self.param("kernel", self.kernel_init, shape, jnp.float32)

        def product(kernel_EIO, x_BECI):
            return jnp.einsum("BECI,EIO->BECO", x_BECI, kernel_EIO)

        y_BECO = use_whole(product, kernel_EIO, x_BECI.astype(self.dtype))
        if not self.use_bias:
            return y_BECO
        zeros = nn.initializers.zeros
        bias_EO = self.param("bias", zeros, (self.n_experts, self.size), jnp.float32)
        return y_BECO + whole(bias_EO.astype(self.dtype))[None, :, None]


def highest(p_BTE: jax.Array, n_chosen: int) -> jax.Array:
    """Return the experts of the highest probabilities, highest first, int32[B, T, k].

    One after the other: `jax.lax.top_k` would gather the rows of all devices on each of them.
    """
    p_BTE, found = jax.lax.stop_gradient(p_BTE), []
    for _ in range(n_chosen):
        found.append(jnp.argmax(p_BTE, axis=-1).astype(jnp.int32))
        is_found_BTE = found[-1][..., None] == jnp.arange(p_BTE.shape[-1])[None, None]
        p_BTE = jnp.where(is_found_BTE, -1.0, p_BTE)
    return jnp.stack(found, axis=-1)


def plan_of(expert_BTk: jax.Array, mask_BT: jax.Array, n_experts: int, n_places: int) -> Plan:
    """Return the places that experts give to choices in the order of positions.

    Args:
        expert_BTk: int32, the experts that each position has chosen, all different.
        mask_BT: bool, False at positions that take no place.
        n_experts: E.
        n_places: C, places of each expert in a row.
    """
    n_rows, length, n_chosen = expert_BTk.shape
    expert_BN = expert_BTk.reshape(n_rows, length * n_chosen)
    is_real_BN = jnp.repeat(mask_BT, n_chosen, axis=1)
    is_of_BNE = (expert_BN[..., None] == jnp.arange(n_experts)[None, None]) & is_real_BN[..., None]
    counts_BNE = jnp.cumsum(is_of_BNE, axis=1, dtype=jnp.int32)
    rank_BN = jnp.take_along_axis(counts_BNE, expert_BN[..., None], axis=2)[..., 0] - 1
    is_kept_BN = is_real_BN & (rank_BN < n_places)
    place_BN = expert_BN * n_places + rank_BN
    # What has no place is written beyond the last one, and so not at all.
    slot_BN = jnp.where(is_kept_BN, place_BN, n_experts * n_places)
    at_N = jnp.arange(length * n_chosen, dtype=jnp.int32)
    none_S = jnp.zeros(n_experts * n_places, jnp.int32)
    # Row by row, so that a mesh that splits rows splits the scatter too.
    choice_BS = jax.vmap(lambda slot_N: none_S.at[slot_N].set(at_N, mode="drop"))(slot_BN)
    is_taken_BEC = jnp.arange(n_places)[None, None] < counts_BNE[:, -1, :, None]
    is_taken_BS = is_taken_BEC.reshape(n_rows, n_experts * n_places)
    return Plan(jnp.where(is_kept_BN, place_BN, 0), is_kept_BN, choice_BS, is_taken_BS)


@jax.custom_vjp
def carried(
    x_BND: jax.Array,
    from_BS: jax.Array,
    is_filled_BS: jax.Array,
    to_BN: jax.Array,
    is_sent_BN: jax.Array,
) -> jax.Array:
    """Return the vector that each place takes, [B, S, D]; zeros where it takes none.

    Args:
        x_BND: vectors.
        from_BS: int32, the vector that a place takes.
        is_filled_BS: bool, whether it takes one.
        to_BN: int32, the place that takes a vector: the inverse of `from_BS`, so that the gradient
            is a gather as well.
        is_sent_BN: bool, whether one does.
    """
    return _gathered(x_BND, from_BS, is_filled_BS)


def _gathered(x_BND, from_BS, is_filled_BS):
    y_BSD = jnp.take_along_axis(x_BND, from_BS[..., None], axis=1)
    return jnp.where(is_filled_BS[..., None], y_BSD, 0)


def _carry(x_BND, from_BS, is_filled_BS, to_BN, is_sent_BN):
    return _gathered(x_BND, from_BS, is_filled_BS), (to_BN, is_sent_BN)


def _carry_gradient(kept, g_BSD):
    return _gathered(g_BSD, *kept), None, None, None, None


carried.defvjp(_carry, _carry_gradient)


def _notes(p_BTE, expert_BTk, mask_BT, plan):
    n_experts, n_chosen = p_BTE.shape[-1], expert_BTk.shape[-1]
    n_real = jnp.maximum(jnp.sum(mask_BT), 1).astype(jnp.float32)
    is_of_BTkE = expert_BTk[..., None] == jnp.arange(n_experts)[None, None, None]
    n_E = jnp.sum(is_of_BTkE & mask_BT[..., None, None], axis=(0, 1, 2)).astype(jnp.float32)
    mean_E = jnp.sum(jnp.where(mask_BT[..., None], p_BTE, 0.0), axis=(0, 1)) / n_real
    balance = n_experts * jnp.sum(n_E / (n_real * n_chosen) * mean_E)
    n_choices = jnp.sum(n_E)
    return ExpertNotes(balance, n_choices, n_choices - jnp.sum(plan.is_kept_BN))


def sum_of_notes(state: dict[str, Any]) -> ExpertNotes:
    """Return the mean of the losses of all layers, and the sums of their counts, as scalars.

    Args:
        state: Flax collections, with `EXPERTS`.
    """
    found = jax.tree.leaves(state[EXPERTS], is_leaf=lambda x: isinstance(x, ExpertNotes))
    balance = jnp.concatenate([jnp.atleast_1d(notes.balance) for notes in found])
    counts = (sum(jnp.sum(notes[i]) for notes in found) for i in (1, 2))
    return ExpertNotes(jnp.mean(balance), *counts)
