"""What a number may depend on besides the configuration: versions, devices, revision."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax

from latent_jax.platform import Platform

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "latent_jax")


def environment() -> dict[str, Any]:
    """Return what a number may depend on besides the configuration: versions, devices, revision."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "backend": Platform.current().kind,
        "device_kind": device.device_kind,
        "device_count": jax.device_count(),
        "process_count": jax.process_count(),
        # A tree that was copied without its repository is told by whoever copied it.
        "git_revision": _git("rev-parse", "HEAD") or os.environ.get("LATENT_JAX_REVISION"),
        "git_is_dirty": _git("status", "--porcelain") not in ("", None),
        "command": sys.argv,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Return git's answer about this package; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
