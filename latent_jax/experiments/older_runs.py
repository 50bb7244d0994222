"""Config keys that are younger than some run folders, and how runs without them behaved."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.data.chains import ChainsConfig
from latent_jax.methods import names
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
    "inference_fit": "heads",
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


def renewed(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of an older run folder by today's keys; others come back as they are.

    `hierarchy.ratio_weight` was the weight of the ratio loss. Its default, 0.03, is that of the
    paper of the cosine router, which -1 asks for now; the other routers of then decided by 0 and 1,
    so that their ratio loss had no gradient. All blocks around chunks were those of H-Net's paper
    by default, which "auto" asks for now.

    Options of methods may have had other names, see `names.renewed`.

    Args:
        flat: values by dotted key.
    """
    found = dict(flat)
    if isinstance(found.get("method"), str):
        found["method"] = names.renewed(found["method"])
    weight = found.pop("hierarchy.ratio_weight", None)
    if weight is None:
        return found
    found["hierarchy.boundary_weight"] = -1.0 if weight == 0.03 else weight
    if found.get("hierarchy.outer") == "mamba":
        found["hierarchy.outer"] = "auto"
    return found


def with_added_keys(stored: dict[str, Any]) -> ConfigDict:
    """Return the stored configuration of a run; missing keys get their values of `ADDED`.

    Keys that have other names now get those; see `renewed`.
    """
    config = ConfigDict(stored)
    config.update(renewed({"method": config["method"]}) if "method" in config else {})
    hierarchy = config.get("hierarchy", {})
    if "ratio_weight" in hierarchy:
        flat = renewed({f"hierarchy.{key}": value for key, value in hierarchy.items()})
        config.hierarchy = ConfigDict({key.partition(".")[2]: v for key, v in flat.items()})
    for key, value in ADDED.items():
        section, _, name = key.rpartition(".")
        if section in YOUNGER_SECTIONS and section not in config:
            config[section] = ConfigDict()
        target = config.get(section) if section else config
        if target is not None and name not in target:
            target[name] = value
    return config
