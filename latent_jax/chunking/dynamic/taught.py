"""Boundaries of a tokenizer, which a predictor learns, because the tokenizer reads ahead.

Nawrot et al. 2023 (arXiv 2211.09761), section 2.2, "subword tokenizers". Batches have the targets
(`tokenizers.marked_bytes`), and `tasks.boundary_losses` the loss.
"""

from latent_jax.chunking.dynamic.predictor import TaughtPredictor
from latent_jax.chunking.dynamic.registry import register


@register
class Taught(TaughtPredictor):
    """A predictor of the boundaries that a batch has."""

    kind = "taught"
    taught_by = "batch"
