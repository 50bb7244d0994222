"""A decoder that is trained to restore text from the language model's choices.

The choice for a place depends on all true codes before it. So what the model chooses after a code
tells something of that code, and a decoder that sees the whole row may read it there, also where
the choice for the code itself was wrong. A decoder that was trained on true codes never learned to.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from latent_jax.analysis.codes import score_ids
from latent_jax.bars import counted
from latent_jax.models.latent_lm import LatentLanguageModel, LatentLMConfig

PARTS = ("decompressor", "decoder", "byte_head")
"""The parameters of the autoencoder that are trained; everything else stays as it is."""

BATCH_SIZE = 16
LEARNING_RATE = 1e-3


def decoder_trained_on_choices(
    config: LatentLMConfig,
    variables: Mapping[str, Any],
    ids_NT: np.ndarray,
    *,
    steps: int,
    seed: int,
) -> dict[str, Any]:
    """Return the collections with a decoder trained on the choices for rows of text.

    It begins with the run's own decoder, and minimizes -log p(x | z_hat) of all bytes by Adam, at
    a rate that falls to 0 by a cosine.

    Args:
        config: of the model; its latents are discrete.
        variables: its Flax collections, which stay as they are.
        ids_NT: int32, rows of training text; drawn anew for every step.
        steps: optimizer steps.
        seed: of the draws.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))

    def with_decoder(decoder):
        params = variables["params"]
        autoencoder = {**params["autoencoder"], **decoder}
        return {**variables, "params": {**params, "autoencoder": autoencoder}}

    def loss(decoder, choice_BK, ids_BT):
        masks = jnp.ones(choice_BK.shape, bool), jnp.ones(ids_BT.shape, bool)
        logits_BTV = LatentLanguageModel(config).apply(
            with_decoder(decoder), choice_BK, *masks, method=LatentLanguageModel.decode_codes
        )
        return jnp.mean(score_ids(logits_BTV, ids_BT)[0])

    @jax.jit
    def step(decoder, state, ids_BT):
        mask_BT = jnp.ones(ids_BT.shape, bool)
        output = LatentLanguageModel(config).apply(variables, ids_BT, mask_BT)
        choice_BK = jnp.argmax(output.code_logits_BKV, axis=-1).astype(jnp.int32)
        gradient = jax.grad(loss)(decoder, choice_BK, ids_BT)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(decoder, updates), state

    autoencoder = variables["params"]["autoencoder"]
    decoder = {part: autoencoder[part] for part in PARTS if part in autoencoder}
    state = optimizer.init(decoder)
    generator = np.random.default_rng(seed)
    for _ in counted(range(steps), "training a decoder on choices", steps, "steps"):
        rows = generator.integers(len(ids_NT), size=BATCH_SIZE)
        decoder, state = step(decoder, state, ids_NT[rows])
    return with_decoder(decoder)
