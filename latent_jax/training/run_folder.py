"""The folder of one run: the only thing that passes from training to what comes after it.

config.json  overrides.json  environment.json  metrics.jsonl
checkpoints/  samples/  tokenizer/  tensorboard/  profile/  wandb/

It lies on a disk, or in a bucket (gs://), where folders are only names. Several processes share it.
"""

import dataclasses
import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from latent_jax.paths import is_remote, open_path, replace_file
from latent_jax.platform import Platform
from latent_jax.training.mesh import is_primary

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "latent_jax")

ABSENT = "(absent)"

SHARED_WITHIN_SECONDS = 60.0
"""How long a network disk may take to show one machine what another one wrote."""


class RunFolderError(ValueError):
    """The folder belongs to another run, or to something else."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder; `path` comes from `latent_jax.paths.open_path`."""

    path: Path

    @property
    def metrics(self) -> Path:
        """The records of the run, see `training.metrics`."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """See `training.checkpoints`."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Text that the model made."""
        return self.path / "samples"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, saved by itself."""
        return self.path / "tokenizer"

    @property
    def profile(self) -> Path:
        """Traces, see `training.profiler`."""
        return self.path / "profile"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was given."""
        return json.loads((self.path / "config.json").read_text(encoding="utf-8"))

    @property
    def environment(self) -> dict[str, Any]:
        """The content of environment.json; {} where the file was not kept.

        It is what `environment` returned, and "starts": the seconds of each start, see
        `training.startup`.
        """
        path = self.path / "environment.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def add_start(self, start: Mapping[str, Any]) -> None:
        """Add the record of a start to environment.json."""
        found = self.environment
        starts = [*found.get("starts", []), dict(start)]
        write_json(self.path / "environment.json", {**found, "starts": starts})


def open_run_folder(
    path: str | Path,
    config: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    may_differ: Collection[str] = (),
    added: Mapping[str, Any] | None = None,
    agreed: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Make a run folder, or open one that was made with the same configuration.

    Args:
        path: a new or empty folder, or a run folder.
        config: nested plain values: everything that decides the run.
        overrides: what the user changed on the command line.
        may_differ: dotted keys of `config` that a resume may change, such as "training.progress".
        added: values of keys that older folders lack, by dotted key: what runs without them did.
        agreed: what besides `config` must be the same in all processes of the run, by name; JSON.

    Raises:
        RunFolderError: the folder holds something else, or a run of another configuration (every
            key that differs is named with both values), or see `check_path`; then nothing is
            written. Or the folder cannot be written; or a process of the run does not see it, or
            was started with another configuration.
        ValueError: see `latent_jax.paths.open_path`.
    """
    check_path(path)
    folder = RunFolder(open_path(path))
    config = json.loads(json.dumps(config))
    error = None
    if is_primary():
        try:
            added = json.loads(json.dumps(dict(added or {})))  # tuples become lists, as in config
            _open(folder, config, overrides, set(may_differ), added)
        except ValueError as refused:
            error = refused
    _agree(folder, error, {"configuration": config, **(agreed or {})})
    return folder


def _open(
    folder: RunFolder,
    config: dict,
    overrides: Any,
    may_differ: set[str],
    added: Mapping[str, Any],
) -> None:
    try:
        is_resume = (folder.path / "config.json").exists()
        if is_resume:
            _check_same(folder, config, may_differ, added)
        elif folder.path.exists() and any(folder.path.iterdir()):
            raise RunFolderError(
                f"{folder.path} is not empty and holds no config.json, so it is no run folder: "
                "choose another workdir"
            )
        if not is_remote(folder.path):
            for part in (folder.path, folder.checkpoints, folder.samples, folder.tensorboard):
                part.mkdir(parents=True, exist_ok=True)
        write_json(folder.path / "overrides.json", dict(overrides or {}))
        starts = folder.environment.get("starts", []) if is_resume else []
        write_json(folder.path / "environment.json", {**environment(), "starts": starts})
        # Written last: a folder that has its config is a complete run folder.
        write_json(folder.path / "config.json", config)
    except OSError as error:
        raise RunFolderError(
            f"the run folder {folder.path} cannot be read or written: {error}. Check its name, who "
            "may write there and what is free, or choose another workdir"
        ) from error


def _agree(folder: RunFolder, error: ValueError | None, agreed: Mapping[str, Any]) -> None:
    """Let all processes go on or none; one that went on alone would wait for the others forever."""
    if jax.process_count() == 1:
        if error is not None:
            raise error
        return
    has_failed = multihost_utils.process_allgather(np.int32(error is not None))
    deadline = time.monotonic() + SHARED_WITHIN_SECONDS
    while not (sees := (folder.path / "config.json").exists()) and not np.any(has_failed):
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    blind = np.flatnonzero(multihost_utils.process_allgather(np.int32(not sees)))
    if error is not None:
        raise error
    if np.any(has_failed):
        raise RunFolderError(
            f"process 0 could not open the run folder {folder.path}: its log says why"
        )
    if blind.size:
        raise RunFolderError(
            f"process {blind[0]} does not see the run folder {folder.path} that process 0 made: "
            "give a workdir on a disk that all machines share, or in a bucket (gs://BUCKET/...)"
        )
    texts = [json.dumps(value, sort_keys=True).encode() for value in agreed.values()]
    hashes_KH = np.stack([np.frombuffer(hashlib.sha256(t).digest(), np.uint32) for t in texts])
    hashes_PKH = multihost_utils.process_allgather(hashes_KH)
    for key, name in enumerate(agreed):
        others = np.flatnonzero(np.any(hashes_PKH[:, key] != hashes_PKH[0, key], axis=-1))
        if others.size:
            raise RunFolderError(
                f"process {others[0]} has another {name} than process 0: start the same command on "
                "all machines, with the same files in the same places"
            )


def check_path(path: str | Path) -> None:
    """Refuse a path below which Orbax would save checkpoints that nothing can read.

    Orbax finds the parts of a checkpoint by a glob of its whole path. In it `a[b]` matches `ab`,
    and `*` matches other runs too.

    Raises:
        RunFolderError: the absolute path has a "[", "*" or "?".
    """
    text = str(open_path(path) if is_remote(path) else Path(path).absolute())
    if glob.escape(text) != text:
        raise RunFolderError(
            f"{text}: a '[', '*' or '?' in the path of a run is read as a pattern by Orbax, which "
            "would not find its checkpoints again: choose another workdir"
        )


def environment() -> dict[str, Any]:
    """Return what results depend on besides the configuration: versions, devices, revision."""
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
        # Who copies the source without its repository names the revision by the variable.
        "git_revision": _git("rev-parse", "HEAD") or os.environ.get("LATENT_JAX_REVISION"),
        "git_is_dirty": _git("status", "--porcelain") not in ("", None),
        "command": sys.argv,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def _check_same(
    folder: RunFolder, config: dict, may_differ: set[str], added: Mapping[str, Any]
) -> None:
    old, new = {**added, **_flat(folder.config)}, _flat(config)
    lines = [
        f"  {key}: {old.get(key, ABSENT)!r} there, {new.get(key, ABSENT)!r} now"
        for key in sorted(old.keys() | new.keys())
        if key not in may_differ and old.get(key, ABSENT) != new.get(key, ABSENT)
    ]
    if lines:
        raise RunFolderError(
            f"{folder.path} belongs to a run of another configuration:\n"
            + "\n".join(lines)
            + "\nchoose another workdir, or use the configuration in its config.json"
        )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {
        name: value
        for key, branch in tree.items()
        for name, value in _flat(branch, f"{prefix}.{key}" if prefix else key).items()
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
