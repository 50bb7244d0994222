"""Boundaries where the model's own uncertainty about the next byte spikes.

Nawrot et al. 2023 (arXiv 2211.09761), section 2.2, "entropy spikes". The entropy is known behind
the head only, so a predictor learns them: `tasks.boundary_losses` has the targets and the loss.
"""

from latent_jax.chunking.dynamic.predictor import TaughtPredictor
from latent_jax.chunking.dynamic.registry import register


@register
class Spikes(TaughtPredictor):
    """A predictor of spikes of the model's own entropy."""

    kind = "spikes"
    taught_by = "entropy"
