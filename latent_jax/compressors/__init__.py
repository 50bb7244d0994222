"""Learned shortening of sequences of vectors by a fixed factor, each beside its way back."""

from latent_jax.compressors.base import KINDS, CompressorConfig, Latents, latent_mask
from latent_jax.compressors.registry import COMPRESSORS, make_compressor, make_decompressor

__all__ = [
    "COMPRESSORS",
    "KINDS",
    "CompressorConfig",
    "Latents",
    "latent_mask",
    "make_compressor",
    "make_decompressor",
]
