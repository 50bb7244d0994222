"""The configuration of a run as its folder keeps it: config.json, and its digest beside it.

The digest is in environment.json, so that config.json holds the configuration and nothing else.
"""

import dataclasses
import logging
from typing import Any

from latent_jax.json_files import Kind, digest_of, read_json

logger = logging.getLogger(__name__)

CONFIG, ENVIRONMENT = "config.json", "environment.json"

DIGESTS = "config_digests"
"""In environment.json: of config.json as it is and, while it is rewritten, as it was."""


def read_config(folder: Any, kind: Kind) -> dict[str, Any]:
    """Return the configuration of a run folder.

    Args:
        folder: on a disk or in a bucket.
        kind: what is expected of it, and the class of the error.

    Raises:
        ValueError: of the kind's class; the file cannot be read, or was changed since it was
            written.
    """
    path = folder / CONFIG
    config = read_json(path, kind)
    digests = read_environment(folder, kind).get(DIGESTS)
    if digests is None:
        logger.warning("%s carries no digest: damage to it would not be noticed", path)
    elif digest_of(config) not in digests:
        kind = dataclasses.replace(
            kind,
            way_out=f"restore it from a copy; to use it as it is, remove {ENVIRONMENT}",
        )
        kind.fail(
            path,
            "was damaged or changed since the run was made (its digest is another one than "
            f"{ENVIRONMENT} says)",
        )
    return config


def read_environment(folder: Any, kind: Kind) -> dict[str, Any]:
    """Return environment.json; {} where it was not kept. Errors as of `read_config`."""
    path = folder / ENVIRONMENT
    maybe = {DIGESTS: list, "starts": list}
    way_out = "restore the file, or remove it, which loses what earlier starts took"
    kind = Kind(maybe=maybe, error=kind.error, way_out=way_out)
    return read_json(path, kind) if path.exists() else {}
