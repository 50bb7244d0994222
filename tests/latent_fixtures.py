"""A latent language model small enough for any test, and a batch of real English rows."""

import pydoc_data.topics

import jax.numpy as jnp
import numpy as np

from latent_jax.chunking import fixed
from latent_jax.models.autoencoder import AutoencoderConfig
from latent_jax.models.bert import BERTConfig
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.latent_lm import LatentLMConfig
from latent_jax.quantizers import QuantizerConfig

B, T, C, D, CODES = 4, 32, 2, 16, 16


def make_config(kind="conv1d", quantizer="vq", codes=CODES, dropout=0.0):
    transformer = dict(max_length=T, n_layers=1, d_model=D, n_heads=2, dropout=dropout)
    language_model = None
    if codes:
        language_model = GPTConfig(**{**transformer, "max_length": T // C}, vocab_size=codes)
    return LatentLMConfig(
        AutoencoderConfig(
            encoder=BERTConfig(vocab_size=257, **transformer),
            decoder=BERTConfig(**transformer),
            compressor=fixed.make_config(
                kind, dict(n_heads=2, ssm_head_dim=8), factor=C, d_model=D, max_length=T
            ),
            quantizer=QuantizerConfig(
                kind=quantizer, codebook_size=codes, d_model=D, code_dim=8, kmeans_iterations=2
            ),
        ),
        language_model,
    )


def code_logits(model, variables, codes_BK, z_q_BKD):
    """Logits [B, K, V] of given codes, where row k sees only the codes before k."""

    def predict(module, codes_BK, z_q_BKD):
        features_BKD = module._code_features(codes_BK, z_q_BKD, train=False)
        return module.language_model.logits(features_BKD)

    return model.apply(variables, codes_BK, z_q_BKD, method=predict)


def make_batch():
    """Rows of the manual's topic on lambdas; the last row ends in padding."""
    text = "".join(pydoc_data.topics.topics.values()).encode()[: B * T]
    ids = np.frombuffer(text, np.uint8).astype(np.int32).reshape(B, T).copy()
    weights = np.ones((B, T), np.float32)
    ids[-1, 21:], weights[-1, 21:] = 256, 0.0
    n_bytes = np.array([T, T, T, 21], np.int32)
    return {
        "ids": jnp.asarray(ids),
        "weights": jnp.asarray(weights),
        "n_bytes": jnp.asarray(n_bytes),
    }
