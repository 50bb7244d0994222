"""Losses of routers that are taught boundaries: what the targets are, and binary cross-entropy.

Nawrot et al. 2023 (arXiv 2211.09761), section 2.2, and the authors' code
(github.com/PiotrNawrot/dynamic-pooling):

- "entropy": H_t is the entropy of the model's own prediction behind position t. The target is 1
  where H_t is greater than each of the two values before it, as far as they are of the document.
  So chunks end before bytes of which the model is suddenly unsure. Targets have no gradient.
- "batch": the field "boundaries" of a batch says of each byte whether a piece of a tokenizer ends
  with it (`tokenizers.marked_bytes`). The target of a position is that of the byte it reads.

The loss is the mean over positions where a router decides: real ones at which no document starts.
It reads the router's own probabilities. Were they moved by the threshold, loss and threshold would
push against each other without end.

What is ours: the authors' code gives probabilities to a loss that expects log-odds
(`BCEWithLogitsLoss` behind a sigmoid), so that p tends to 0 or 1 and is above 1/2 only where a
target is likelier than 0.62. The paper states plain cross-entropy, and so it is here. Entropies of
an earlier document do not count.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Router
from latent_jax.chunking.dynamic.rate import EDGE
from latent_jax.models.stage import Boundaries
from latent_jax.tokenizers.marked_bytes import BOUNDARIES

LEFT = 2
"""Values before it that a spike is greater than."""


def fields_of(router: type[Router]) -> tuple[str, ...]:
    """Return the fields that a task with such a router reads."""
    return ("ids", BOUNDARIES) if router.taught_by == "batch" else ("ids",)


def spikes(entropy_BT: jax.Array, starts_BT: jax.Array) -> jax.Array:
    """Return where a value is greater than each of the `LEFT` ones before it, bool[B, T].

    Args:
        entropy_BT: float32.
        starts_BT: bool, where documents start; values of an earlier one do not count.
    """
    document_BT = jnp.cumsum(starts_BT, axis=1, dtype=jnp.int32)
    found_BT = jnp.ones(entropy_BT.shape, bool)
    for back in range(1, LEFT + 1):
        before_BT = jnp.pad(entropy_BT[:, :-back], ((0, 0), (back, 0)), constant_values=-jnp.inf)
        of_BT = jnp.pad(document_BT[:, :-back], ((0, 0), (back, 0)), constant_values=-1)
        found_BT &= (entropy_BT > before_BT) | (of_BT != document_BT)
    return found_BT


def ends_read(boundaries_BT: jax.Array) -> jax.Array:
    """Return whether the id that a position reads ends a piece, bool[B, T].

    Position t reads the id before the one that it is scored on; the first one reads a separator.

    Args:
        boundaries_BT: bool, whether the scored id of a position ends a piece.
    """
    return jnp.pad(boundaries_BT[:, :-1], ((0, 0), (1, 0)), constant_values=True).astype(bool)


def taught_sums(targets_BT: jax.Array, found: Boundaries) -> dict[str, jax.Array]:
    """Return sums over the positions where the router decides, float32 scalars.

    Args:
        targets_BT: bool, where boundaries should be.
        found: what the outermost stage decided.

    Returns:
        "boundary_nats", the cross-entropy, which is differentiated; "n_decided", positions;
        "n_targets" and "n_cut", boundaries that should be and are; "n_hits", those that are both.
    """
    is_free_BT = found.row.mask_BT & ~found.row.starts_BT
    p_BT = jnp.clip(found.own_BT, EDGE, 1.0 - EDGE)
    nats_BT = -jnp.where(targets_BT, jnp.log(p_BT), jnp.log1p(-p_BT))
    is_cut_BT = found.cut.is_first_BT

    def count(is_BT):
        return jnp.sum(is_BT & is_free_BT).astype(jnp.float32)

    return {
        "boundary_nats": jnp.sum(jnp.where(is_free_BT, nats_BT, 0.0)),
        "n_decided": count(is_free_BT),
        "n_targets": count(targets_BT),
        "n_cut": count(is_cut_BT),
        "n_hits": count(targets_BT & is_cut_BT),
    }


def taught_loss(sums: Mapping[str, jax.Array]) -> jax.Array:
    """Return the mean cross-entropy of `taught_sums` in nats, float32 scalar."""
    return sums["boundary_nats"] / jnp.maximum(sums["n_decided"], 1.0)


def taught_metrics(sums: Mapping[str, float]) -> dict[str, float]:
    """Return the mean cross-entropy, and precision and recall of the boundaries that were cut."""
    n_hits = float(sums["n_hits"])
    return {
        "boundary_nats_per_token": float(sums["boundary_nats"]) / max(float(sums["n_decided"]), 1),
        "boundary_precision": n_hits / max(float(sums["n_cut"]), 1.0),
        "boundary_recall": n_hits / max(float(sums["n_targets"]), 1.0),
    }
