"""Chunks of a fixed number of positions, counted from the start of each document."""

import fractions
import math

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.chunking.dynamic.registry import register
from latent_jax.ranges import INT32


@register
class Stride(Router):
    """A boundary at every n-th position of a document: the control of every learned router.

    A fraction n takes turns between two whole numbers: the k-th boundary behind the start is at
    position ceil(k n).
    """

    kind = "stride"
    is_soft = False
    holds_rate = True
    learns = False
    weight = 0.0

    def __call__(self, sight: Sight) -> jax.Array:
        """Return 1 at every n-th position; see `Router`."""
        # i = ceil(k a / b) for some k where i b mod a < b; the products stay in int32.
        a, b = as_fraction(self.rate)
        return (sight.since_start_BT % a * b % a < b).astype(jnp.float32)


def as_fraction(rate: float) -> tuple[int, int]:
    """Return a and b with a / b = `rate`, or nearest to it among those whose a b is in int32."""
    most = max(1, math.isqrt(int(INT32 / (rate + 1.0))))
    return fractions.Fraction(repr(rate)).limit_denominator(most).as_integer_ratio()
