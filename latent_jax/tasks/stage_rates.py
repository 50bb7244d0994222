"""Factors on the learning rate by stage, of hierarchical models.

Hwang et al. 2025 (H-Net, arXiv 2507.07955), section 2.3.
"""

import math
from collections.abc import Callable, Mapping

import jax

from latent_jax.models.hierarchy_config import HierarchicalConfig

STAGE_RATES = ("hnet", "equal")
"""Factors on the learning rate by stage: those of the paper, or none."""


BYTES_PER_TOKEN = 4.6
"""Of GPT-2's tokenizer, for which learning rates are known (H-Net, section 2.3)."""


def stage_rates(
    config: HierarchicalConfig, cut: float
) -> Mapping[str, Callable[[jax.Array], jax.Array]]:
    """Return for patterns of parameters a function from the step to a factor, see `Task`.

    It is sqrt(4.6 / (c N_0 ... N_{s-1}) x D_S / D_s) at stage s, where N are positions per chunk, D
    widths, and S is the main network.

    Args:
        config: of the model.
        cut: c, raw bytes per id; tokens are chunks already.
    """
    depth, rates = len(config.stages), {}
    for number, width in enumerate(config.widths):
        factor = math.sqrt(BYTES_PER_TOKEN / cut * config.widths[-1] / width)
        beyond = "" if number == depth else "(?!inner/)"
        path = f"params/stage/{'inner/' * number}{beyond}.*"
        if not number:
            path = rf"params/(token_embedding/.*|ngrams/.*|stage/{beyond}.*)"
        rates[path] = _constant(factor)
        cut *= config.stages[number].chunker.rate if number < depth else 1.0
    return rates


def _constant(factor: float):
    """Return a schedule that is the same at every step."""
    return lambda step: factor + 0.0 * step
