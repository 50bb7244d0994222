"""The run whose entropies another run reads: its network becomes part of the configuration."""

import logging
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.experiments.evaluate import read_config
from latent_jax.methods.blt import needs_entropies
from latent_jax.methods.entropy_network import describe_network
from latent_jax.methods.names import parse
from latent_jax.paths import open_path

logger = logging.getLogger(__name__)

KEY = "hierarchy.entropy_model"

TEXT = ("source", "files", "mixture", "tfds_name", "held_out", "validation_percent", "test_percent")
"""Keys of `data` that say which text is read, and which of it is held out."""


def settle_entropy_model(config: ConfigDict, recorded: Mapping[str, Any]) -> None:
    """State the network of the run that `hierarchy.entropy_model` names, where it is not stated.

    Args:
        config: of a run; it is changed in place.
        recorded: the configuration in the folder of the run; {} where it has not begun. What it
            says holds, so that a run goes on without the folder of the other one.

    Raises:
        ValueError: the method reads entropies and no run is named, or it is none of a byte model.
    """
    method, section = parse(config.method), config.hierarchy
    if not needs_entropies(method):
        return
    if not section.entropy_model:
        raise ValueError(
            f"{method} reads the entropies of a byte model: train one, by python launch/train.py "
            "--config configs/language_model.py:method=Bytes --config.model.positions=rotary, and "
            f"name its folder in {KEY}; or use router=whitespace or stride"
        )
    kept = recorded.get("hierarchy", {}).get("entropy_network", "")
    if kept and section.entropy_network and section.entropy_network != kept:
        raise ValueError(
            "hierarchy.entropy_network differs from that of the run folder, whose parameters are "
            "in its checkpoints: leave it empty"
        )
    section.entropy_network = kept or section.entropy_network
    if not section.entropy_network:
        section.entropy_network = network_of_run(section.entropy_model)


def network_of_run(path: str) -> str:
    """Return the network of a byte model's run folder, see `describe_network`.

    Raises:
        ValueError: there is no such run; the message begins with the config key.
    """
    try:
        return describe_network(read_config(open_path(path)))
    except ValueError as error:
        raise ValueError(f"{KEY}={path}: {error}") from error


def log_other_text(config: ConfigDict) -> None:
    """Say so where the model of entropies has read other text than a run is about to read.

    Its entropies are worse there; or it has read what the run holds out. Runs without entropies
    have nothing to say.
    """
    if not needs_entropies(parse(config.method)):
        return
    path = config.hierarchy.entropy_model
    its = read_config(open_path(path)).data
    for key in TEXT:
        # Files are a string or several, and lists once they have been stored.
        here, there = (
            [value] if isinstance(value, str) else [*value] if hasattr(value, "__iter__") else value
            for value in (config.data[key], its[key])
        )
        if here != there:
            logger.warning(
                "%s=%s has read other text: its data.%s is %s, and here it is %s",
                *(KEY, path, key, there, here),
            )
