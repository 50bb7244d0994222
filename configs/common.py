"""The config that every experiment starts from, and the table of sizes.

Each default is defined once, with its comment, in the dataclass that uses it (named in comments
below). This file makes the sections of these dataclasses, and the config keys that belong to no
dataclass. Every config key can be set on the command line, such as
--config.optimizer.learning_rate=1e-3; the error for a misspelt key names the nearest known one.
"""

import dataclasses

from ml_collections import ConfigDict

from latent_jax.chunking.fixed import all_options
from latent_jax.data import DataConfig
from latent_jax.layers.config import PLATFORMS_CHOICE, TransformerConfig
from latent_jax.nearest import check_word
from latent_jax.quantizers import QuantizerConfig
from latent_jax.tasks.snippets import Snippets
from latent_jax.training import OptimizerConfig, TrainingConfig

SIZES = {
    # width and layers of encoder and decoder (each), then width and layers of the language model
    "nano": dict(d_model=128, n_layers=1, lm_d_model=128, lm_n_layers=2),
    "micro": dict(d_model=128, n_layers=2, lm_d_model=192, lm_n_layers=3),
    "mini": dict(d_model=256, n_layers=2, lm_d_model=256, lm_n_layers=4),
    "small": dict(d_model=512, n_layers=4, lm_d_model=512, lm_n_layers=8),
    "base": dict(d_model=768, n_layers=6, lm_d_model=768, lm_n_layers=12),
}
"""The language model of "base" is GPT-2 small, as in Fifty 2025."""


def heads(d_model: int) -> int:
    """Return the number of heads: 64 wide as in GPT-2, but 32 wide where `d_model` is below 256."""
    return d_model // 64 if d_model >= 256 else d_model // 32


def default() -> ConfigDict:
    """Return all config keys with their defaults."""
    config = ConfigDict()
    config.name = ""  # name of the run in tables and pictures; "" = the method's name
    config.seed = (
        0  # seed of initial parameters, dropout, draws of the quantizer and order of documents
    )
    # A literature name, such as BPE[v=4096]; launch/prepare.py methods lists them.
    config.method = "Bytes"
    config.row_length = 256  # L, ids per row of a batch (bytes for Bytes and Latent)
    config.context_bytes = 0  # mean raw bytes of a row, from which row_length is set; 0 = off
    config.batch_size = 32  # rows per optimizer step, all devices and micro-batches together

    config.evaluation_bytes = (
        0  # raw bytes of the validation split that each evaluation reads; 0 = all
    )

    config.budget = ConfigDict()  # how long to train: exactly one of these is not 0
    config.budget.steps = 0.0  # optimizer steps
    config.budget.tokens = 0.0  # ids seen
    config.budget.bytes = 0.0  # raw bytes seen
    config.budget.flops = 0.0  # FLOPs of training: 3 x forward, plus 1 x forward of M1
    config.budget.bytes_per_parameter = 0.0  # raw bytes per parameter outside of embeddings
    config.budget.other = ""  # UNIT:AMOUNT in another unit that the method counts
    config.budget.extend = ""  # training beyond the budget, UNIT:AMOUNT; --extend of train.py

    # Most FLOPs per raw byte of a forward pass, M1 included; the width of the language model is
    # chosen to fit; 0 = its width is model.d_model.
    config.inference_flops_per_byte = 0.0

    config.data = _section(DataConfig)  # latent_jax/data/sources.py
    config.tokenizer = ConfigDict()
    config.tokenizer.train_bytes = (
        20_000_000  # raw bytes of the training split that a tokenizer is trained on; 0 = all
    )
    config.tokenizer.vocab_file = (
        ""  # GPT-2's vocab.json, to read a BPE from files instead of training it
    )
    config.tokenizer.merges_file = ""  # GPT-2's merges.txt, together with vocab_file
    config.tokenizer.m1 = ""  # file of the byte model of AC and EqualInfoAC; "" = the shipped one
    config.tokenizer.lanes = 0  # texts that m1 reads side by side; 0 = the platform's choice

    config.z_loss = 0.0  # weight of (log Z)^2 in the loss; not for Latent
    config.quantized = False  # train the byte model of coders in integers; for Bytes only
    config.head = "auto"  # auto | whole | blocks | fused: how cross-entropy is computed
    config.snippets = _section(Snippets)  # latent_jax/tasks/snippets.py; not for Latent

    # The language model of every method: a GPT (latent_jax/layers/config.py).
    config.model = _section(TransformerConfig, "vocab_size", "max_length", **_transformer(128, 4))
    # Encoder and decoder of a latent method: each is a BERT of this config.
    config.autoencoder = _section(
        TransformerConfig, "vocab_size", "max_length", **_transformer(128, 2)
    )
    # Options that the name Latent[...] does not state: those of each kind in
    # latent_jax/chunking/fixed, and those of latent_jax/quantizers/base.py.
    config.compressor = ConfigDict(all_options())
    config.quantizer = _section(QuantizerConfig, "kind", "codebook_size", "d_model")

    config.latent = ConfigDict()
    config.latent.beta = 1.0  # weight of the language model's loss beside the reconstruction
    config.latent.beta_schedule = "constant"  # constant | linear (from 0 over beta_warmup_steps)
    config.latent.beta_warmup_steps = 0  # optimizer steps until a linear beta reaches its value
    # none | input | input_and_target: how the language model's gradient reaches the encoder
    config.latent.lm_gradient = "input"
    config.latent.freeze = ()  # parts that are not trained: encoder, decoder, language_model

    config.optimizer = _section(OptimizerConfig)  # latent_jax/training/config.py
    config.training = _section(TrainingConfig, "seed")  # latent_jax/training/config.py
    config.training.best_metric = ""  # metric of the best checkpoint; "" = the task's headline
    return config


def set_size(config: ConfigDict, size: str) -> None:
    """Give encoder, decoder and language model of a latent method the shapes of `SIZES[size]`.

    Raises:
        ValueError: there is no such size; the message names the nearest.
    """
    check_word("size", size, SIZES)
    shape = SIZES[size]
    config.autoencoder.update(_transformer(shape["d_model"], shape["n_layers"]))
    config.model.update(_transformer(shape["lm_d_model"], shape["lm_n_layers"]))


def _transformer(d_model: int, n_layers: int) -> dict[str, int | str]:
    return dict(d_model=d_model, n_layers=n_layers, n_heads=heads(d_model), **PLATFORMS_CHOICE)


def _section(dataclass: type, *without: str, **given) -> ConfigDict:
    """Return a section with the fields of `dataclass`; `given` values replace its defaults."""
    values = {
        field.name: given.get(field.name, field.default)
        for field in dataclasses.fields(dataclass)
        if field.name not in without
    }
    return ConfigDict(values)
