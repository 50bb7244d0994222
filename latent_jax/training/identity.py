"""Checks that a checkpoint belongs to this run, and that its bits are those that were saved."""

import functools
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.contracts import Task
from latent_jax.training.optimizer import path_name

PyTree = Any

WAYS_OUT = {
    "task": "use another workdir for another task",
    "parameters": "use the configuration of the checkpoint, or another workdir for another model",
    "batch_size": "set the batch size back, or start in another workdir",
    "row_length": "set the row length back, or start in another workdir",
    "tokenizer_fingerprint": "use the tokenizer of the run folder, or start in another workdir",
    "data_workers": "set the number of workers back: the state of the data iterator depends on it",
    "process_count": "start as many processes as before: each has its own data iterator",
}
"""Keys of a run's identity, which must be the same when it resumes; and what to do where they are
not."""


DIGEST_RULES = (1, 2, 3)
"""That are known; the last one is of what is saved now, see `digests`."""


class CheckpointError(ValueError):
    """A checkpoint cannot be written, is damaged, or belongs to another run."""


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise CheckpointError at the first key of `now` that has another value in `saved`."""
    for key, value in now.items():
        old = saved.get(key)
        if old == value:
            continue
        if key == "parameters":
            old = old or {}
            names = sorted(n for n in old.keys() | value.keys() if old.get(n) != value.get(n))
            key = f"parameters (first of {len(names)} that differ: {names[0]})"
            old, value = old.get(names[0], "absent"), value.get(names[0], "absent")
        raise CheckpointError(
            f"the checkpoint {path} does not fit this run: its {key} is {old!r}, here it is "
            f"{value!r}; {WAYS_OUT[key.split()[0]]}"
        )


def check_state(saved: Mapping[str, PyTree], now: Mapping[str, PyTree], path: Path) -> None:
    """Raise CheckpointError where a collection is not kept as `now` keeps it; "params" is skipped.

    Args:
        saved: collections of a checkpoint, of arrays or `ShapeDtypeStruct`s.
        now: those of the task.
        path: of the checkpoint.
    """
    for collection in sorted({*now} - {"params"}):
        old, new = describe_shapes(saved.get(collection, {})), describe_shapes(now[collection])
        names = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
        if not names:
            continue
        there, here = (shapes.get(names[0], "absent") for shapes in (old, new))
        differs = (
            f"its state '{collection}' (first of {len(names)} that differ: {names[0]}) is "
            f"{there!r}, here it is {here!r}"
        )
        if old and old.keys() != new.keys():
            raise CheckpointError(
                f"the checkpoint {path} was made by another version of latent_jax, which kept "
                f"other state: {differs}; resume and read it with the version that made it, or "
                "train the run again in another workdir"
            )
        raise CheckpointError(
            f"the checkpoint {path} does not fit this run: {differs}; use the configuration of the "
            "checkpoint, or another workdir"
        )


def run_identity(
    task: Task,
    params: PyTree,
    *,
    batch_size: int,
    row_length: int,
    tokenizer_fingerprint: str,
    data_workers: int,
) -> dict[str, Any]:
    """Return the identity of a run, as JSON data; only a run with the same one may resume from it.

    Args:
        task: what is trained.
        params: arrays or `ShapeDtypeStruct`s.
        batch_size: rows of a global batch.
        row_length: ids of a row.
        tokenizer_fingerprint: see `tokenizers.Tokenizer.fingerprint`.
        data_workers: number of processes that make batches; it decides the order of batches.
    """
    return {
        "task": task.name,
        "parameters": describe_shapes(params),
        "batch_size": batch_size,
        "row_length": row_length,
        "tokenizer_fingerprint": tokenizer_fingerprint,
        "data_workers": data_workers,
        "process_count": jax.process_count(),
    }


def describe_shapes(params: PyTree) -> dict[str, str]:
    """Return path -> "float32[2,3]" for every leaf."""
    return {
        path_name(path): f"{leaf.dtype.name}[{','.join(map(str, leaf.shape))}]"
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def digests(items: Mapping[str, PyTree], rule: int = DIGEST_RULES[-1]) -> dict[str, int]:
    """Return for each item the sum of its bits as words, modulo 2^32; the mesh does not matter.

    Args:
        items: pytrees of arrays by name.
        rule: 3 mixes each word with its place before it is added (the finalizer of MurmurHash3), so
            that every change of bits is as likely to be missed as any other, one in 2^32. Of older
            checkpoints, 2 multiplies by an odd number that the place decides, which misses two
            flipped signs, and 1 does not tell places apart.
    """
    return {name: int(digest) for name, digest in jax.device_get(_digest(items, rule)).items()}


@functools.partial(jax.jit, static_argnums=1)
def _digest(items: Mapping[str, PyTree], rule: int) -> dict[str, jax.Array]:
    return {
        name: sum(
            _bit_sum(leaf, 1 | zlib.crc32(path_name(path).encode()), rule)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        )
        for name, tree in items.items()
    }


def _bit_sum(leaf: jax.Array, salt: int, rule: int) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if leaf.dtype == jnp.bool_:
        leaf = leaf.astype(jnp.uint8)
    words = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(leaf, words).astype(jnp.uint32)
    if rule > 1:
        # The place in row-major order, by sums of its coordinates: no array is moved for it.
        places, stride = jnp.zeros(bits.shape, jnp.uint32), 1
        for axis in reversed(range(bits.ndim)):
            steps = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
            places, stride = places + steps * jnp.uint32(stride % 2**32), stride * bits.shape[axis]
        numbers = (places * jnp.uint32(2 * 0x9E3779B1 % 2**32)) + jnp.uint32(salt)
        bits = bits * numbers if rule == 2 else _mixed(bits ^ numbers)
    return jnp.sum(bits, dtype=jnp.uint32)


def _mixed(x: jax.Array) -> jax.Array:
    """Return words of which every bit depends on every bit of the given ones (MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
