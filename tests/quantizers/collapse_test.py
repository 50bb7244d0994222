"""A small text autoencoder: the plain VQ collapses, the defaults keep the codebook in use."""

import pydoc_data.topics

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from latent_jax.quantizers import QuantizerConfig, codebook_perplexity, make_quantizer
from tests.compiled import init

V, D, BATCH, LENGTH, STEPS, WINDOW = 256, 64, 4, 128, 150, 30
PLAIN = {
    "gradient": "straight_through",
    "codebook_update": "learned",
    "metric": "euclidean",
    "code_dim": 0,
    "commitment_weight": 0.25,
    "kmeans_iterations": 0,
    "restart_threshold": 0.0,
}


class _Autoencoder(nn.Module):
    """Bytes, a convolution over 5 bytes, every 2 bytes to one code, and the same way back."""

    config: QuantizerConfig

    @nn.compact
    def __call__(self, ids_BT, train=False):
        x_BTD = self._mix(nn.Embed(256, D)(ids_BT))
        z_BKD = nn.Conv(D, (2,), strides=(2,), padding="VALID")(nn.LayerNorm()(x_BTD))
        mask_BK = jnp.ones(z_BKD.shape[:2], bool)
        quantized = make_quantizer(self.config)(z_BKD, mask_BK, train=train)
        x_BTD = nn.ConvTranspose(D, (2,), strides=(2,), padding="VALID")(quantized.z_q_BKD)
        return nn.Dense(256)(nn.LayerNorm()(self._mix(x_BTD))), quantized

    def _mix(self, x_BTD):
        return x_BTD + nn.Dense(D)(nn.gelu(nn.Conv(2 * D, (5,))(nn.LayerNorm()(x_BTD))))


def _train(**words):
    """Trains on Python's own documentation; (perplexity, accuracy) over the last steps."""
    pages = pydoc_data.topics.topics
    text = np.frombuffer("\n".join(pages[key] for key in sorted(pages)).encode(), np.uint8)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(text) - LENGTH, (STEPS, BATCH))
    rows = text[starts[..., None] + np.arange(LENGTH)].astype(np.int32)

    model = _Autoencoder(QuantizerConfig(codebook_size=V, d_model=D, **words))
    state = init(model, jax.random.key(0), rows[0])
    params = state.pop("params")
    optimizer = optax.adam(3e-3)

    def loss(params, state, ids_BT, key):
        (logits_BTV, quantized), state = model.apply(
            {"params": params, **state},
            ids_BT,
            train=True,
            rngs={"quantizer": key},
            mutable=["codebook"],
        )
        nats = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, ids_BT)
        accuracy = jnp.mean(jnp.argmax(logits_BTV, axis=-1) == ids_BT)
        total = jnp.mean(nats) + quantized.aux_loss
        return total, (state, quantized.stats["code_counts"], accuracy)

    @jax.jit
    def step(params, state, opt_state, ids_BT, key):
        gradient, (state, counts, accuracy) = jax.grad(loss, has_aux=True)(
            params, state, ids_BT, key
        )
        updates, opt_state = optimizer.update(gradient, opt_state)
        return optax.apply_updates(params, updates), state, opt_state, counts, accuracy

    opt_state = jax.jit(optimizer.init)(params)
    history = []
    for i, ids_BT in enumerate(rows):
        params, state, opt_state, *seen = step(
            params, state, opt_state, ids_BT, jax.random.fold_in(jax.random.key(1), i)
        )
        history.append(seen)
    counts, accuracies = zip(*jax.device_get(history[-WINDOW:]), strict=True)
    return codebook_perplexity(np.sum(counts, axis=0)), float(np.mean(accuracies))


def test_a_plain_vq_collapses_and_the_defaults_do_not():
    plain, plain_accuracy = _train(**PLAIN)
    default, default_accuracy = _train()
    assert plain < 0.15 * V
    assert default > 0.25 * V
    assert default_accuracy > plain_accuracy + 0.05


@pytest.mark.slow
def test_a_learned_codebook_with_rotation_stays_in_use_too():
    perplexity, _ = _train(codebook_update="learned", gradient="rotation")
    assert perplexity > 0.25 * V
