"""The gradient through the choice of a code: passed straight through, or rotated.

`straight_through`: van den Oord et al. 2017, "Neural Discrete Representation Learning"
(arXiv 1711.00937), section 3.2. `rotation`: Fifty et al. 2024, "Restructuring Vector Quantization
with the Rotation Trick" (arXiv 2410.06424), section 4.

Both functions return the code exactly; they differ in the Jacobian with respect to the latent.
"""

import jax
import jax.numpy as jnp

_EPSILON = 1e-12


def straight_through(z_NE: jax.Array, q_NE: jax.Array) -> jax.Array:
    """Return `q_NE`; the Jacobian with respect to `z_NE` is the identity."""
    return jax.lax.stop_gradient(q_NE) + (z_NE - jax.lax.stop_gradient(z_NE))


def rotation(z_NE: jax.Array, q_NE: jax.Array) -> jax.Array:
    """Return `q_NE`; the Jacobian with respect to `z_NE` is (|q| / |z|) R, held constant.

    R is the rotation that turns z onto q within their common plane and leaves all orthogonal
    directions unchanged. With u = z / |z|, v = q / |q| and w = (u + v) / |u + v| it is
    R = I - 2 w w^T + 2 v u^T, so it costs two products per latent and needs no matrix. The gradient
    at the latent then has the same angle to the latent as the gradient at the code to the code.

    Args:
        z_NE: latents, float32.
        q_NE: the code of each latent, float32. It gets no gradient.
    """
    q_NE = jax.lax.stop_gradient(q_NE)
    z_constant = jax.lax.stop_gradient(z_NE)
    z_norm = jnp.linalg.norm(z_constant, axis=-1, keepdims=True)
    q_norm = jnp.linalg.norm(q_NE, axis=-1, keepdims=True)
    u = z_constant / jnp.maximum(z_norm, _EPSILON)
    v = q_NE / jnp.maximum(q_norm, _EPSILON)
    # For opposite vectors w is 0, and the formula still maps z to q.
    w = u + v
    w = w / jnp.maximum(jnp.linalg.norm(w, axis=-1, keepdims=True), _EPSILON)

    turned = (
        z_NE
        - 2.0 * jnp.sum(z_NE * w, axis=-1, keepdims=True) * w
        + 2.0 * jnp.sum(z_NE * u, axis=-1, keepdims=True) * v
    )
    turned = turned * (q_norm / jnp.maximum(z_norm, _EPSILON))
    # `turned` equals q up to rounding. The result is exactly q, so that it equals a look-up.
    return q_NE + (turned - jax.lax.stop_gradient(turned))


GRADIENTS = {"straight_through": straight_through, "rotation": rotation}
