"""Sequences cut at places that depend on the text, within a static number of chunks per row.

    encoder -> router (p_BT) -> threshold (rate) -> cut -> pick -> inner network
            -> smooth -> dechunk -> decoder

Each file is one part: `base` cuts, picks and repeats; `rate` holds the thresholds to a target;
`schedule` moves the target; `ratio` is the loss of H-Net; `row` is what is known of positions;
`parts` says what routers, poolings and ways back are, and `registry` knows them by name; `chunker`
puts them together, `predictor` is shared by three routers, and `ends` says where chunks end in a
text. Every other file is a router, a pooling or a way back.
"""

from latent_jax.chunking.dynamic.base import Cut, capacity_of, cut_at, pick, repeat
from latent_jax.chunking.dynamic.parts import Pooling, Router, Sight, WayBack
from latent_jax.chunking.dynamic.registry import poolings, register, routers, ways_back

__all__ = [
    "Cut",
    "Pooling",
    "Router",
    "Sight",
    "WayBack",
    "capacity_of",
    "cut_at",
    "pick",
    "poolings",
    "register",
    "repeat",
    "routers",
    "ways_back",
]
