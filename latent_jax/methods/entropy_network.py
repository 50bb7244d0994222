"""The network of the byte model whose entropies BLT reads, as a word of the configuration.

The run of the byte model has it in the section `model` of its own configuration. A run of BLT keeps
a copy as JSON in `hierarchy.entropy_network`, so that its task can be made, and its folder read,
without the other folder.
"""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.layers.config import PLATFORMS_CHOICE
from latent_jax.layers.reach import AttentionReach
from latent_jax.methods.bytes import Bytes
from latent_jax.methods.names import parse
from latent_jax.models.gpt import GPTConfig
from latent_jax.platform import Platform

KEY = "hierarchy.entropy_network"


def describe_network(config: Mapping[str, Any]) -> str:
    """Return the network of a run's configuration as JSON.

    Args:
        config: of a run of the method Bytes.

    Raises:
        ValueError: the run is of another method, or its positions are not rotary; the message
            begins with what is wrong.
    """
    if parse(config["method"]).family != Bytes.name or config.get("quantized"):
        raise ValueError(
            f"its method is {config['method']}{', quantized' * bool(config.get('quantized'))}: "
            "entropies are those of a GPT of the method Bytes in floats"
        )
    model = {key: value for key, value in config["model"].items() if key not in PLATFORMS_CHOICE}
    if model["positions"] != "rotary":
        raise ValueError(
            f"its model.positions is {model['positions']}: the entropy model reads a window of "
            "texts of any length, for which it must be rotary"
        )
    return json.dumps({**model, "dropout": 0.0, "max_length": config["row_length"]}, sort_keys=True)


def entropy_reach(config: ConfigDict, platform: Platform) -> AttentionReach:
    """Return the network that a configuration states, with the platform's choices made.

    Without a statement, as before the run of the byte model is known, it is that of the section
    `model` on rows as long as those of the configuration.

    Raises:
        ValueError: the statement is none.
    """
    stated = config.hierarchy.entropy_network
    model = {key: value for key, value in config.model.items() if key not in PLATFORMS_CHOICE}
    keys = {**model, "dropout": 0.0, "max_length": config.row_length}
    if stated:
        try:
            keys = dict(json.loads(stated))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{KEY} is no JSON of a network: {error}; leave it empty") from error
    choices = {key: config.model[key] for key in PLATFORMS_CHOICE}
    if choices["dtype"] == "auto":
        choices["dtype"] = platform.dtype
    choices["remat"] = "none"  # nothing is kept for a backward pass
    try:
        stack = GPTConfig(**keys, **choices, vocab_size=tokenizers.Bytes.vocab_size)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{KEY if stated else 'model'}: {error}") from error
    return AttentionReach(stack.resolved(platform), stack.max_length)
