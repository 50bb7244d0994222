"""Every compressor beside its decompressor, by the word that configs and method names use."""

import flax.linen as nn

from latent_jax.compressors.attention_pool import (
    AttentionPoolCompressor,
    AttentionPoolDecompressor,
)
from latent_jax.compressors.base import CompressorConfig
from latent_jax.compressors.conv1d import Conv1DCompressor, Conv1DDecompressor
from latent_jax.compressors.linear_merge import LinearMergeCompressor, LinearMergeDecompressor
from latent_jax.compressors.sequence_linear import (
    SequenceLinearCompressor,
    SequenceLinearDecompressor,
)
from latent_jax.compressors.ssm import SSMCompressor, SSMDecompressor

COMPRESSORS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "conv1d": (Conv1DCompressor, Conv1DDecompressor),
    "ssm": (SSMCompressor, SSMDecompressor),
    "attention_pool": (AttentionPoolCompressor, AttentionPoolDecompressor),
    "linear_merge": (LinearMergeCompressor, LinearMergeDecompressor),
    "sequence_linear": (SequenceLinearCompressor, SequenceLinearDecompressor),
}
"""The compressor and the decompressor of each kind; `CompressorConfig` refuses other words."""


def make_compressor(config: CompressorConfig) -> nn.Module:
    """Return the compressor that `config` describes."""
    return COMPRESSORS[config.kind][0](config)


def make_decompressor(config: CompressorConfig) -> nn.Module:
    """Return the decompressor that `config` describes."""
    return COMPRESSORS[config.kind][1](config)
