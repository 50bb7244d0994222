"""The config that every experiment starts from, and the table of sizes.

Each default is defined once, with its comment and its range, in the dataclass that uses it (named
in comments below). This file makes the sections of these dataclasses. Every config key can be set
on the command line, such as --config.optimizer.learning_rate=1e-3; the error for a misspelt key
names the nearest known one.
"""

import dataclasses

from ml_collections import ConfigDict

from latent_jax.chunking.fixed import all_options
from latent_jax.data import DataConfig
from latent_jax.data.chains import ChainsConfig
from latent_jax.layers.config import PLATFORMS_CHOICE, TransformerConfig
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.settings import BudgetConfig, LatentConfig, RunConfig, TokenizerConfig
from latent_jax.methods.thought_settings import ThoughtsConfig
from latent_jax.nearest import check_word
from latent_jax.quantizers import QuantizerConfig
from latent_jax.tasks.policy_config import PolicyConfig
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
    config = _section(RunConfig)  # latent_jax/methods/settings.py, as all that are not named here
    config.budget = _section(BudgetConfig)
    config.data = _section(DataConfig, "chains")  # latent_jax/data/sources.py
    config.chains = _section(ChainsConfig)  # latent_jax/data/chains.py
    config.tokenizer = _section(TokenizerConfig)
    config.snippets = _section(Snippets)  # latent_jax/tasks/snippets.py
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
    config.latent = _section(LatentConfig)
    config.hierarchy = _section(HierarchyConfig)  # latent_jax/methods/hierarchy_settings.py
    config.thoughts = _section(ThoughtsConfig)  # latent_jax/methods/thought_settings.py
    config.policy = _section(PolicyConfig)  # latent_jax/tasks/policy_config.py
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
