"""Parts of networks that no task is built into: attention, feed-forward, norms, embeddings."""

from latent_jax.layers.activations import ACTIVATIONS
from latent_jax.layers.attention import Attention, attend
from latent_jax.layers.block import Block, Stack
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.dense import Dense, residual_init
from latent_jax.layers.embeddings import PositionEmbedding, TokenEmbedding
from latent_jax.layers.feed_forward import FeedForward
from latent_jax.layers.norms import LayerNorm, layer_norm

__all__ = [
    "ACTIVATIONS",
    "Attention",
    "Block",
    "Dense",
    "FeedForward",
    "LayerNorm",
    "PositionEmbedding",
    "Stack",
    "TokenEmbedding",
    "TransformerConfig",
    "attend",
    "layer_norm",
    "residual_init",
]
