"""Sequences cut at places that depend on the text, within a static number of chunks per row.

    encoder -> router (p_BT) -> threshold (rate) -> cut -> pick -> inner network
            -> smooth -> dechunk -> decoder

Each file is one part: `base` cuts, picks and repeats; `rate` holds the thresholds to a target;
`ratio` is the loss of the paper; `smoothing` is the way back; every other file is a router.
"""

from latent_jax.chunking.dynamic.base import Cut, capacity_of, cut_at, pick, repeat
from latent_jax.chunking.dynamic.registry import Router, Sight, register, routers

__all__ = [
    "Cut",
    "Router",
    "Sight",
    "capacity_of",
    "cut_at",
    "pick",
    "register",
    "repeat",
    "routers",
]
