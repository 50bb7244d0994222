"""M1, a GPT over bytes, as a `ByteModel` for coders: one compiled step of one fixed shape."""

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
"""The default number of lanes, also for compressed files that do not store one."""


ADDED = ("rope_theta", "n_kv_heads", "norm_epsilon", "qkv_bias")
"""Config fields that were added later. They are saved only where they differ from the default, so
that the files of older models, and the fingerprints of their tokenizers, stay the same."""


class GPTByteModel:
    """A GPT over bytes, one position at a time in `lanes` lanes.

    On CPU a step runs only in the thread that calls it, for two reasons: a product that is split
    among threads may be summed in another order at the next call, and several threads that each run
    a step are faster. On accelerators several threads share a device, which steps for one thread
    while the others code. The probabilities depend on `lanes`, as on everything else that changes
    the compiled program.

    Args:
        config: the config of the GPT. It must have relative positions and 257 ids, the last of
            which separates texts.
        params: the parameters, a plain pytree.
        context: number of positions that a lane attends to, the current one included.
        lanes: B.

    Raises:
        ValueError: the GPT does not have 257 ids or relative positions, `lanes` is below 1, or a
            parameter is not finite in float16.
    """

    kind = "gpt"
    is_exact, skips_idle = False, False

    def __init__(self, config: GPTConfig, params: Any, context: int, lanes: int = LANES):
        """Store the weights on the host; a device gets them at its first step."""
        if config.vocab_size != N_SYMBOLS:
            raise ValueError(
                f"a byte model has {N_SYMBOLS} ids, and this GPT {config.vocab_size}: train one "
                "with configs/m1.py"
            )
        if config.positions != "relative":
            why = {"learned": f"end after {config.max_length}", "rotary": "lose precision far on"}
            raise ValueError(
                f"a byte model reads texts of any length, and {config.positions} positions "
                f"{why[config.positions]}: train one with model.positions=relative"
            )
        if lanes < 1:
            raise ValueError(f"a byte model has at least 1 lane; got {lanes}")
        # The file is the same on all platforms; a compiled step resolves both choices for its own.
        self.config = dataclasses.replace(
            config, dtype="float32", attention_implementation="auto", scan_unroll=0
        )
        self.context, self.lanes = context, lanes
        # A file of a few MB needs 16-bit weights. They are rounded here too, so that a model and
        # its saved form give equal numbers.
        self._weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16), params)
        for path, leaf in jax.tree_util.tree_leaves_with_path(self._weights):
            if not np.isfinite(leaf).all():
                name = jax.tree_util.keystr(path, simple=True, separator="/")
                raise ValueError(
                    f"the parameter {name} of a byte model has a value that is not finite in "
                    "float16 (at most 65,504), which its file holds: its training diverged, or the "
                    "file is damaged"
                )
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
        """The "params" collection of the `GPT`, float32."""
        return map_blocks(stacked, self._params)

    def _on(self, number: int) -> Callable:
        """Return the step of device `number` with its weights; the first call compiles it."""
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
        # Copies, because the caller changes its arrays in place and JAX may read them later.
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
        """Return the model that `to_bytes` wrote.

        Args:
            content: the content of the file.
            context: replaces the model's own context, unless 0.
            lanes: replaces the model's own lanes, unless 0.
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
    """Return the compiled step of all models of one shape; the weights are its first argument."""
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
