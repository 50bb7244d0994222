"""Initial weights taken from another run or from a file, instead of drawn ones.

A name is the path of an array, joined by "/": "params/..." for parameters, as the optimizer's
patterns see them, and "codebook/..." and the like for the other Flax collections. A file of weights
(.npz, .safetensors) holds arrays under such names. A published model (a .gguf or a folder of
Hugging Face) holds those of a GPT.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from latent_jax.array_files import read_array, read_header
from latent_jax.contracts import Task
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.pretrained import GGUF_SUFFIX, is_pretrained, open_pretrained
from latent_jax.models.safetensors import DTYPES
from latent_jax.nearest import nearest
from latent_jax.paths import is_remote, open_path
from latent_jax.training.checkpoints import Checkpoints
from latent_jax.training.optimizer import path_name
from latent_jax.training.sharding import replicated

PyTree = Any

PARAMS = "params/"


@dataclasses.dataclass(frozen=True)
class Weights:
    """Arrays of another run or of a file.

    Attributes:
        source: where they are, for messages and records.
        shapes: of every array, by name.
        read: function that returns the arrays of the given names, on the host.
        network: that a published model is of; None where the arrays may be of any.
    """

    source: str
    shapes: Mapping[str, jax.ShapeDtypeStruct]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]
    network: GPTConfig | None = None


def open_weights(path: str, mesh: Mesh, key: str = "training.init_from") -> Weights:
    """Return the weights in a run folder (its last checkpoint), RUN/checkpoints/STEP, or a file.

    A file is .npz or .safetensors with this project's names, or a published model: a .gguf, or a
    folder of Hugging Face.

    Args:
        path: of one of them; a run may also lie in a bucket.
        mesh: from `make_mesh`; checkpoints are read onto it.
        key: config key that has the path, for messages.

    Raises:
        ValueError: there are none, or they cannot be read.
    """
    found = open_path(path)
    if not is_remote(path) and found.exists() and is_pretrained(found):
        return _of_pretrained(found, key)
    if found.is_dir():
        step = -1
        if found.name.isdigit() and found.parent.name == "checkpoints":
            found, step = found.parent.parent, int(found.name)
        if not (found / "checkpoints").is_dir():
            raise ValueError(
                f"{key}={path} is no run folder (it has no checkpoints): name a run "
                "folder, RUN/checkpoints/STEP, a folder of Hugging Face (with config.json), or a "
                "file of weights"
            )
        return _of_run(found, step, mesh)
    readers = {".npz": _of_npz, ".safetensors": _of_safetensors}
    if not found.exists():
        raise ValueError(f"{key}={path} does not exist")
    if found.suffix not in readers:
        raise ValueError(
            f"{key}={path} ends in none of {', '.join(readers)}, {GGUF_SUFFIX}: name "
            "a run folder or such a file"
        )
    try:
        return readers[found.suffix](found)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{key}={path} cannot be read: {error}") from error


def choose_names(weights: Weights, variables: PyTree, patterns: Iterable[str]) -> list[str]:
    """Return the names of a model's arrays that are taken from `weights`.

    Args:
        weights: from `open_weights`.
        variables: Flax collections of the model, arrays or `ShapeDtypeStruct`s.
        patterns: regular expressions that match a whole name.

    Raises:
        ValueError: a pattern matches nothing, or an array that one matches is not among the
            weights, or has another shape there; the message names it.
    """
    model = _named(variables)
    chosen: set[str] = set()
    for pattern in patterns:
        matched = {name for name in model if re.fullmatch(pattern, name)}
        if not matched:
            raise ValueError(
                f"training.init_patterns: {pattern!r} matches no array of the model; there are "
                f"{', '.join([*model][:8])}{', ...' if len(model) > 8 else ''}"
            )
        chosen |= matched
    if not chosen:
        raise ValueError(
            "training.init_patterns is empty: give patterns for the arrays to take from init_from"
        )
    return _fitting(weights, model, sorted(chosen), "choose others by training.init_patterns")


def borrowed_weights(
    task: Task, variables: PyTree, mesh: Mesh
) -> Iterator[tuple[Weights, list[str]]]:
    """Yield the weights that a task borrows, under the names that they have in its model.

    Args:
        task: see `latent_jax.contracts.Task`.
        variables: Flax collections of the model, arrays or `ShapeDtypeStruct`s.
        mesh: from `make_mesh`.

    Raises:
        ValueError: see `open_weights`; or they do not fit the model, and the message names an
            array.
    """
    model = _named(variables)
    for prefix, (key, source) in getattr(task, "borrowed", {}).items():
        weights = _placed(open_weights(source, mesh, key), prefix)
        names = sorted(name for name in model if name.startswith(prefix))
        yield weights, _fitting(weights, model, names, f"name another run by {key}")


def _placed(weights: Weights, prefix: str) -> Weights:
    """Return the parameters of other weights under names that begin with `prefix`."""
    own = {
        prefix + name.removeprefix(PARAMS): name
        for name in weights.shapes
        if name.startswith(PARAMS)
    }

    def read(names):
        arrays = weights.read([own[name] for name in names])
        return {name: arrays[own[name]] for name in names}

    shapes = {name: weights.shapes[old] for name, old in own.items()}
    return Weights(weights.source, shapes, read)


def _fitting(
    weights: Weights, model: Mapping[str, Any], names: list[str], narrower: str
) -> list[str]:
    """Return the names, each of which is an array of the weights that fits the model."""
    for name in names:
        if name not in weights.shapes:
            raise ValueError(
                f"{weights.source} has no {name}{nearest(name, weights.shapes)}: {narrower}"
            )
        there, here = weights.shapes[name], model[name]
        if there.shape != here.shape or _kind(there) != _kind(here):
            raise ValueError(
                f"{name} is {_describe(there)} in {weights.source} and {_describe(here)} in this "
                f"model: {narrower}, or give the model the same shape"
            )
    return names


SHAPELESS = ("positions", "rope_theta", "norm", "norm_epsilon", "activation")
"""Fields of a GPT's config that change what its weights do, and that no shape tells."""


def check_network(weights: Weights, network: GPTConfig, names: Iterable[str]) -> None:
    """Refuse blocks of a published model in a network that reads them in another way.

    Args:
        weights: from `open_weights`.
        network: that gets them.
        names: from `choose_names`.

    Raises:
        ValueError: a field of the two differs; the message names its config key.
    """
    if weights.network is None or not any(name.startswith("params/stack/") for name in names):
        return
    for field in SHAPELESS:
        there, here = getattr(weights.network, field), getattr(network, field)
        if there != here:
            raise ValueError(
                f"model.{field} is {here!r}, and {weights.source} was trained with {there!r}: set "
                f"--config.model.{field}={there}"
            )


def take_weights(variables: PyTree, weights: Weights, names: Iterable[str]) -> PyTree:
    """Return the variables with the arrays of some names replaced, on the devices they are on.

    Args:
        variables: Flax collections on a mesh.
        weights: from `open_weights`.
        names: from `choose_names`.
    """
    arrays = weights.read(names)

    def replaced(path, leaf):
        array = arrays.get(path_name(path))
        if array is None:
            return leaf
        array = np.asarray(array, leaf.dtype)
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: array[index])

    return jax.tree_util.tree_map_with_path(replaced, variables)


def without_copies(task: Task, variables: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """Return the collections but those that begin as a copy of another, see `Task`."""
    copies = getattr(task, "copies", {})
    return {name: tree for name, tree in variables.items() if name not in copies}


def with_copies(task: Task, variables: Mapping[str, PyTree]) -> dict[str, PyTree]:
    """Return the variables with copies made anew, each in the shardings that it has.

    Args:
        task: see `latent_jax.contracts.Task`.
        variables: Flax collections on a mesh.
    """
    copied = dict(variables)
    for name, of in getattr(task, "copies", {}).items():
        shardings = jax.tree.map(lambda leaf: leaf.sharding, variables[name])
        # A step frees the buffers of its state, so that two arrays may not share one.
        copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=shardings)
        copied[name] = copy(variables[of])
    return copied


def _of_run(folder, step: int, mesh: Mesh) -> Weights:
    with Checkpoints(folder / "checkpoints", is_reader=True) as checkpoints:
        found, shapes = checkpoints.variable_shapes(step)

    def read(names):
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=replicated(mesh)),
            shapes,
        )
        # Read the whole checkpoint, because its digest is of all arrays together.
        with Checkpoints(folder / "checkpoints", is_reader=True) as checkpoints:
            variables, _ = checkpoints.restore_variables(abstract, step)
        arrays = _named(variables)
        return {name: jax.device_get(arrays[name]) for name in names}

    return Weights(str(folder / "checkpoints" / str(found)), _named(shapes), read)


def _of_pretrained(path: Path, key: str) -> Weights:
    try:
        model = open_pretrained(path)
    except ValueError as error:
        raise ValueError(f"{key}={path} cannot be read: {error}") from error

    def read(names):
        arrays = _named({"params": model.params()})
        return {name: arrays[name] for name in names}

    shapes = {f"params/{name}": shape for name, shape in model.shapes.items()}
    return Weights(str(path), shapes, read, model.config)


def _of_npz(path: Path) -> Weights:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        shapes = {
            name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()
        }

    def read(names):
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}

    return Weights(str(path), shapes, read)


def _of_safetensors(path: Path) -> Weights:
    with path.open("rb") as file:
        entries = read_header(file).entries
    shapes = {
        name: jax.ShapeDtypeStruct(entry.shape, DTYPES[entry.word])
        for name, entry in entries.items()
    }

    def read(names):
        with path.open("rb") as file:
            return {name: read_array(file, entries[name], shapes[name].dtype) for name in names}

    return Weights(str(path), shapes, read)


def _named(tree: PyTree) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _kind(array) -> str:
    return "float" if jnp.issubdtype(array.dtype, jnp.floating) else array.dtype.name


def _describe(array) -> str:
    return f"{array.dtype.name}[{','.join(map(str, array.shape))}]"
