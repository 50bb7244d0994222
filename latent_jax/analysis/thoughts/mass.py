"""How much of their attention the places that state a result give to the thoughts before them.

Attention that knows nothing would give each key the same weight. Mass on thoughts is divided by
that share, so that 1 means no preference, and rows of different lengths can be compared.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.block import BLOCKS, Stack
from latent_jax.layers.view import VIEW_WEIGHTS
from latent_jax.models.trunks import Trunks
from latent_jax.tasks.problem_batch import Problems


@dataclasses.dataclass(frozen=True)
class WatchedTrunks(Trunks):
    """Trunks whose language trunk keeps its attention weights.

    Attributes:
        kept: the weights of each call, one array [L, B, G, H / G, T, S] for every source of keys.
    """

    kept: list = dataclasses.field(default_factory=list)

    def language(self, x_BTD, cache=None, view=None):
        """Run the language trunk; see `Stack`."""
        stack, params = Stack(self.config.model, causal=True), {"params": self.params["stack"]}
        words = dict(cache=cache, view=view, mutable=("intermediates",))
        found, sown = stack.apply(params, x_BTD, **words)
        (weights,) = sown["intermediates"][BLOCKS]["attention"][VIEW_WEIGHTS]
        self.kept.append(weights)
        return found


def mass_sums(slot_weights: jax.Array, problems: Problems, n_BJ: jax.Array) -> dict[str, jax.Array]:
    """Return sums over the places of a batch from which tokens of results are predicted.

    Args:
        slot_weights: what `read_blocks` reads of slots, [L, B, G, H / G, Q, S J].
        problems: the batch.
        n_BJ: int32, slots in use.

    Returns:
        "thoughts_LH" and "start_LH", the mass on thoughts and on the start mark before them;
        "thought_keys" and "start_keys", what it would be if all keys that may be read weighed the
        same; "places", how many there are.
    """
    n_rows, n_blocks = n_BJ.shape
    is_result_BN = problems.block_is_result_BN & (problems.block_BN > 0)
    numbers_BJ = jnp.broadcast_to(jnp.arange(1, n_blocks + 1), (n_rows, n_blocks))
    is_first_BN = is_result_BN & (problems.place_BN == 0)
    opens_with_BJ = (
        is_first_BN[:, None] & (problems.block_BN[:, None] == numbers_BJ[..., None])
    ).any(axis=-1)
    follows_BN = jnp.pad(
        is_result_BN[:, 1:] & (problems.block_BN[:, 1:] == problems.block_BN[:, :-1]),
        ((0, 0), (0, 1)),
    )
    asks_BQ = jnp.concatenate((opens_with_BJ, follows_BN), axis=1).astype(jnp.float32)
    # The end mark, which predicts the first token, has one key of its own source: itself.
    block_BQ = jnp.concatenate((numbers_BJ, problems.block_BN), axis=1)
    own_BQ = jnp.pad(problems.place_BN, ((0, 0), (n_blocks, 0)), constant_values=-1) + 2
    opens_BQ, n_BQ = (
        jnp.take_along_axis(jnp.pad(x, ((0, 0), (1, 0))), block_BQ, axis=1)
        for x in (problems.breakpoints_BJ, n_BJ)
    )
    keys_BQ = (opens_BQ + 1 + 1 + n_BQ + own_BQ).astype(jnp.float32)
    n_layers, _, n_groups, n_sharing, n_queries, n_keys = slot_weights.shape
    shape = (n_layers, n_rows, n_groups * n_sharing, n_queries, n_keys // n_blocks, n_blocks)
    weights_LBHQS = slot_weights.reshape(shape).sum(axis=-1)  # those of other blocks are 0
    mass_LHS = jnp.einsum("LBHQS,BQ->LHS", weights_LBHQS, asks_BQ)
    return {
        "thoughts_LH": mass_LHS[..., 1:].sum(axis=-1),
        "start_LH": mass_LHS[..., 0],
        "thought_keys": jnp.sum(asks_BQ * n_BQ / keys_BQ),
        "start_keys": jnp.sum(asks_BQ / keys_BQ),
        "places": jnp.sum(asks_BQ),
    }


def mass_records(sums: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return a record for each layer and head, from the sums of all batches.

    Returns:
        "thoughts_mass_share" and "start_mass_share" of the attention; "thoughts_key_share", the
        thoughts' share of the keys that may be read; "thoughts_mass_ratio" and "start_mass_ratio",
        mass over share of keys.
    """
    places = max(float(sums["places"]), 1.0)
    keys = {name: float(sums[f"{name}_keys"]) / places for name in ("thought", "start")}
    records = []
    for layer, head in np.ndindex(*sums["thoughts_LH"].shape):
        thoughts, start = (
            float(sums[name][layer, head]) / places for name in ("thoughts_LH", "start_LH")
        )
        records.append(
            {
                "layer": layer + 1,
                "head": head + 1,
                "thoughts_mass_share": thoughts,
                "thoughts_key_share": keys["thought"],
                "thoughts_mass_ratio": thoughts / keys["thought"] if keys["thought"] else None,
                "start_mass_share": start,
                "start_mass_ratio": start / keys["start"] if keys["start"] else None,
            }
        )
    return records
