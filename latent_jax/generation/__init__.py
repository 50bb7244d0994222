"""Sampling from trained models, with a cache; ids and latents back to text."""

from latent_jax.generation.decoding import Decoder, Drawn, Lanes, draw, start
from latent_jax.generation.sampling import Sampling, log_probabilities, sample

__all__ = [
    "Decoder",
    "Drawn",
    "Lanes",
    "Sampling",
    "draw",
    "log_probabilities",
    "sample",
    "start",
]
