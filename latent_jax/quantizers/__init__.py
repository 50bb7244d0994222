"""Quantizers from vectors to integer codes and back: VQ, residual VQ, FSQ, and no quantization."""

import flax.linen as nn

from latent_jax.nearest import check_word
from latent_jax.quantizers.base import Quantized, QuantizerConfig
from latent_jax.quantizers.fsq import FSQ
from latent_jax.quantizers.identity import Identity
from latent_jax.quantizers.levels import levels_of
from latent_jax.quantizers.rvq import RVQ
from latent_jax.quantizers.statistics import codebook_perplexity, codebook_usage, dead_codes
from latent_jax.quantizers.vq import VQ

QUANTIZERS: dict[str, type[nn.Module]] = {"vq": VQ, "rvq": RVQ, "fsq": FSQ, "none": Identity}


def make_quantizer(config: QuantizerConfig, name: str | None = None) -> nn.Module:
    """Return the quantizer of a config.

    Args:
        config: the config; `config.kind` chooses the class.
        name: Flax name of the module inside its parent.

    Raises:
        ValueError: the kind is unknown; the message names the nearest known one.
    """
    check_word("quantizer", config.kind, QUANTIZERS)
    return QUANTIZERS[config.kind](config, name=name)


__all__ = [
    "FSQ",
    "QUANTIZERS",
    "RVQ",
    "VQ",
    "Identity",
    "Quantized",
    "QuantizerConfig",
    "codebook_perplexity",
    "codebook_usage",
    "dead_codes",
    "levels_of",
    "make_quantizer",
]
