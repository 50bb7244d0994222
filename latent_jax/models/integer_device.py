"""The integer model as a `ByteModel` on an accelerator: `integer_gpt` compiled for many lanes."""

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.exact.model_file import BLOCKS, IntegerConfig, of_blocks
from latent_jax.layers.cache import Cache
from latent_jax.models import integer_gpt
from latent_jax.models.integer_byte_model import LANES, IntegerByteModel
from latent_jax.platform import Platform
from latent_jax.tokenizers.byte_model import BEGIN, IDLE


class IntegerDeviceModel(IntegerByteModel):
    """An `IntegerByteModel` whose lanes step together on a device of JAX, to the same tables.

    What is known in one go is read on the processor, as there.

    Args:
        config: its shape.
        arrays: its weights, by the names of `exact.model_file`.
        lanes: B.
        dtype: of the operands of products: float32, or bfloat16, which holds them as exactly.
    """

    skips_idle = False

    def __init__(
        self,
        config: IntegerConfig,
        arrays: Mapping[str, np.ndarray],
        lanes: int = LANES,
        dtype: str = "",
    ):
        """Compile nothing yet."""
        super().__init__(config, arrays, lanes)
        self._devices, self._lock = jax.local_devices(), threading.Lock()
        self.workers = Platform.current().byte_model_workers(len(self._devices), self.workers)
        self._dtype = dtype or Platform.current().dtype
        self._steps: dict[int, Callable] = {}

    def start(self, worker: int = 0) -> Any:
        """See `ByteModel.start`."""
        number = worker % len(self._devices)
        rings = empty_rings(self.config, self.lanes)
        return number, jax.device_put(rings, self._devices[number])

    def step(
        self, state: Any, ids_B: np.ndarray, positions_B: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """See `ByteModel.step`."""
        number, rings = state
        with self._lock:
            if number not in self._steps:
                self._steps[number] = self._compiled(self._devices[number])
        ids_B = np.where(ids_B == IDLE, BEGIN, ids_B).astype(np.int32)
        table_BV, rings = self._steps[number](rings, ids_B, positions_B.astype(np.int32))
        return np.asarray(table_BV), (number, rings)

    def _compiled(self, device: jax.Device) -> Callable:
        weights = jax.device_put(weight_tree(self.arrays), device)
        step = functools.partial(device_step, dtype=self._dtype)
        return functools.partial(jax.jit(step, donate_argnums=1), weights)


def weight_tree(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the arrays of a file as `integer_gpt` takes them."""
    tree: dict[str, Any] = {name: x for name, x in arrays.items() if not name.startswith(BLOCKS)}
    tree["blocks"] = of_blocks(arrays)
    return jax.tree.map(jnp.asarray, tree)


def empty_rings(config: IntegerConfig, lanes: int) -> tuple[Cache, ...]:
    """Return a ring for each layer, int8[B, H, S, d]."""
    shape = (lanes, config.n_heads, config.context, config.head_size)
    return tuple(
        Cache(jnp.zeros(shape, jnp.int8), jnp.zeros(shape, jnp.int8))
        for _ in range(config.n_layers)
    )


def device_step(weights, rings, ids_B, position_B, dtype: str = "float32"):
    """Return the tables after one more id of each lane, int32[B, V], and the rings."""
    logits_BV, rings = integer_gpt.step_logits(
        weights, weights["attention_powers"], rings, ids_B, position_B, dtype
    )
    return integer_gpt.table(logits_BV, weights["output_powers"]), tuple(rings)
