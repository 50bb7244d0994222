"""A run made longer after its planned end: what its folder says of it, and what may follow."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.contracts import Task
from latent_jax.methods.solve import solve_extension

RATE_OF_EXTENSION = {
    "cosine": "stays at what the cosine ended with",
    "constant": "stays at the peak",
    "rsqrt": "goes on falling as before",
    "wsd": "is that of a run planned so long: at the peak, until it decays at the new end",
}
"""What the learning rate does after the planned end, by schedule; see `make_schedule`."""


def with_extension(config: ConfigDict, recorded: Mapping[str, Any]) -> ConfigDict:
    """Return the configuration with the extension of its run folder, unless it has its own."""
    known = recorded.get("budget", {}).get("extend", "")
    if config.budget.extend or not known:
        return config
    config = ConfigDict(config.to_dict())
    config.budget.extend = known
    return config


def check_extension(
    config: ConfigDict, task: Task, extension_steps: int, recorded: Mapping[str, Any]
) -> None:
    """Refuse to make a run shorter than it was extended to.

    Args:
        config: of the run, with the extension asked for.
        task: of the configuration.
        extension_steps: what the extension buys.
        recorded: the configuration in the run folder; {} where there is none yet.

    Raises:
        ValueError: the run has been extended by more.
    """
    known = recorded.get("budget", {}).get("extend", "")
    if known == config.budget.extend:
        return
    earlier = ConfigDict(config.to_dict())
    earlier.budget.extend = known
    if solve_extension(earlier, task) > extension_steps:
        raise ValueError(
            f"the run has been extended by {known}, which is more than {config.budget.extend}: an "
            "extension counts from the end of the run's own budget, so give the whole of it, or "
            "leave it out to go on with the one that the run has"
        )
