"""A small GPT over bytes, trained for a moment: it drives the coders of these tests."""

import functools
import pydoc_data.topics

import jax
import numpy as np
import optax

from latent_jax.models.byte_model import GPTByteModel
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.tokenizers.byte_model import BEGIN

CONFIG = GPTConfig(
    vocab_size=257,
    max_length=64,
    n_layers=1,
    d_model=32,
    n_heads=2,
    d_ff=64,
    norm="rms",
    gated=True,
    activation="relu",
    positions="relative",
    use_bias=False,
)


MODEL, OPTIMIZER = GPT(CONFIG), optax.adam(1e-2)


@jax.jit
def begin(key, ids_BT):
    tree = MODEL.init(key, ids_BT)["params"]
    return tree, OPTIMIZER.init(tree)


@jax.jit
def step(tree, state, ids_BT):
    def loss(tree):
        logits_BTV = MODEL.apply({"params": tree}, ids_BT[:, :-1])
        return optax.softmax_cross_entropy_with_integer_labels(logits_BTV, ids_BT[:, 1:]).mean()

    update, state = OPTIMIZER.update(jax.grad(loss)(tree), state)
    return optax.apply_updates(tree, update), state


@functools.cache
def params(seed: int = 0):
    """Parameters after 200 steps on Python's own documentation."""
    text = "".join(pydoc_data.topics.topics.values()).encode()
    starts = np.random.default_rng(seed).integers(0, len(text) - 32, (200, 16))
    rows = np.frombuffer(text, np.uint8)[starts[..., None] + np.arange(32)]
    ids_NBT = np.insert(rows.astype(np.int32), 0, BEGIN, axis=2)
    tree, state = begin(jax.random.key(seed), ids_NBT[0])
    for ids_BT in ids_NBT:
        tree, state = step(tree, state, ids_BT)
    return tree


@functools.cache
def byte_model(lanes: int = 8, context: int = 16, seed: int = 0) -> GPTByteModel:
    return GPTByteModel(CONFIG, params(seed), context, lanes)
