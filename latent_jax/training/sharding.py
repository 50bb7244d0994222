"""Where every array of a run lives: path and shape -> PartitionSpec. Models know nothing of it.

    pmap    everything replicated, the batch split over "data": data parallelism
    fsdp    besides, each big leaf is split over "data" along its largest axis that divides:
            Rajbhandari et al. 2020, ZeRO stage 3
    tensor  attention heads, feed-forward width and vocabulary are split over "model":
            Shoeybi et al. 2019, Megatron-LM, section 3

The optimizer's moments carry the paths of their parameters as a suffix and so get the same specs.
XLA derives every collective from these specs; the step is written once for all strategies.
"""

import re
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from latent_jax.training.optimizer import path_name

PyTree = Any

FSDP_MIN_SIZE = 2**12
"""Scalars. fsdp replicates smaller leaves: gathering them costs more than keeping them."""

TENSOR_RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    # regex searched in the path; axes of the last dimensions (a scanned stack has depth in front)
    (r"attention/query_key_value/kernel$", (None, "model", None, None)),  # [D, H, 3, d]
    (r"attention/query_key_value/bias$", ("model", None, None)),  # [H, 3, d]
    (r"attention/out/kernel$", ("model", None, None)),  # [H, d, D]
    (r"attention/position_bias/table$", ("model", None)),  # [H, buckets]
    (r"feed_forward/(up|gate)/kernel$", (None, "model")),  # [D, F]
    (r"feed_forward/(up|gate)/bias$", ("model",)),  # [F]
    (r"feed_forward/down/kernel$", ("model", None)),  # [F, D]
    (r"token_embedding/embedding$", ("model", None)),  # [V, D]
)
"""The layers of `latent_jax.layers` that split; a leaf that no rule names, or whose axis the mesh
does not divide (a vocabulary of 257 on 2 devices), is replicated."""


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of every array of a batch: rows over "data"."""
    return NamedSharding(mesh, P("data"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of what every device holds whole."""
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


def leaf_spec(name: str, shape: tuple[int, ...], mesh: Mesh, strategy: str) -> P:
    """Return the PartitionSpec of one leaf by its "/"-joined path and its shape."""
    if strategy == "fsdp":
        return _fsdp_spec(shape, mesh.shape["data"])
    if strategy == "tensor":
        return _tensor_spec(name, shape, mesh.shape["model"])
    return P()


def _fsdp_spec(shape: tuple[int, ...], n_devices: int) -> P:
    if np.prod(shape, dtype=np.int64) < FSDP_MIN_SIZE:
        return P()
    # The last of equally long axes: the first may be depth, which a scan slices layer by layer.
    axes = sorted(range(len(shape)), key=lambda axis: (shape[axis], axis), reverse=True)
    for axis in axes:
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
