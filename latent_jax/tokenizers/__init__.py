"""Fixed, lossless codes between bytes and integer ids: bytes themselves, and trained subwords."""

from latent_jax.tokenizers.base import FingerprintError, Tokenizer
from latent_jax.tokenizers.bpe import BPE
from latent_jax.tokenizers.bytes import Bytes
from latent_jax.tokenizers.registry import load
from latent_jax.tokenizers.sentencepiece import SentencePiece

__all__ = ["BPE", "Bytes", "FingerprintError", "SentencePiece", "Tokenizer", "load"]
