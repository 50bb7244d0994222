"""Sampling from trained models with a cache, and text made from the drawn ids or latents."""

from latent_jax.generation.decoders import CodeDecoder, Decoder, TokenDecoder
from latent_jax.generation.decoding import Drawn, Lanes, draw, start
from latent_jax.generation.sampling import Sampling, log_probabilities, sample

__all__ = [
    "CodeDecoder",
    "Decoder",
    "Drawn",
    "Lanes",
    "Sampling",
    "TokenDecoder",
    "draw",
    "log_probabilities",
    "sample",
    "start",
]
