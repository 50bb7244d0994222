"""One checkpoint on a disk or in a bucket (Orbax): its items, its small files, their digests.

    variables   Flax collections
    optimizer   step, optimizer state, random key
    run         metadata.json, and data_P.json: the state of the data iterator of process P
    metrics     the metric by which the best is kept, where it was measured

Orbax renames a finished folder into place, or in a bucket marks it as whole by a last file, so a
killed process leaves no half checkpoint. What it does not notice is a flipped bit. So the metadata
holds a digest of the bits of every item, and the small files carry their own.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from latent_jax.json_files import Kind, read_json, read_sealed, sealed, write_sealed
from latent_jax.paths import check_files, is_remote, replace_file
from latent_jax.system_errors import away, is_away
from latent_jax.training.identity import DIGEST_RULES, CheckpointError, digests
from latent_jax.training.mesh import is_primary

PyTree = Any

logger = logging.getLogger(__name__)

METADATA = "run/metadata.json"

COMMITTED = "commit_success.txt"
"""Orbax's mark in a bucket, where nothing is renamed, that a checkpoint is whole."""

UNFINISHED = "orbax-checkpoint-tmp"
"""In the name of a folder that Orbax has not renamed yet."""

DELETED = ".deleted-"
"""Before the name of a checkpoint whose files are being removed."""

MANY_STEPS = 4096


class DamagedError(CheckpointError):
    """A checkpoint is not what was saved."""


_METADATA = Kind(
    keys={
        **{"identity": dict, "digests": dict, "step": int},
        **{"seconds": float, "evaluated_step": int},
    },
    maybe={"n_records": int},
    error=DamagedError,
)


class JsonFiles:
    """Small files, captured when the save begins; Orbax's protocol `StatefulCheckpointable`."""

    def __init__(self, files: Mapping[str, Any]):
        """Take the values by name; one that begins with "../" lies beside the item."""
        self._files = {name: json.dumps(value, allow_nan=False) for name, value in files.items()}

    async def save(self, directory):
        """Write them, when the folder is there."""

        async def write():
            path = await directory.await_creation()
            for name, text in self._files.items():
                # Of a path in a bucket ".." is a name like any other.
                file = path.parent / name[3:] if name.startswith("../") else path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)

        return write()

    async def load(self, directory):
        """Never: Orbax is not asked to."""
        raise NotImplementedError(f"{directory} is read by checkpoint_files")


def begin_save(
    path: Any,
    items: Mapping[str, PyTree],
    data_state: Any,
    metadata: Mapping[str, Any],
    metric: float | None,
    slice_bytes: int,
) -> ocp.AsyncResponse:
    """Begin to write a checkpoint; return what says when it is done.

    Args:
        path: of the checkpoint, which is not there yet.
        items: pytrees of arrays by name; they may be donated as soon as this returns.
        data_state: JSON, of this process's iterator.
        metadata: JSON, besides the digests.
        metric: by which the best is kept; None if not measured.
        slice_bytes: devices that hold the same array share its writing from so many bytes on.
    """
    held = {"digest_rule": DIGEST_RULES[-1], "digests": digests(items)}  # by all processes together
    run = {f"data_{jax.process_index()}.json": sealed({"state": data_state})}
    if is_primary():
        run["metadata.json"] = sealed({**metadata, "metric": metric, **held})
    if is_primary() and metric is not None:
        run["../metrics/metrics"] = {"metric": metric}  # where Orbax's own tools look for it
    saved = {**items, "run": JsonFiles(run)}
    context = ocp.Context()
    context.array.saving.min_slice_bytes_for_replica_parallel = slice_bytes
    with context:
        return ocp.save_checkpointables_async(path, saved)


def read_metadata(path: Any) -> dict[str, Any]:
    """Return the metadata of a checkpoint, once its small files have proved whole.

    Raises:
        DamagedError: they are not, or the checkpoint is another step's or another program's; the
            message names the file.
    """
    if not (path / "run").is_dir():
        raise DamagedError(f"{path} was not written by latent_jax (it has no item 'run')")
    try:
        check_files(path)
    except ValueError as error:
        raise DamagedError(str(error)) from error
    metadata, is_sealed = read_sealed(path / METADATA, _METADATA)
    if not is_sealed:
        logger.warning(
            "%s carries no digest (an earlier version wrote it): damage would not be noticed",
            path / METADATA,
        )
    if str(metadata["step"]) != path.name:
        raise DamagedError(f"{path / METADATA} is that of step {metadata['step']}")
    for key, value in metadata.items():
        if key.endswith("_seen") and (type(value) is not int or value < 0):
            raise DamagedError(f"{path / METADATA} has {value!r} as its {key!r}")
    for item in ("variables", "optimizer"):
        if not (path / item).is_dir() or item not in metadata["digests"]:
            raise DamagedError(f"{path / item} is missing")
    if metadata.setdefault("digest_rule", 1) not in DIGEST_RULES:
        raise DamagedError(f"{path / METADATA} has {metadata['digest_rule']!r} as its digest_rule")
    shapes = metadata["identity"].get("parameters", {})
    if type(shapes) is not dict or not all(type(shape) is str for shape in shapes.values()):
        raise DamagedError(f"{path / METADATA} has no shapes by name as its 'parameters'")
    _check_metric(path, metadata.setdefault("metric", None))
    read_data_state(path, is_sealed)
    return metadata


def read_data_state(path: Any, has_seal: bool = False) -> Any:
    """Return the state of this process's data iterator in a checkpoint.

    Args:
        path: of the checkpoint.
        has_seal: whether the file must have a seal, because the one beside it has.

    Raises:
        DamagedError: it cannot be read, or its bits are others than were saved.
    """
    file = path / "run" / f"data_{jax.process_index()}.json"
    if not file.exists() and jax.process_index():
        return None  # of fewer processes; who resumes compares their number
    value, is_sealed = read_sealed(file, Kind(None, error=DamagedError))
    if has_seal and not is_sealed:
        raise DamagedError(f"{file} was damaged or changed: it has lost its digest")
    if not is_sealed:
        return value
    if not isinstance(value, dict) or "state" not in value:
        raise DamagedError(f"{file} has no 'state'")
    return value["state"]


def load(path: Any, metadata: Mapping[str, Any], abstract: Mapping[str, PyTree]) -> dict[str, Any]:
    """Return items of a checkpoint on the mesh that `abstract` describes.

    Raises:
        DamagedError: they cannot be read, or their bits are others than were saved.
        AwayError: the system failed to read them, in any process.
    """
    items, failed = {}, None
    # Of several arrays that cannot be read one is raised, and said below in one line; asyncio would
    # print the tracebacks of the others, whenever they are collected.
    logging.getLogger("asyncio").addFilter(_is_raised_elsewhere)
    try:
        items = ocp.load_checkpointables(path, dict(abstract))
    except Exception as error:
        # Orbax wraps one cause in many handlers' names; the innermost says what is wrong.
        while error.__cause__ is not None:
            error = error.__cause__
        if "RESOURCE_EXHAUSTED" in str(error) or isinstance(error, MemoryError):
            raise
        failed = error
    is_system = failed is not None and is_away(failed)
    if any_process(is_system):
        raise away(path, failed if is_system else OSError("in another process")) from failed
    if any_process(failed is not None):
        said = " ".join(str(failed).split())[:300]  # one line of Orbax's several
        words = f"{type(failed).__name__}: {said}" if failed else "in another process"
        raise DamagedError(f"{path} is truncated or damaged: {words}") from failed
    for name, digest in digests(items, metadata["digest_rule"]).items():
        if digest != metadata["digests"][name]:
            raise DamagedError(
                f"the bits of {path / name} have digest {digest}, and were saved with "
                f"{metadata['digests'][name]}"
            )
    # A typed key comes back with its sharding spelt P(None), which does not fit a scalar.
    return jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), items, dict(abstract))


def add_evaluation(path: Any, changes: Mapping[str, Any], metric: float | None) -> None:
    """Add what an evaluation found to a checkpoint that was saved before it.

    Args:
        path: of the checkpoint.
        changes: of its metadata.
        metric: by which the best is kept; None if none is.
    """
    metadata, _ = read_sealed(path / METADATA, _METADATA)
    if metric is not None:  # first: the metadata says whether it counts
        replace_file(path / "metrics" / "metrics", json.dumps({"metric": metric}).encode())
    write_sealed(path / METADATA, {**metadata, **changes, "metric": metric})


def shapes(path: Any) -> PyTree:
    """Return the Flax collections of a checkpoint as `ShapeDtypeStruct`s.

    Raises:
        DamagedError: Orbax cannot read what it wrote about them.
        AwayError: the system failed to.
    """
    try:
        tree = ocp.metadata(path, "variables").metadata
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    except Exception as error:
        if is_away(error):
            raise away(path / "variables", error) from error
        said = " ".join(str(error).split())[:300]
        raise DamagedError(f"{path / 'variables'} cannot be read: {said}") from error


def finished_steps(folder: Any) -> list[int]:
    """Return the steps of the checkpoints in a folder, ascending; all processes get the same."""
    found: list[int] = []
    if is_primary() and folder.is_dir():
        paths = [path for path in folder.iterdir() if re.fullmatch(r"0|[1-9][0-9]{0,8}", path.name)]
        whole = [path for path in paths if not is_remote(folder) or (path / COMMITTED).exists()]
        found = sorted(int(path.name) for path in whole if path.is_dir())
    if jax.process_count() == 1:
        return found
    padded = np.full(MANY_STEPS, -1, np.int32)
    padded[: len(found)] = found[-MANY_STEPS:]
    return [int(step) for step in multihost_utils.broadcast_one_to_all(padded) if step >= 0]


def remove_unfinished(folder: Any) -> list[str]:
    """Remove what killed processes left half-written or half-removed; return the names."""
    if not folder.is_dir():
        return []
    names = []
    for path in folder.iterdir():
        is_number = re.fullmatch(r"[0-9]+", path.name) and path.is_dir()
        is_half = is_remote(folder) and is_number and not (path / COMMITTED).exists()
        if UNFINISHED in path.name or path.name.startswith(DELETED) or is_half:
            _remove(path)
            names.append(path.name)
    return names


def delete(path: Any) -> None:
    """Remove a checkpoint; killed meanwhile, it leaves nothing that looks like one."""
    if is_remote(path):
        (path / COMMITTED).unlink(missing_ok=True)
        _remove(path)
        return
    aside = path.with_name(f"{DELETED}{path.name}")
    _remove(aside)
    path.rename(aside)
    _remove(aside)


def move_aside(path: Any) -> Any:
    """Move a damaged checkpoint out of the way of a new one of its step; return where to."""
    place = path.parent.parent / "damaged"
    place.mkdir(parents=True, exist_ok=True)
    number = 1
    while (target := place / (path.name if number == 1 else f"{path.name}-{number}")).exists():
        number += 1
    if is_remote(path):  # a bucket renames nothing; the mark, which makes it whole, comes last
        files = sorted(_files(path), key=lambda file: file.name == COMMITTED)
        for file in files:
            replace_file(target / file.relative_to(path), file.read_bytes())
        delete(path)
    else:
        path.rename(target)
    return target


def _is_raised_elsewhere(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Task exception was never retrieved")


def any_process(is_true: bool) -> bool:
    """Return whether it is true in any process of the run."""
    if jax.process_count() == 1:
        return is_true
    return bool(np.any(multihost_utils.process_allgather(np.int32(is_true))))


def _check_metric(path: Any, metric: Any) -> None:
    if metric is None:
        return
    if isinstance(metric, bool) or not isinstance(metric, int | float):
        raise DamagedError(f"{path / METADATA} has {metric!r} as its metric")
    file = path / "metrics" / "metrics"
    found = read_json(file, Kind(keys={"metric": float}, error=DamagedError))["metric"]
    if found != metric:
        raise DamagedError(f"{file} says {found}, and {path / METADATA} says {metric}")


def _files(folder: Any) -> Iterator[Any]:
    for path in folder.iterdir():
        yield from _files(path) if path.is_dir() else [path]


def _remove(path: Any) -> None:
    if is_remote(path):
        if path.exists():
            path.rmtree()
        return
    shutil.rmtree(Path(path), ignore_errors=True)
