"""From the state behind a position to the vector that is read as the next thought.

Coconut (Hao et al. 2024, arXiv 2412.06769) feeds the state back as it is. In trained models it is
longer than an embedding by an order of magnitude, so others bring it to where inputs lie: by its
norm, by a small network (CODI, arXiv 2502.21074), or as a mean of embeddings (soft thinking).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.dense import Dense
from latent_jax.nearest import check_word

PROJECTIONS = ("raw", "norm", "mlp", "soft", "fusion")
"""How a thought is made of a state h:

- "raw": h itself (Coconut);
- "norm": h, scaled to the mean norm of the embeddings;
- "mlp": two dense layers with a GELU between them and a layer norm, scaled to that norm (CODI);
- "soft": the mean of the embeddings of the `SOFT_TOP` likeliest ids, weighted by their
  probabilities;
- "fusion": a share a of "mlp" and 1 - a of "soft"; a is learned and begins at 1/2.
"""

SOFT_TOP = 64


class Projection(nn.Module):
    """Make thoughts of states; [..., D] in and out, in the dtype of the states.

    Attributes:
        kind: one of `PROJECTIONS`.

    Raises:
        ValueError: the kind is unknown.
    """

    kind: str

    @property
    def decays(self):
        """Only matrices are decayed."""
        return {"gain": False, "share": False}

    @nn.compact
    def __call__(self, h: jax.Array, table_VD: jax.Array) -> jax.Array:
        """Return thoughts.

        Args:
            h: states after the final norm, [..., D].
            table_VD: float32, the embeddings; no gradient reaches it through their norm.
        """
        check_word("projection", self.kind, PROJECTIONS)
        if self.kind == "raw":
            return h
        if self.kind == "soft":
            return _soft(h, table_VD)
        norm = jax.lax.stop_gradient(jnp.mean(jnp.linalg.norm(table_VD, axis=-1)))
        if self.kind == "norm":
            return _scaled(h, norm)
        gain = self.param("gain", nn.initializers.zeros, (), jnp.float32)
        width, dtype = h.shape[-1], h.dtype.name
        hidden = nn.gelu(Dense((width,), (width,), dtype, name="up")(h))
        made = _scaled(_centred(Dense((width,), (width,), dtype, name="down")(hidden)), norm)
        made = made * jnp.exp(gain).astype(h.dtype)
        if self.kind == "mlp":
            return made
        share = nn.sigmoid(self.param("share", nn.initializers.zeros, (), jnp.float32))
        share = share.astype(h.dtype)
        return share * made + (1 - share) * _soft(h, table_VD)


def _centred(x: jax.Array) -> jax.Array:
    x32 = x.astype(jnp.float32)
    return (x32 - jnp.mean(x32, axis=-1, keepdims=True)).astype(x.dtype)


def _scaled(x: jax.Array, norm: jax.Array) -> jax.Array:
    """Return x scaled to a norm, in x's dtype; the floor keeps the gradient of zeros finite."""
    x32 = x.astype(jnp.float32)
    square = jnp.sum(jnp.square(x32), axis=-1, keepdims=True)
    return (x32 * (norm * jax.lax.rsqrt(square + 1e-12))).astype(x.dtype)


def _soft(h: jax.Array, table_VD: jax.Array) -> jax.Array:
    logits = jnp.einsum(
        "...D,VD->...V", h, table_VD.astype(h.dtype), preferred_element_type=jnp.float32
    )
    top, ids = jax.lax.top_k(logits, min(SOFT_TOP, logits.shape[-1]))
    weights = jax.nn.softmax(top, axis=-1)
    return jnp.einsum("...k,...kD->...D", weights, table_VD[ids]).astype(h.dtype)
