"""Compressors that shorten sequences of vectors by a fixed factor, each with its decompressor."""

from latent_jax.chunking.fixed.base import CompressorConfig, latent_mask
from latent_jax.chunking.fixed.registry import all_options, compressors, make_config

__all__ = [
    "CompressorConfig",
    "all_options",
    "compressors",
    "latent_mask",
    "make_config",
]
