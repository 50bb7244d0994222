"""Open the folder of one run: the only thing that passes from training to what comes after it.

Nothing is written into a folder of something else, and a start that fails leaves nothing behind.
"""

import contextlib
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from latent_jax.config_file import DIGESTS
from latent_jax.folder_lock import LOCK, hold
from latent_jax.json_files import digest_of, write_json, write_sealed
from latent_jax.paths import is_remote, open_path
from latent_jax.training.environment import environment
from latent_jax.training.mesh import is_primary
from latent_jax.training.run_files import (
    RunFolder,
    RunFolderError,
    check_path,
    named_errors,
)

ABSENT = "(absent)"

SHARED_WITHIN_SECONDS = 60.0
"""How long a network disk may take to show one machine what another one wrote."""


def open_run_folder(
    path: str | Path,
    config: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    may_differ: Collection[str] = (),
    added: Mapping[str, Any] | None = None,
    agreed: Mapping[str, Any] | None = None,
    renewed: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> RunFolder:
    """Make a run folder, or open one that was made with the same configuration.

    Args:
        path: a new or empty folder, or a run folder.
        config: nested plain values: everything that decides the run.
        overrides: what the user changed on the command line.
        may_differ: dotted keys of `config` that a resume may change, such as "training.progress".
        added: values of keys that older folders lack, by dotted key: what runs without them did.
        agreed: what besides `config` must be the same in all processes of the run, by name; JSON.
        renewed: returns the values of an older folder, by dotted key, by the keys of today.

    Raises:
        RunFolderError: the folder holds something else, or a run of another configuration (every
            key that differs is named with both values), or is in use by another process, or see
            `check_path`; nothing is written. Or it cannot be written, and nothing is left; or a
            process of the run does not see what another one wrote or was started with another
            configuration.
        ValueError: see `latent_jax.paths.open_path`.
    """
    check_path(path)
    folder = RunFolder(open_path(path))
    _check_finite(config)
    config = json.loads(json.dumps(config))
    error = None
    if is_primary():
        try:
            added = json.loads(json.dumps(dict(added or {})))  # tuples become lists, as in config
            with named_errors(folder.path), hold(folder.path, "one run"):
                _open(folder, config, overrides, set(may_differ), added, renewed)
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
    renewed: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    is_resume = (folder.path / "config.json").exists()
    if is_resume:
        recorded = folder.config
        old = {**added, **renewed(_flat(recorded))}
        _check_same(folder, old, _flat(config), may_differ)
    elif foreign := _foreign(folder.path):
        raise RunFolderError(
            f"{folder.path} is not empty and holds no config.json, so it is no run folder (it "
            f"holds {foreign}): choose another workdir"
        )
    known = folder.environment if is_resume else {}
    digests = [digest_of(recorded)] if is_resume else []
    made = {**environment(), "starts": known.get("starts", [])}
    try:
        if not is_remote(folder.path):
            for part in (folder.path, folder.checkpoints, folder.samples, folder.tensorboard):
                part.mkdir(parents=True, exist_ok=True)
        write_json(folder.path / "overrides.json", dict(overrides or {}))
        # Of both, because a process may be killed between the two files.
        made[DIGESTS] = [*digests, digest_of(config)]
        write_sealed(folder.path / "environment.json", made)
        # Last: a folder with a config is a whole run folder.
        write_json(folder.path / "config.json", config)
    except OSError:
        if not is_resume:
            _empty(folder)
        raise


def discard(folder: RunFolder) -> None:
    """Remove what a start has made in a folder where no step was recorded or saved.

    The same command with other words then finds an empty folder, and no run of another
    configuration.
    """
    if is_remote(folder.path) or not is_primary() or not folder.path.is_dir():
        return
    if not (folder.path / "config.json").exists():
        return  # it is not ours
    is_used = folder.metrics.exists() and folder.metrics.stat().st_size
    if is_used or any(_entries(folder.checkpoints)) or any(_entries(folder.samples)):
        return
    _empty(folder)


def _empty(folder: RunFolder) -> None:
    """Remove what a start writes, and the folder if nothing else is in it."""
    if is_remote(folder.path):
        return
    for name in ("config.json", "environment.json", "overrides.json", "metrics.jsonl"):
        (folder.path / name).unlink(missing_ok=True)
    for part in (folder.tokenizer, folder.tensorboard, folder.checkpoints, folder.samples):
        shutil.rmtree(part, ignore_errors=True)
    with contextlib.suppress(OSError):  # others may have put something there
        folder.path.rmdir()


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _foreign(folder: Path) -> str:
    """Return what in a folder without a config no start of ours has left there; "" if nothing."""
    ours = {"overrides.json", "environment.json", "checkpoints", "samples", "tensorboard"}
    found = _entries(folder)
    rest = [name for name in found if name not in ours and LOCK not in name]
    rest = [name for name in rest if not (name.startswith(".") and name.endswith(".tmp"))]
    kept = [name for name in found if name in ours and not name.endswith(".json")]
    rest += [f"{name}/{_entries(folder / name)[0]}" for name in kept if _entries(folder / name)]
    if "overrides.json" not in found:  # which is the first that we write
        rest += [name for name in found if name == "environment.json"]
    return rest[0] if rest else ""


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


def _check_finite(config: Mapping[str, Any]) -> None:
    for key, value in _flat(config).items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise RunFolderError(f"{key} is {value}, and has to be a finite number")


def _check_same(
    folder: RunFolder, old: dict[str, Any], new: dict[str, Any], may_differ: set[str]
) -> None:
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
    """Return the values by dotted key."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    return {
        name: value
        for key, branch in tree.items()
        for name, value in _flat(branch, f"{prefix}.{key}" if prefix else key).items()
    }
