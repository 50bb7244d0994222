"""Config keys that were added since: a run folder that lacks one was made under its old meaning."""

from typing import Any

from ml_collections import ConfigDict

ADDED = {
    "tokenizer.lanes": 0,
    "training.profile": 0,
    "model.rope_theta": 10_000.0,
    "model.n_kv_heads": 0,
    "autoencoder.rope_theta": 10_000.0,
    "autoencoder.n_kv_heads": 0,
    "quantizer.n_codebooks": 2,
}
"""Dotted key -> what runs without it did."""


def with_added_keys(stored: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a run folder, with the keys that were added since."""
    config = ConfigDict(stored)
    for key, value in ADDED.items():
        section, _, name = key.rpartition(".")
        if section in config and name not in config[section]:
            config[section][name] = value
    return config
