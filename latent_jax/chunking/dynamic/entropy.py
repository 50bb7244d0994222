"""The routers of BLT: a chunk ends where the next byte is hard to predict.

Pagnoni et al. 2024, "Byte Latent Transformer: Patches Scale Better Than Tokens" (arXiv 2412.09871),
section 2.3: a patch begins with a byte whose entropy under a small byte model, given what stands
before it, is above a threshold (equation 2), or has risen by more than one (equation 3). H_t is the
entropy of the byte behind position t, so that the boundary at t ends the patch before that byte,
and the network over chunks runs before the byte is predicted.

BLT also begins a patch at the first two positions of a text. The first patch is then the mark of
the beginning alone, and the second one begins with the first byte. Here the mark is the separator,
which is a chunk by itself, because there always is a boundary at it.

p is the logistic function of the distance to the threshold in nats, so that the threshold of rate
control, which moves log-odds, is one in nats. The model of entropies is frozen: there is nothing to
learn and no loss.

The third rule of BLT's paper for patches, the k positions of a row with the highest entropies, is
left out: whether a position is one of them depends on what is later, and no text could be written
with it.
"""

import jax
import jax.numpy as jnp

from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.chunking.dynamic.registry import register

THETA = 1.335442066192627
"""Nats; the default of the authors' code, for patches of 4.5 bytes under their entropy model."""

NEVER = -30.0
"""A distance below every threshold."""


class OfEntropies(Router):
    """What routers by entropies share; subclasses state `kind` and have `distance`.

    Attributes:
        theta: nats, the threshold before rate control moves it.
    """

    learns = False
    weight = 0.0
    reads_signal = True

    theta: float = THETA

    def __call__(self, sight: Sight) -> jax.Array:
        """Return p of the distance to the threshold; see `Router`."""
        if sight.signal_BT is None:
            raise ValueError(
                f"the router {self.kind} reads entropies of a byte model, and there is none: the "
                "model needs one (HierarchicalConfig.entropy), or `features` a signal_BT"
            )
        return jax.nn.sigmoid(self.distance(sight))

    def distance(self, sight: Sight) -> jax.Array:
        """Return by how many nats each position is above the threshold, float32[B, T]."""
        raise NotImplementedError

    @staticmethod
    def loss(is_boundary_BT, p_BT, mask_BT, rate):
        """Return 0: nothing is learned here."""
        del is_boundary_BT, p_BT, mask_BT, rate
        return jnp.zeros((), jnp.float32)


@register
class Entropy(OfEntropies):
    """A boundary where H_t > theta: BLT's global threshold."""

    kind = "entropy"

    def distance(self, sight):
        """Return H_t - theta."""
        return sight.signal_BT - self.theta


@register
class Rise(OfEntropies):
    """A boundary where H_t - H_{t-1} > theta: BLT's approximate monotonicity."""

    kind = "rise"

    def distance(self, sight):
        """Return H_t - H_{t-1} - theta."""
        return sight.signal_BT - sight.signal_before_BT - self.theta


@register
class EntropyRise(OfEntropies):
    """A boundary where H_t > theta and H_t > H_{t-1}, and not directly behind a document's start.

    It is the rule of the authors' code in which both hold. Rate control moves both thresholds by
    the same nats.
    """

    kind = "entropy_rise"

    def distance(self, sight):
        """Return the smaller one of both distances."""
        rise_BT = sight.signal_BT - sight.signal_before_BT
        least_BT = jnp.minimum(sight.signal_BT - self.theta, rise_BT)
        return jnp.where(sight.since_start_BT == 1, NEVER, least_BT)
