"""How a gradient passes the choice of a code: straight through it, or turned with it.

`straight_through`: van den Oord et al. 2017, "Neural Discrete Representation Learning"
(arXiv 1711.00937), section 3.2. `rotation`: Fifty et al. 2024, "Restructuring Vector Quantization
with the Rotation Trick" (arXiv 2410.06424), section 4.

Both functions give the code exactly; they differ only in the Jacobian with respect to the latent.
"""

import jax
import jax.numpy as jnp

_EPSILON = 1e-12


def straight_through(z_NE: jax.Array, q_NE: jax.Array) -> jax.Array:
    """Give `q_NE`; the gradient reaches `z_NE` unchanged (the Jacobian is the identity)."""
    return jax.lax.stop_gradient(q_NE) + (z_NE - jax.lax.stop_gradient(z_NE))


def rotation(z_NE: jax.Array, q_NE: jax.Array) -> jax.Array:
    """Give `q_NE`; the Jacobian with respect to `z_NE` is (|q| / |z|) R, held constant.

    R is the rotation that turns z onto q within their common plane and leaves the rest of the space
    alone. With u = z / |z|, v = q / |q| and w = (u + v) / |u + v|, R = I - 2 w w^T + 2 v u^T: two
    products per latent, no matrix. Gradients so keep their angle to the code that was chosen.

    Args:
        z_NE: Latents, float32.
        q_NE: The code of each latent, float32. No gradient reaches it.
    """
    q_NE = jax.lax.stop_gradient(q_NE)
    z_constant = jax.lax.stop_gradient(z_NE)
    z_norm = jnp.linalg.norm(z_constant, axis=-1, keepdims=True)
    q_norm = jnp.linalg.norm(q_NE, axis=-1, keepdims=True)
    u = z_constant / jnp.maximum(z_norm, _EPSILON)
    v = q_NE / jnp.maximum(q_norm, _EPSILON)
    # For opposite vectors w is 0, and the formula still turns z onto q.
    w = u + v
    w = w / jnp.maximum(jnp.linalg.norm(w, axis=-1, keepdims=True), _EPSILON)

    turned = (
        z_NE
        - 2.0 * jnp.sum(z_NE * w, axis=-1, keepdims=True) * w
        + 2.0 * jnp.sum(z_NE * u, axis=-1, keepdims=True) * v
    )
    turned = turned * (q_norm / jnp.maximum(z_norm, _EPSILON))
    # `turned` equals q up to rounding; the value is made exact, so that a look-up gives the same.
    return q_NE + (turned - jax.lax.stop_gradient(turned))


GRADIENTS = {"straight_through": straight_through, "rotation": rotation}
