"""Hierarchical models small enough for any test, and rows of two documents."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.chunking.dynamic import routers
from latent_jax.chunking.dynamic.chunker import ChunkerConfig
from latent_jax.layers.config import TransformerConfig
from latent_jax.layers.cross_reach import CrossReach
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.reach import AttentionReach, MambaReach
from latent_jax.layers.up_attention import UpReach
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.hierarchical import HierarchicalModel
from latent_jax.models.hierarchy_config import HierarchicalConfig, StageConfig

T, SEPARATOR = 24, 256
TEXT = b"An owl sees two mice; then it flew away, over a hill and far."


def make_config(
    router="cosine",
    *,
    stages=1,
    outer="mamba",
    widths=(8,),
    width=8,
    rate=3.0,
    slack=8.0,
    control_steps=0,
    window=0,
    layers=1,
    pooling="pick",
    way_back="smooth",
    residual="linear",
    joint=False,
    middle=None,
    vocab_size=257,
    cross=0,
    up=False,
    **words,
):
    """Return a config; with slack 8 no row overflows.

    With `cross`, patches of one stage are so many vectors, which bytes read. With `up`, positions
    read all chunks by attention.
    """
    block = dict(vocab_size=0, max_length=T, positions="rotary", norm="rms", use_bias=False)
    main = TransformerConfig(**block, n_layers=layers, d_model=width, n_heads=2)
    inner = AttentionReach(main if middle is None else MiddleConfig.of(main, **middle))
    for one in reversed((*widths, *(widths[-1],) * (stages - len(widths)))):
        stack = TransformerConfig(**block, n_layers=1, d_model=one, n_heads=2)
        reach = AttentionReach(stack, window)
        decoder = dataclasses.replace(reach, reads_chunks=True) if joint else None
        reach = MambaReach.of(one, 1, 4, "float32") if outer == "mamba" else reach
        cut = dict(rate=rate, slack=slack, control_steps=control_steps, pooling=pooling)
        if cross:
            cut |= dict(pooling="cross", pooling_options=(("n_vectors", cross), ("reach", 5)))
        chunker = ChunkerConfig(kind=router, width=one, **cut)
        back = dict(way_back=way_back, residual=residual, decoder=decoder)
        back |= dict(up=UpReach(stack)) if up else {}
        if cross:
            decoder = CrossReach(reach, width, cross)
            back = dict(way_back="repeat", residual="identity", decoder=decoder)
        inner = StageConfig(outer=reach, chunker=chunker, inner=inner, **back)
    words = dict(vocab_size=vocab_size, separator_id=SEPARATOR) | words
    if routers()[router].reads_signal:
        words.setdefault("entropy", entropy_reach(T))
    return HierarchicalConfig(stage=inner, **words)


def entropy_reach(window):
    """Return the network of a byte model that reads a window."""
    words = dict(positions="rotary", norm="rms", use_bias=False, n_layers=1, d_model=8, n_heads=2)
    return AttentionReach(GPTConfig(vocab_size=257, max_length=window, **words), window)


def rows(length=T):
    """Return ids int32[2, T] as a model reads them: two documents, and one."""
    ids = np.frombuffer(TEXT[: 2 * length - 2], np.uint8).astype(np.int32)
    first, second = ids[: length - 2], ids[length - 1 :]
    first = np.concatenate([[SEPARATOR], first[: length // 2], [SEPARATOR], first[length // 2 :]])
    return jnp.asarray(np.stack([first, np.concatenate([[SEPARATOR], second])[:length]]))


@functools.cache
def variables_of(config):
    """Return drawn variables, farther from zero, so that every part counts."""
    drawn = jax.jit(HierarchicalModel(config).init)(jax.random.key(0), rows()[:, :4])
    keys = iter(jax.random.split(jax.random.key(1), 200))

    def louder(leaf):
        noise = jax.random.normal(next(keys), leaf.shape)
        return leaf + 0.3 * noise / max(leaf.shape[0] if leaf.ndim > 1 else 4, 4) ** 0.5

    kept = {name: drawn[name] for name in ("params", "rate") if name in drawn}
    params = jax.tree.map(louder, kept["params"])
    if config.entropy is not None:  # so that entropies lie around the threshold of BLT
        table = params["entropy_model"]["token_embedding"]
        params["entropy_model"]["token_embedding"] = {"embedding": 45.0 * table["embedding"]}
    return {**kept, "params": params}
