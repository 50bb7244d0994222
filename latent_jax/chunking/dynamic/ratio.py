"""The ratio loss of H-Net, which pulls the rate of boundaries towards 1 / N.

Hwang et al. 2025 (arXiv 2507.07955), section 2.2: the load-balancing loss of mixtures of
experts, for two of them:

    L = N / (N - 1) ((N - 1) F G + (1 - F) (1 - G))

F is the share of positions that are boundaries, without a gradient, and G the mean of p. The loss
is 1 where F = 1 / N, whatever G is: under exact rate control its gradient is 0.
"""

import jax
import jax.numpy as jnp


def ratio_loss(
    is_boundary_BT: jax.Array, p_BT: jax.Array, mask_BT: jax.Array, rate: float
) -> jax.Array:
    """Return the loss over all real positions of a batch, float32 scalar.

    Args:
        is_boundary_BT: bool.
        p_BT: float32, probabilities of boundaries.
        mask_BT: bool, True at real positions.
        rate: N, positions per chunk, more than 1.
    """
    n = jnp.maximum(jnp.sum(mask_BT), 1).astype(jnp.float32)
    share = jnp.sum(is_boundary_BT & mask_BT) / n
    mean = jnp.sum(jnp.where(mask_BT, p_BT, 0.0)) / n
    return rate / (rate - 1.0) * ((rate - 1.0) * share * mean + (1.0 - share) * (1.0 - mean))
