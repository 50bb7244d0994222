"""Config keys that are younger than some run folders, and how runs without them behaved."""

from typing import Any

from ml_collections import ConfigDict

ADDED = {
    "autoencoder.n_kv_heads": 0,
    "autoencoder.norm_epsilon": 1e-5,
    "autoencoder.qkv_bias": False,
    "autoencoder.rope_theta": 10_000.0,
    "budget.extend": "",
    "budget.other": "",
    "chains.kind": "permutations",
    "chains.largest": 20,
    "chains.n_marks": 2,
    "chains.n_operations": 3,
    "chains.n_problems": 100_000,
    "chains.seed": 0,
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

ADDED_SECTIONS = ("chains",)
"""The sections whose keys are all among `ADDED`."""


def with_added_keys(stored: dict[str, Any]) -> ConfigDict:
    """Return the stored configuration of a run; missing keys get their values of `ADDED`."""
    config = ConfigDict(stored)
    for key, value in ADDED.items():
        section, _, name = key.rpartition(".")
        if section in ADDED_SECTIONS and section not in config:
            config[section] = ConfigDict()
        target = config.get(section) if section else config
        if target is not None and name not in target:
            target[name] = value
    return config
