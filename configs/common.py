"""The configuration every experiment starts from, and the table of sizes.

A default stands once, beside its comment, in the dataclass that uses it (named on the right below);
here are the sections they make, and the words that belong to no dataclass. Anything can be set from
the command line, such as
--config.optimizer.learning_rate=1e-3; a misspelt key names the nearest known one.
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
    # of a latent language model: width and layers of encoder and decoder (each), and of the
    # language model
    "nano": dict(d_model=128, n_layers=1, lm_d_model=128, lm_n_layers=2),
    "micro": dict(d_model=128, n_layers=2, lm_d_model=192, lm_n_layers=3),
    "mini": dict(d_model=256, n_layers=2, lm_d_model=256, lm_n_layers=4),
    "small": dict(d_model=512, n_layers=4, lm_d_model=512, lm_n_layers=8),
    "base": dict(d_model=768, n_layers=6, lm_d_model=768, lm_n_layers=12),
}
"""The language model of "base" is GPT-2 small, as in Fifty 2025."""


def heads(d_model: int) -> int:
    """Return the number of heads: 64 wide as in GPT-2, 32 wide where those would be under four."""
    return d_model // 64 if d_model >= 256 else d_model // 32


def default() -> ConfigDict:
    """Return every word an experiment has, with its default."""
    config = ConfigDict()
    config.name = ""  # how tables and pictures call the run; "" = the method's name
    config.seed = (
        0  # of the initial parameters, dropout, the quantizer's draws and the documents' order
    )
    # A literature name, such as BPE[v=4096]; launch/prepare.py methods lists them.
    config.method = "Bytes"
    config.row_length = 256  # L, ids per row of a batch (bytes for Bytes and Latent)
    config.context_bytes = 0  # raw bytes that a row stands for on average; sets row_length; 0 = off
    config.batch_size = 32  # rows per optimizer step, all devices and micro-batches together

    config.evaluation_bytes = (
        0  # raw bytes of the validation split that each evaluation reads; 0 = all
    )

    config.budget = ConfigDict()  # how long to train: exactly one of these is not 0
    config.budget.steps = 0.0  # optimizer steps
    config.budget.tokens = 0.0  # ids seen
    config.budget.bytes = 0.0  # raw bytes seen
    config.budget.flops = 0.0  # of training: 3 x forward, and once those of M1
    config.budget.bytes_per_parameter = 0.0  # raw bytes for each parameter outside of embeddings
    config.budget.extend = ""  # more after its end, UNIT:AMOUNT; as --extend of launch/train.py

    # Widen or narrow the language model until a forward pass costs at most so many FLOPs per raw
    # byte, M1 included; 0 = its width is model.d_model.
    config.inference_flops_per_byte = 0.0

    config.data = _section(DataConfig)  # latent_jax/data/sources.py
    config.tokenizer = ConfigDict()  # of BPE and SentencePiece
    config.tokenizer.train_bytes = (
        20_000_000  # raw bytes of the training split it is trained on; 0 = all
    )
    config.tokenizer.vocab_file = (
        ""  # read GPT-2's vocab.json and merges.txt instead of training a BPE
    )
    config.tokenizer.merges_file = ""  # goes with vocab_file
    config.tokenizer.m1 = ""  # file of the byte model of AC and EqualInfoAC; "" = the shipped one
    config.tokenizer.lanes = 0  # texts that it reads side by side; 0 = the platform's choice

    config.z_loss = 0.0  # weight of (log Z)^2 in the loss; of the language model of one tokenizer
    # Train the byte model of coders in integers (latent_jax/models/quantized_gpt.py); of Bytes.
    config.quantized = False
    config.head = "auto"  # auto | whole | blocks | fused: how cross-entropy is computed
    config.snippets = _section(Snippets)  # latent_jax/tasks/snippets.py; likewise

    # The language model of every method: a GPT (latent_jax/layers/config.py).
    config.model = _section(TransformerConfig, "vocab_size", "max_length", **_transformer(128, 4))
    # Encoder and decoder of a latent method, each: a BERT with the same words.
    config.autoencoder = _section(
        TransformerConfig, "vocab_size", "max_length", **_transformer(128, 2)
    )
    # What the name Latent[...] leaves open: options of each kind in latent_jax/chunking/fixed, and
    # of latent_jax/quantizers/base.py.
    config.compressor = ConfigDict(all_options())
    config.quantizer = _section(QuantizerConfig, "kind", "codebook_size", "d_model")

    config.latent = ConfigDict()
    config.latent.beta = 1.0  # weight of the language model's loss beside the reconstruction
    config.latent.beta_schedule = "constant"  # constant | linear (from 0 over beta_warmup_steps)
    config.latent.beta_warmup_steps = 0  # optimizer steps of a linear beta until it is whole
    config.latent.lm_gradient = "input"  # none | input | input_and_target: its way into the encoder
    config.latent.freeze = ()  # parts that stay as they are: encoder, decoder, language_model

    config.optimizer = _section(OptimizerConfig)  # latent_jax/training/config.py
    config.training = _section(TrainingConfig, "seed")  # latent_jax/training/config.py
    config.training.best_metric = ""  # "" = the headline of the task
    return config


def set_size(config: ConfigDict, size: str) -> None:
    """Give encoder, decoder and language model of a latent method the shapes of `SIZES[size]`.

    Raises:
        ValueError: there is no such size.
    """
    check_word("size", size, SIZES)
    shape = SIZES[size]
    config.autoencoder.update(_transformer(shape["d_model"], shape["n_layers"]))
    config.model.update(_transformer(shape["lm_d_model"], shape["lm_n_layers"]))


def _transformer(d_model: int, n_layers: int) -> dict[str, int | str]:
    return dict(d_model=d_model, n_layers=n_layers, n_heads=heads(d_model), **PLATFORMS_CHOICE)


def _section(dataclass: type, *without: str, **given) -> ConfigDict:
    """Return a section with the fields of `dataclass` and their defaults, or the values `given`."""
    values = {
        field.name: given.get(field.name, field.default)
        for field in dataclasses.fields(dataclass)
        if field.name not in without
    }
    return ConfigDict(values)
