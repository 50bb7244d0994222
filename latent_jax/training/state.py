"""The state that a step changes: one pytree, created on the mesh."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from latent_jax.platform import Platform, host_cpu
from latent_jax.training.optimizer import frozen_mask, split_frozen
from latent_jax.training.promises import checked_variables
from latent_jax.training.sharding import tree_shardings

PyTree = Any


class TrainState(flax.struct.PyTreeNode):
    """The state of a run after `step` optimizer steps.

    Attributes:
        step: int32 scalar, optimizer steps done.
        params: the Flax collection "params", float32.
        state: the other collections, such as codebook statistics; {} if the model keeps none.
        opt_state: optax's state of the parameters that are trained.
        key: typed PRNG key, constant; a step draws from `fold_in(key, step)`.
    """

    step: jax.Array
    params: PyTree
    state: PyTree
    opt_state: PyTree
    key: jax.Array

    @property
    def variables(self) -> dict[str, PyTree]:
        """What Flax calls variables: {"params": ..., and the other collections}."""
        return {"params": self.params, **self.state}

    def with_variables(self, variables: Mapping[str, PyTree]) -> "TrainState":
        """Return the same state with other values of its variables."""
        others = {name: tree for name, tree in variables.items() if name != "params"}
        return self.replace(params=variables["params"], state=others)


def initial_state(
    task, optimizer: optax.GradientTransformation, batch_spec, seed: int
) -> Callable[[], TrainState]:
    """Return a function without arguments that draws the first TrainState.

    Args:
        task: see `latent_jax.contracts.Task`.
        optimizer: from `make_optimizer`.
        batch_spec: dict of arrays or `ShapeDtypeStruct`s; the values are never read.
        seed: of the parameters and of the step's randomness.
    """

    def init() -> TrainState:
        init_key, step_key = jax.random.split(jax.random.key(seed))
        # One row is enough: parameters depend on the shape of a row, not on how many there are.
        row = {name: jnp.zeros((1, *x.shape[1:]), x.dtype) for name, x in batch_spec.items()}
        variables = checked_variables(task, task.init(init_key, row))
        params = variables.pop("params")
        trained, _ = split_frozen(params, frozen_mask(params, task.frozen))
        return TrainState(
            step=jnp.int32(0),
            params=params,
            state=variables,
            opt_state=optimizer.init(trained),
            key=step_key,
        )

    return init


def abstract_state(init: Callable[[], TrainState], mesh: Mesh, strategy: str) -> TrainState:
    """Return the TrainState as `ShapeDtypeStruct`s with shardings; nothing is computed.

    Args:
        init: from `initial_state`.
        mesh: from `make_mesh` of the same strategy.
        strategy: one of `training.config.STRATEGIES`.
    """
    shapes = jax.eval_shape(init)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        tree_shardings(shapes, mesh, strategy),
    )


def create_state(init: Callable[[], TrainState], abstract: TrainState) -> TrainState:
    """Draw the first TrainState into the shardings of `abstract`.

    The same seed gives the same values on every mesh. Where `Platform.draws_on_host` says so, each
    host draws all values on its CPU. Otherwise every device draws its own part; this also happens
    where JAX_PLATFORMS leaves no CPU, and where the hosts of a run drew different bits.
    """
    platform = Platform.current()
    n_numbers = sum(leaf.size for leaf in jax.tree.leaves(abstract.params))
    cpu = host_cpu() if platform.draws_on_host else None
    if cpu is not None:
        drawn = draw_on_host(init, cpu, Platform("cpu").run_once_options(n_numbers))
        if _is_same_everywhere(drawn):
            return place(drawn, abstract)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    options = platform.run_once_options(n_numbers)
    return jax.jit(init, out_shardings=shardings, compiler_options=options)()


def draw_on_host(
    init: Callable[[], TrainState], cpu: jax.Device, options: Mapping[str, Any] | None = None
) -> TrainState:
    """Draw a TrainState on a CPU device, whole.

    Args:
        init: from `initial_state`.
        cpu: a device of this process.
        options: compiler options.
    """
    with jax.default_device(cpu):
        return jax.jit(init, compiler_options=options)()


def place(drawn: TrainState, abstract: TrainState) -> TrainState:
    """Give each device its part of a TrainState that every process has whole.

    Args:
        drawn: on a device of this process.
        abstract: from `abstract_state`; its devices need not be that one.
    """

    def placed(leaf, like):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):  # every device has the whole key
            data, impl = jax.random.key_data(leaf), jax.random.key_impl(leaf)
            return jax.random.wrap_key_data(placed(data, like), impl=impl)
        array = np.asarray(leaf)
        return jax.make_array_from_callback(array.shape, like.sharding, lambda index: array[index])

    return jax.tree.map(placed, drawn, abstract)


def _is_same_everywhere(drawn: TrainState) -> bool:
    """Return whether all processes have drawn the same bits."""
    if jax.process_count() == 1:
        return True
    digest = 0
    for leaf in jax.tree.leaves(drawn.params):
        digest = zlib.crc32(np.ascontiguousarray(leaf), digest)
    digests = multihost_utils.process_allgather(np.uint32(digest))
    return bool((digests == digest).all())
