"""Fixed, lossless codes between bytes and integer ids: bytes, subwords, and groups of bits."""

from latent_jax.kept_programs import keep_kernels

keep_kernels()

# ruff: noqa: E402  kernels are defined by these imports
from latent_jax.tokenizers.ac import AC
from latent_jax.tokenizers.base import FingerprintError, Tokenizer, load
from latent_jax.tokenizers.bpe import BPE
from latent_jax.tokenizers.bytes import Bytes
from latent_jax.tokenizers.compiled import CompiledCode
from latent_jax.tokenizers.equal_info import EqualInfoAC
from latent_jax.tokenizers.gzip import GZip
from latent_jax.tokenizers.marked_bytes import BPEMarkedBytes, SentencePieceMarkedBytes
from latent_jax.tokenizers.pretrained_bpe import PretrainedBPE
from latent_jax.tokenizers.sentencepiece import SentencePiece
from latent_jax.tokenizers.static_ac import StaticAC

__all__ = [
    "AC",
    "BPE",
    "BPEMarkedBytes",
    "Bytes",
    "CompiledCode",
    "EqualInfoAC",
    "FingerprintError",
    "GZip",
    "PretrainedBPE",
    "SentencePiece",
    "SentencePieceMarkedBytes",
    "StaticAC",
    "Tokenizer",
    "load",
]
