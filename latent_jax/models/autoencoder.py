"""The autoencoder: bytes -> BERT encoder -> compressor -> quantizer -> codes, and back to bytes.

Fifty, "Language, Entropy, and Language Modeling" (2025), section "Latent Language Implementation".
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.fixed import CompressorConfig
from latent_jax.models.bert import BERT, BERTConfig
from latent_jax.quantizers import Quantized, QuantizerConfig, make_quantizer


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """Shapes of the autoencoder.

    Attributes:
        encoder: a BERT that reads byte ids; `vocab_size` is their number.
        decoder: a BERT that reads vectors; `vocab_size` is 0.
        compressor: T -> K = ceil(T / C) vectors, and back.
        quantizer: K vectors -> K codes.

    Raises:
        ValueError: encoder, compressor and decoder differ in width.
    """

    encoder: BERTConfig
    decoder: BERTConfig
    compressor: CompressorConfig
    quantizer: QuantizerConfig

    def __post_init__(self):
        widths = {self.encoder.d_model, self.compressor.d_model, self.decoder.d_model}
        if len(widths) > 1:
            raise ValueError(
                f"encoder, compressor and decoder must share one width; got d_model = "
                f"{self.encoder.d_model}, {self.compressor.d_model} and {self.decoder.d_model}"
            )

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per byte by component for rows of `length` bytes."""
        compressor = self.compressor.forward_flops(length)
        n_latents = -(-length // self.compressor.factor)
        quantizer = sum(self.quantizer.forward_flops().values()) * n_latents / length
        head = 2.0 * self.decoder.d_model * self.encoder.vocab_size
        return {
            "encoder": sum(self.encoder.forward_flops(length).values()),
            "compressor": compressor["compress"],
            "quantizer": quantizer,
            "decompressor": compressor["decompress"],
            "decoder": sum(self.decoder.forward_flops(length).values()),
            "byte_head": head,
        }


class Autoencoder(nn.Module):
    """The network from bytes to codes and back; encoder and decoder both see the whole row."""

    config: AutoencoderConfig

    def setup(self):
        """Create the five parts and the head over byte ids."""
        config = self.config
        self.encoder = BERT(config.encoder)
        self.compressor = config.compressor.compressor()
        self.quantizer = make_quantizer(config.quantizer)
        self.decompressor = config.compressor.decompressor()
        self.decoder = BERT(config.decoder)
        self.byte_head = nn.Dense(config.encoder.vocab_size, dtype=jnp.float32)

    def encode(self, ids_BT, mask_BT, *, train=False, update_codebook=None):
        """Return the latents before and after quantization.

        Args:
            ids_BT: int32[B, T] byte ids.
            mask_BT: bool[B, T], True where the position holds text or a separator.
            train: whether dropout is on and the codebook's statistics are updated.
            update_codebook: overrides `train` for the codebook (a frozen encoder keeps its codes).

        Returns:
            `(latents, quantized)`: the compressor's `Chunks` and the quantizer's `Quantized`.
        """
        update_codebook = train if update_codebook is None else update_codebook
        x_BTD = self.encoder(ids_BT, mask_BT, train=train)
        latents = self.compressor(x_BTD, mask_BT, train=train)
        latents = self.config.compressor.checked_chunks(latents, x_BTD)
        quantized = self.quantizer(latents.z_BKD, latents.mask_BK, train=update_codebook)
        return latents, quantized

    def decode(self, z_BKD, mask_BK, mask_BT, *, train=False) -> jax.Array:
        """Return float32 logits over byte ids [B, T, V] from quantized latents."""
        chunks = self.config.compressor.chunks(z_BKD, mask_BK, mask_BT.shape[1])
        x_BTD = self.decompressor(z_BKD, chunks, train=train)
        x_BTD = self.config.compressor.checked_positions(x_BTD, chunks)
        return self.byte_head(self.decoder(x_BTD, mask_BT, train=train))

    def lookup(self, codes_BK) -> jax.Array:
        """Return the quantized latents of `codes_BK`, float32[B, K, D]."""
        return self.quantizer.lookup(codes_BK)

    def log_assignment(self, z_BKD) -> jax.Array:
        """Return the soft assignment of latents to codes, float32 log-probabilities [B, K, V]."""
        return self.quantizer.log_assignment(z_BKD)

    def __call__(self, ids_BT, mask_BT, *, train=False) -> tuple[jax.Array, Quantized]:
        """Return the logits of a batch's reconstruction, float32[B, T, V], and its `Quantized`."""
        latents, quantized = self.encode(ids_BT, mask_BT, train=train)
        return self.decode(quantized.z_q_BKD, latents.mask_BK, mask_BT, train=train), quantized
