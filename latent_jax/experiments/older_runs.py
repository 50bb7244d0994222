"""Config keys that are younger than some run folders, and how runs without them behaved."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from latent_jax.data.chains import ChainsConfig
from latent_jax.methods.hierarchy_settings import HierarchyConfig
from latent_jax.methods.thought_settings import ThoughtsConfig
from latent_jax.tasks.policy_config import PolicyConfig

YOUNGER_SECTIONS = {
    "chains": ChainsConfig,
    "hierarchy": HierarchyConfig,
    "policy": PolicyConfig,
    "thoughts": ThoughtsConfig,
}
"""Sections that are younger than some run folders. A run without one was of a family that does not
read it, so that today's defaults describe it as well as any."""

ADDED: dict[str, Any] = {
    **{
        f"{section}.{field.name}": field.default
        for section, dataclass in YOUNGER_SECTIONS.items()
        for field in dataclasses.fields(dataclass)
    },
    "autoencoder.n_kv_heads": 0,
    "autoencoder.norm_epsilon": 1e-5,
    "autoencoder.qkv_bias": False,
    "autoencoder.rope_theta": 10_000.0,
    "budget.extend": "",
    "budget.other": "",
    "data.held_out": (),
    "data.mixture": (),
    "latent.freeze_after": 1.0,
    "model.n_kv_heads": 0,
    "model.norm_epsilon": 1e-5,
    "model.qkv_bias": False,
    "model.rope_theta": 10_000.0,
    "optimizer.decay_fraction": 0.1,
    "quantized": False,
    "quantizer.n_codebooks": 2,
    "tokenizer.lanes": 0,
    "training.init_from": "",
    "training.init_patterns": (".*",),
    "training.patience": 0,
    "training.profile": 0,
    "training.wandb": "",
    "window_rule": "",
}
"""Dotted key -> the value that describes a run whose configuration lacks the key."""


def with_added_keys(stored: dict[str, Any]) -> ConfigDict:
    """Return the stored configuration of a run; missing keys get their values of `ADDED`."""
    config = ConfigDict(stored)
    for key, value in ADDED.items():
        section, _, name = key.rpartition(".")
        if section in YOUNGER_SECTIONS and section not in config:
            config[section] = ConfigDict()
        target = config.get(section) if section else config
        if target is not None and name not in target:
            target[name] = value
    return config
