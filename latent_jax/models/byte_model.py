"""M1 as the `ByteModel` that the coders ask for: one compiled step of one fixed shape."""

import dataclasses
import functools
import json
import os
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from latent_jax.layers.block import by_layer, map_blocks, stacked
from latent_jax.layers.cache import Cache
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.platform import Platform
from latent_jax.tokenizers.byte_model import BEGIN, IDLE, N_SYMBOLS, register

LANES = 64
"""Of a model whose file does not say otherwise, and of compressed files that do not."""


ADDED = ("rope_theta", "n_kv_heads")
"""Fields of the config that a file holds only where they are not the default: those that were made
before them stay what they were to the byte, and so do the fingerprints of tokenizers."""


class GPTByteModel:
    """A GPT over bytes, one position at a time in `lanes` lanes.

    On CPU the step runs in the thread that calls it: a product shared among threads may be summed
    in another order at the next call, and several threads with a step each are faster. Elsewhere
    several threads share a device, which steps for one while the others code. The numbers depend on
    how many lanes there are, as on all that decides the program of the step.

    Args:
        config: of the GPT, with relative positions, and 257 ids of which the last lies between
            texts.
        params: its parameters, a plain tree.
        context: how many positions a lane attends to, itself included.
        lanes: B.

    Raises:
        ValueError: the model does not read bytes, its positions end, or it has no lane.
    """

    kind = "gpt"
    is_exact = False

    def __init__(self, config: GPTConfig, params: Any, context: int, lanes: int = LANES):
        """Keep the weights; a device gets them when its first step is asked for."""
        if config.vocab_size != N_SYMBOLS:
            raise ValueError(
                f"a byte model has {N_SYMBOLS} ids, and this GPT {config.vocab_size}: train one "
                "with configs/m1.py"
            )
        if config.positions != "relative":
            why = {"learned": f"end after {config.max_length}", "rotary": "lose precision far on"}
            raise ValueError(
                f"a byte model reads on and on, and {config.positions} positions "
                f"{why[config.positions]}: train one with model.positions=relative"
            )
        if lanes < 1:
            raise ValueError(f"a byte model has at least 1 lane; got {lanes}")
        # The file is one on every platform, and a step leaves nothing to it.
        self.config = dataclasses.replace(
            config, dtype="float32", attention_implementation="auto", scan_unroll=0
        )
        self.context, self.lanes = context, lanes
        # Kept with 16 bits, which a file of a few MB needs, and so everywhere.
        self._weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), params)
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), self._weights)
        self._params = map_blocks(by_layer, params)
        self.flops_per_byte = float(sum(config.forward_flops(context).values()))
        self._devices = jax.local_devices()
        self.workers = Platform.current().byte_model_workers(
            len(self._devices), os.cpu_count() or 1
        )
        self._steps: dict[int, Callable] = {}
        self._lock = threading.Lock()

    @property
    def params(self) -> Any:
        """The parameters, float32, as `GPT` takes them."""
        return map_blocks(stacked, self._params)

    def _on(self, number: int) -> Callable:
        """Return the step on one of the devices, with the weights in it, compiled when needed."""
        with self._lock:
            if number not in self._steps:
                self._steps[number] = self._compile(self._devices[number])
            return self._steps[number]

    def _compile(self, device: jax.Device) -> Callable:
        params = jax.device_put(self._params, device)
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
        leaves, structure = jax.tree.flatten(shapes)
        step = _compiled_step(
            self.config, self.context, self.lanes, device, tuple(leaves), structure
        )
        return functools.partial(step, params)

    def _empty_caches(self) -> tuple[Cache, ...]:
        return _empty_caches(self.config, self.context, self.lanes)

    def start(self, worker: int = 0) -> Any:
        """See `ByteModel.start`."""
        number = worker % len(self._devices)
        return number, jax.device_put(self._empty_caches(), self._devices[number])

    def step(
        self, state: Any, ids_B: np.ndarray, positions_B: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        """See `ByteModel.step`."""
        # Copies: the caller changes its arrays in place, and JAX may read them later.
        number, caches = state
        ids_B = np.where(ids_B == IDLE, BEGIN, ids_B)
        probabilities_BV, caches = self._on(number)(caches, ids_B, positions_B.copy())
        return np.asarray(probabilities_BV), (number, caches)

    def to_bytes(self) -> bytes:
        """See `ByteModel.to_bytes`."""
        default = {field.name: field.default for field in dataclasses.fields(GPTConfig)}
        config = dataclasses.asdict(self.config)
        described = {
            "config": {k: v for k, v in config.items() if k not in ADDED or v != default[k]},
            "context": self.context,
            "lanes": self.lanes,
        }
        model = json.dumps(described, sort_keys=True)
        return serialization.msgpack_serialize({"model": model, "params": self._weights})

    @classmethod
    def from_bytes(cls, content: bytes, context: int = 0, lanes: int = 0) -> "GPTByteModel":
        """Build the model that `to_bytes` described.

        Args:
            content: the file.
            context: another than 0 replaces the model's own.
            lanes: likewise.
        """
        saved = serialization.msgpack_restore(content)
        described = json.loads(saved["model"])
        return cls(
            GPTConfig(**described["config"]),
            saved["params"],
            context or described["context"],
            lanes or described["lanes"],
        )


@functools.lru_cache(maxsize=32)
def _compiled_step(
    config: GPTConfig, context: int, lanes: int, device: jax.Device, leaves: tuple, structure: Any
) -> Callable:
    """Return the compiled step of every model of one shape; its weights are arguments."""
    model = GPT(config.resolved(Platform.current()).unrolled)

    def step(params, caches, ids_B, positions_B):
        logits_BV, cache = model.apply(
            {"params": map_blocks(stacked, params)},
            ids_B,
            stacked(caches),
            positions_B,
            method="step",
        )
        return jax.nn.softmax(logits_BV, axis=-1), by_layer(cache)

    ids_B = jax.ShapeDtypeStruct((lanes,), jnp.int32)
    sharding = jax.sharding.SingleDeviceSharding(device)
    caches = jax.eval_shape(lambda: _empty_caches(config, context, lanes))
    params = jax.tree.unflatten(structure, leaves)
    arguments = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        (params, caches, ids_B, ids_B),
    )
    lowered = jax.jit(step, donate_argnums=1).lower(*arguments)
    return lowered.compile(Platform.current().same_order_options)


def _empty_caches(config: GPTConfig, context: int, lanes: int) -> tuple[Cache, ...]:
    return by_layer(config.empty_cache(lanes, context))


register(GPTByteModel.kind, GPTByteModel.from_bytes)
