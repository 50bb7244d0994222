"""The cross-entropy of a tied head, by one of three implementations of the same numbers."""

import jax
import jax.numpy as jnp

from latent_jax.tasks.blockwise import blockwise_nats
from latent_jax.tasks.fused import fused_cross_entropy
from latent_jax.tasks.losses import log_partition, token_nats

HEADS = ("auto", "whole", "blocks", "fused")
"""How the cross-entropy is computed:

- "whole": from all logits at once;
- "blocks": from one block of the vocabulary at a time (`tasks.blockwise`);
- "fused": together with its gradient, a few positions at a time (`tasks.fused`);
- "auto": the platform's choice, which is made when the task is made.
"""


def cross_entropy(
    head: str,
    x_BTD: jax.Array,
    table_VD: jax.Array,
    ids_BT: jax.Array,
    weights_BT: jax.Array,
    z_loss: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Return sum(w (nats + z_loss log(Z)^2)) and sum(w nats), float32 scalars.

    nats = -log softmax(x W^T)[id], and Z is the sum of the exponentials of the logits. Only the
    first result may be differentiated.

    Args:
        head: one of `HEADS` except "auto".
        x_BTD: features in the compute dtype; the product uses this dtype.
        table_VD: float32, one row per id.
        ids_BT: int32, the ids that are scored.
        weights_BT: float32, w, the weight of each position.
        z_loss: weight of the squared log-partition.
    """
    if head == "fused":
        return fused_cross_entropy(x_BTD, table_VD, ids_BT, weights_BT, z_loss)
    nats_BT, log_z_BT = position_nats(head, x_BTD, table_VD, ids_BT)
    nats = jnp.sum(nats_BT * weights_BT)
    if not z_loss:
        return nats, nats
    return nats + z_loss * jnp.sum(jnp.square(log_z_BT) * weights_BT), nats


def position_nats(
    head: str, x_BTD: jax.Array, table_VD: jax.Array, ids_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the nats of each position and log(Z), both float32[B, T]; both differentiate.

    Args:
        head: "whole" or "blocks".
        x_BTD: as in `cross_entropy`.
        table_VD: likewise.
        ids_BT: likewise.
    """
    if head == "whole":
        table_VD = table_VD.astype(x_BTD.dtype)
        logits_BTV = jnp.einsum("BTD,VD->BTV", x_BTD, table_VD, preferred_element_type=jnp.float32)
        return token_nats(logits_BTV, ids_BT), log_partition(logits_BTV)
    x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
    found = blockwise_nats(x_ND, table_VD, ids_BT.reshape(-1))
    nats_BT, log_z_BT = (part_N.reshape(ids_BT.shape) for part_N in found)
    return nats_BT, log_z_BT
