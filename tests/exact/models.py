"""A small integer model with drawn weights, for tests."""

import dataclasses
import functools
from pathlib import Path

import jax

from latent_jax.exact import model_file
from latent_jax.methods.shipped_files import INTEGER_M1
from latent_jax.models import quantized_gpt
from latent_jax.models.integer_byte_model import IntegerByteModel
from tests.tokenizers.byte_models import CONFIG

SHAPE = dataclasses.replace(CONFIG, n_layers=2)


@functools.cache
def params(seed: int = 0):
    return quantized_gpt.initial(jax.random.key(seed), SHAPE)


@functools.cache
def content(context: int = 16, seed: int = 0) -> bytes:
    shape = quantized_gpt.integer_config(SHAPE, context)
    return model_file.to_bytes(shape, quantized_gpt.export(params(seed), SHAPE))


def integer_model(lanes: int = 8, context: int = 16, seed: int = 0) -> IntegerByteModel:
    return IntegerByteModel.from_bytes(content(context, seed), lanes=lanes)


def shipped_model(lanes: int = 8) -> IntegerByteModel:
    """The one that has learned: what it codes is shorter, and not stored."""
    return IntegerByteModel.from_bytes(Path(INTEGER_M1).read_bytes(), lanes=lanes)
