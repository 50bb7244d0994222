"""The latent language model: an autoencoder over bytes and a GPT over its codes, trained together.

Fifty, "Language, Entropy, and Language Modeling" (2025). The input of the language model at each
code is the sum of two vectors: a row of its own embedding table, and a projection of the quantized
vector. Through the projection its gradient can reach the encoder.
"""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.contracts import Chunks
from latent_jax.layers.cache import Cache
from latent_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.quantizers import Quantized

LM_GRADIENTS = ("none", "input", "input_and_target")
"""How the language model's gradient reaches the encoder: not at all; through the quantized vectors
that it reads; through these and the soft assignment of its targets."""


@dataclasses.dataclass(frozen=True)
class LatentLMConfig:
    """Shapes of the latent language model.

    Attributes:
        autoencoder: the compression model.
        language_model: a GPT whose vocabulary is the codebook; None for continuous latents, which
            have no codes.

    Raises:
        ValueError: the vocabulary and the codebook differ in size.
    """

    autoencoder: AutoencoderConfig
    language_model: GPTConfig | None

    def __post_init__(self):
        codes = self.autoencoder.quantizer.codebook_size
        vocab = 0 if self.language_model is None else self.language_model.vocab_size
        if codes != vocab:
            raise ValueError(
                f"the language model's vocabulary must be the codebook: {vocab} ids, {codes} codes"
            )

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per byte by component for rows of `length` bytes."""
        if self.language_model is None:
            return self.autoencoder.forward_flops(length)
        n_latents = -(-length // self.autoencoder.compressor.factor)
        language_model = sum(self.language_model.forward_flops(n_latents).values())
        projection = 2.0 * self.autoencoder.compressor.d_model * self.language_model.d_model
        return {
            **self.autoencoder.forward_flops(length),
            "language_model": (language_model + projection) * n_latents / length,
        }


class LatentLMOutput(NamedTuple):
    """The result of one forward pass, from which the task computes a loss and scores."""

    byte_logits_BTV: jax.Array
    """float32[B, T, V], the decoder's prediction of each byte given all codes."""
    code_features_BKD: jax.Array | None
    """[B, K, D] in the compute dtype, the input of the language model's tied head. Features k
    depend only on codes before k and predict code k."""
    code_logits_BKV: jax.Array | None
    """float32[B, K, V], the logits of these features. If nothing reads them, jit removes their
    computation."""
    latents: Chunks
    """The compressor's latents, before quantization."""
    quantized: Quantized
    """The latents after quantization, with codes and losses."""


class LatentLanguageModel(nn.Module):
    """An autoencoder and a language model over its codes."""

    decays = {"start": False}

    config: LatentLMConfig

    def setup(self):
        """Create the autoencoder, the GPT, and the projection of quantized vectors into the GPT."""
        self.autoencoder = Autoencoder(self.config.autoencoder)
        if self.config.language_model is None:
            return
        d_model = self.config.language_model.d_model
        self.language_model = GPT(self.config.language_model)
        self.project = nn.Dense(
            d_model, use_bias=False, dtype=jnp.dtype(self.config.language_model.dtype)
        )
        self.start = self.param("start", nn.initializers.normal(0.02), (d_model,), jnp.float32)

    def __call__(
        self, ids_BT, mask_BT, *, lm_gradient="input", train=False, update_codebook=None
    ) -> LatentLMOutput:
        """Encode, predict the codes, decode.

        Args:
            ids_BT: int32[B, T] byte ids.
            mask_BT: bool[B, T], True where the position is scored.
            lm_gradient: one of `LM_GRADIENTS`. "none" stops the gradient from the LM's input to the
                encoder; the task adds the term of "input_and_target".
            train: whether dropout is on.
            update_codebook: whether codebook statistics change; None means `train`.
        """
        latents, quantized = self.autoencoder.encode(
            ids_BT, mask_BT, train=train, update_codebook=update_codebook
        )
        byte_logits_BTV = self.autoencoder.decode(
            quantized.z_q_BKD, latents.mask_BK, mask_BT, train=train
        )
        if self.config.language_model is None:
            return LatentLMOutput(byte_logits_BTV, None, None, latents, quantized)
        z_q_BKD = quantized.z_q_BKD
        if lm_gradient == "none":
            z_q_BKD = jax.lax.stop_gradient(z_q_BKD)
        code_features_BKD = self._code_features(quantized.codes_BK, z_q_BKD, train)
        code_logits_BKV = self.language_model.logits(code_features_BKD)
        return LatentLMOutput(
            byte_logits_BTV, code_features_BKD, code_logits_BKV, latents, quantized
        )

    def _code_features(self, codes_BK, z_q_BKD, train) -> jax.Array:
        inputs_BKD = self._after_start(self._read(codes_BK, z_q_BKD))[:, :-1]
        return self.language_model.features(inputs_BKD, train=train)

    def prefill_codes(self, codes_BK, lengths_B, cache) -> tuple[jax.Array, Cache]:
        """Read the first codes of each lane in one pass.

        Args:
            codes_BK: int32, padded at the end.
            lengths_B: int32, number of codes of each lane; 0 is allowed.
            cache: from the language model's `empty_cache`, of at least K + 1 slots.

        Returns:
            The logits of the next code, float32[B, V], and the cache, whose next position is
            `lengths_B` + 1.
        """
        x_BKD = self._read(codes_BK, self.autoencoder.lookup(codes_BK))
        return self.language_model.prefill(self._after_start(x_BKD), lengths_B + 1, cache)

    def step_codes(self, codes_B, cache, position_B) -> tuple[jax.Array, Cache]:
        """Read one code per lane; see `GPT.step`. The start vector has position 0."""
        x_BD = self._read(codes_B, self.autoencoder.lookup(codes_B))
        return self.language_model.step(x_BD, cache, position_B)

    def _read(self, codes, z_q) -> jax.Array:
        """Return the language model's input at codes: an embedding plus a projection."""
        return self.language_model.embed(codes) + self.project(z_q)

    def _after_start(self, x_BKD) -> jax.Array:
        start_B1D = jnp.broadcast_to(
            self.start.astype(x_BKD.dtype), (x_BKD.shape[0], 1, x_BKD.shape[2])
        )
        return jnp.concatenate([start_B1D, x_BKD], axis=1)

    def encode_codes(self, ids_BT, mask_BT) -> tuple[jax.Array, jax.Array]:
        """Return the codes of rows of byte ids, int32[B, K], and bool[B, K], True where real."""
        latents, quantized = self.autoencoder.encode(ids_BT, mask_BT)
        return quantized.codes_BK, latents.mask_BK

    def decode_codes(self, codes_BK, mask_BK, mask_BT) -> jax.Array:
        """Return byte logits, float32[B, T, V], of any codes, such as ones that the LM drew."""
        return self.autoencoder.decode(self.autoencoder.lookup(codes_BK), mask_BK, mask_BT)

    def log_assignment(self, z_BKD) -> jax.Array:
        """Return the soft assignment of latents to codes, float32 log-probabilities [B, K, V]."""
        return self.autoencoder.log_assignment(z_BKD)
