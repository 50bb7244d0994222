"""Config keys that were added since: a run folder that lacks one was made under its old meaning."""

from typing import Any

from ml_collections import ConfigDict

ADDED = {
    "autoencoder.n_kv_heads": 0,
    "autoencoder.rope_theta": 10_000.0,
    "budget.extend": "",
    "data.mixture": (),
    "model.n_kv_heads": 0,
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
}
"""Dotted key -> what runs without it did."""


def with_added_keys(stored: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a run folder, with the keys that were added since."""
    config = ConfigDict(stored)
    for key, value in ADDED.items():
        section, _, name = key.rpartition(".")
        target = config.get(section) if section else config
        if target is not None and name not in target:
            target[name] = value
    return config
