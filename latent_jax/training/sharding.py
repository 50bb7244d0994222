"""Where every array of a run lives: path and shape -> PartitionSpec. Models do not know it.

    pmap    everything replicated, the batch split over "data": data parallelism
    fsdp    the batch as above; each large parameter is split over "data" along its first axis that
            the devices divide, depth excepted, and gathered where it is used: Rajbhandari et al.
            2020, ZeRO stage 3
    tensor  attention heads, feed-forward width and vocabulary are split over "model":
            Shoeybi et al. 2019, Megatron-LM, section 3

The optimizer's moments carry the paths of their parameters as a suffix and so get the same specs.
XLA derives every collective from these specs and from what `latent_jax.sharding_constraints` says
inside the program; the step is written once for all strategies.
"""

import re
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from latent_jax.sharding_constraints import whole
from latent_jax.training.optimizer import path_name

PyTree = Any

FSDP_MIN_SIZE = 2**12
"""In numbers. fsdp replicates smaller leaves: gathering them costs more than keeping them."""

SCANNED = r"(^|/)blocks/"
"""Regex of the paths whose leaves carry a leading axis of depth. Their layers gather them one by
one, see `latent_jax.layers.dense`."""

SPLIT = r"^(params|opt_state)/"
"""Regex of the paths that fsdp splits. Other collections, such as a codebook, stay whole: every row
of a batch reads and changes them."""

TENSOR_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    # regex searched in the path; axes of the last dimensions (a scanned stack has depth in front)
    (r"attention/(memory_)?query_key_value/kernel$", (None, "model", None, None)),  # [D, H, 3, d]
    (r"attention/query_key_value/bias$", ("model", None, None)),  # [H, 3, d]
    (r"attention/(memory_)?query/kernel$", (None, "model", None)),  # [D, H, d]
    (r"attention/query/bias$", ("model", None)),  # [H, d]
    (r"attention/(memory_)?key_value/kernel$", (None, "model", None, None)),  # [D, G, 2, d]
    (r"attention/key_value/bias$", ("model", None, None)),  # [G, 2, d]
    (r"attention/out/kernel$", ("model", None, None)),  # [H, d, D]
    (r"attention/position_bias/table$", ("model", None)),  # [H, buckets]
    (r"feed_forward/(up|gate)/kernel$", (None, "model")),  # [D, F]
    (r"feed_forward/(up|gate)/bias$", ("model",)),  # [F]
    (r"feed_forward/down/kernel$", ("model", None)),  # [F, D]
    (r"experts/(up|gate)/kernel$", (None, None, "model")),  # [E, D, F]
    (r"experts/(up|gate)/bias$", (None, "model")),  # [E, F]
    (r"experts/down/kernel$", (None, "model", None)),  # [E, F, D]
    (r"token_embedding/embedding$", ("model", None)),  # [V, D]
)
"""Leaves of `latent_jax.layers` that "tensor" splits. A leaf that no rule names, or whose axis the
mesh does not divide (a vocabulary of 257 on 2 devices, one head of keys and values), is replicated.
"""


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of every array of a batch: rows over "data"."""
    return NamedSharding(mesh, P("data"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, P())


def tree_shardings(tree: PyTree, mesh: Mesh, strategy: str) -> PyTree:
    """Return a NamedSharding for each leaf of a tree of (abstract) arrays.

    Args:
        tree: parameters, optimizer state, mutable collections, or a structure that holds them all.
        mesh: from `make_mesh` of the same strategy.
        strategy: one of `STRATEGIES`.
    """

    def sharding(path, leaf):
        return NamedSharding(mesh, leaf_spec(path_name(path), leaf.shape, mesh, strategy))

    return jax.tree_util.tree_map_with_path(sharding, tree)


def gathered(params: PyTree) -> PyTree:
    """Return parameters whole, as a model reads them; those scanned over depth stay as they are.

    Call it inside a step, under `latent_jax.sharding_constraints.placed_on`.
    """

    def gather(path, leaf):
        return leaf if re.search(SCANNED, path_name(path)) else whole(leaf)

    return jax.tree_util.tree_map_with_path(gather, params)


def leaf_spec(name: str, shape: tuple[int, ...], mesh: Mesh, strategy: str) -> P:
    """Return the PartitionSpec of one leaf by its "/"-joined path and its shape."""
    if strategy == "fsdp":
        return _fsdp_spec(name, shape, mesh.shape["data"])
    if strategy == "tensor":
        return _tensor_spec(name, shape, mesh.shape["model"])
    return P()


def _fsdp_spec(name: str, shape: tuple[int, ...], n_devices: int) -> P:
    if not re.search(SPLIT, name):
        return P()
    # A loop over depth slices layer by layer: if depth were split, each slice would lie on one
    # device.
    depth = 1 if re.search(SCANNED, name) else 0
    if np.prod(shape[depth:], dtype=np.int64) < FSDP_MIN_SIZE:
        return P()
    # The first axis, because its parts are contiguous in memory, whatever its length.
    for axis in range(depth, len(shape)):
        if shape[axis] % n_devices == 0:
            return P(*(None,) * axis, "data")
    return P()


def _tensor_spec(name: str, shape: tuple[int, ...], n_devices: int) -> P:
    for pattern, axes in TENSOR_RULES:
        if re.search(pattern, name):
            # A factored second moment has fewer axes than its parameter, and is small.
            if len(shape) < len(axes):
                return P()
            spec = (None,) * (len(shape) - len(axes)) + axes
            sizes = [shape[i] for i, axis in enumerate(spec) if axis is not None]
            return P(*spec) if all(size % n_devices == 0 for size in sizes) else P()
    return P()
