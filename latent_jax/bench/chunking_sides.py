"""Models that take turns at training on the same rows: those of this project, and a peer."""

import dataclasses
import importlib.metadata
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import numpy as np

from latent_jax.bench.step import PreparedStep, random_batch
from latent_jax.models.hierarchy_config import HierarchicalConfig
from latent_jax.training.host import n_cores

PEER, PEER_MODULE = "h-net-dynamic-chunking", "h_net_dynamic_chunking"
WAIT_POLICY = "OMP_WAIT_POLICY"
"""OpenMP's variable for how threads wait for work."""

LEARNING_RATE = 3e-4
"""Of the peer; low, so that its rate stays where it was aimed. Ours warm up for longer than this
takes."""

N_WARM_UP = 2
"""Turns that are not counted."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a turn of one model took and did.

    Attributes:
        seconds: per step.
        flops: of training, per byte.
        bytes_per_chunk: of the network over chunks, without the padding that FLOPs count; None =
            there are no chunks.
    """

    seconds: float
    flops: float
    bytes_per_chunk: float | None


class Side(Protocol):
    """A model that takes turns."""

    def before(self, ids_BT: np.ndarray) -> None:
        """Make ready for a turn on rows int32[B, T], while no clock runs."""

    def step(self, ids_BT: np.ndarray) -> Any:
        """Return the loss of a step, a scalar that may still be computed."""

    def wait(self) -> None:
        """Return when the last step is done."""

    def after(self, ids_BT: np.ndarray) -> tuple[float, float | None]:
        """Return FLOPs per byte and bytes per chunk of the turn."""

    def record(self) -> dict[str, Any]:
        """Return what the model is, as a part of a flat record."""


class OurSide:
    """A model of this project."""

    def __init__(self, prepared: PreparedStep):
        """Take over a compiled step."""
        self._prepared = prepared
        self._rest = random_batch(prepared.config, prepared.vocabulary)
        self._metrics = None

    def before(self, ids_BT: np.ndarray) -> None:
        """See `Side`."""
        separator_id = self._prepared.vocabulary.separator_id
        n_bytes = np.sum(ids_BT != separator_id, axis=1, dtype=np.int32)
        self._rest |= {"ids": ids_BT, "n_bytes": n_bytes}

    def step(self, ids_BT: np.ndarray) -> jax.Array:
        """See `Side`."""
        del ids_BT
        self._metrics = self._prepared.take(self._prepared.put(self._rest))
        return self._metrics.loss

    def wait(self) -> None:
        """See `Side`; the loss may be ready before the rest of its step."""
        jax.block_until_ready(self._prepared.state)

    def after(self, ids_BT: np.ndarray) -> tuple[float, float | None]:
        """See `Side`; chunks are those of the last step."""
        flops, config = self._prepared.task.train_flops_per_byte, self._model
        if not isinstance(config, HierarchicalConfig):
            return flops, None
        n_chunks = float(self._metrics.scores[f"n_chunks_{len(config.stages)}"])
        return flops, ids_BT.size / max(n_chunks, 1.0)

    def record(self) -> dict[str, Any]:
        """See `Side`."""
        config, hierarchy = self._model, self._prepared.config.hierarchy
        outer, chunks = None, {}
        if isinstance(config, HierarchicalConfig):
            networks = (config.stage.outer, config.stage.after)
            outer = "attention" if hasattr(networks[0], "stack") else "mamba"
            chunks = {"capacity": config.lengths(self._prepared.config.row_length)[-1]}
            chunks["outer_layers"] = hierarchy.layers
        return {
            "method": self._prepared.config.method,
            "version": f"jax {jax.__version__}",
            "outer": outer,
            "width": self._prepared.config.model.d_model,
            "d_ff": self._prepared.config.model.d_ff,
            "n_layers": self._prepared.config.model.n_layers,
            **chunks,
            "n_parameters": self._prepared.n_parameters,
            "inference_flops_per_byte": self._prepared.task.flops_per_byte,
            "compile_seconds": self._prepared.compile_seconds,
        }

    @property
    def _model(self):
        return self._prepared.task.model_config


class PeerSide:
    """The H-Net of the package, with the shape of one of ours."""

    def __init__(self, twin: PreparedStep):
        """Create it.

        Threads of PyTorch wait asleep, unless the user says otherwise: those that spin slow what
        runs beside them, and where another program held a core, a step took 15 times as long.
        """
        os.environ.setdefault(WAIT_POLICY, "PASSIVE")  # read when PyTorch is first imported
        from latent_jax.bench.torch_hnet import TorchHNetSteps

        self._twin = twin
        self._steps = TorchHNetSteps(twin.task.model_config, LEARNING_RATE, n_cores())

    def before(self, ids_BT: np.ndarray) -> None:
        """See `Side`."""
        self._steps.aim(ids_BT)

    def step(self, ids_BT: np.ndarray) -> Any:
        """See `Side`."""
        return self._steps.step(ids_BT)

    def wait(self) -> None:
        """See `Side`."""
        self._steps.wait()

    def after(self, ids_BT: np.ndarray) -> tuple[float, float | None]:
        """See `Side`."""
        flops = 3.0 * self._steps.flops_per_position(ids_BT.shape[1])
        return flops, ids_BT.size / self._steps.n_cut

    def record(self) -> dict[str, Any]:
        """See `Side`."""
        ours = OurSide(self._twin).record()
        left_out = ("inference_flops_per_byte", "compile_seconds", "capacity")
        versions = [f"{name} {importlib.metadata.version(name)}" for name in (PEER, "torch")]
        return {
            **{key: value for key, value in ours.items() if key not in left_out},
            "version": ", ".join(versions),
            "n_parameters": self._steps.n_parameters,
            "omp_wait_policy": os.environ[WAIT_POLICY],
        }


def take_turns(
    sides: Mapping[str, Side],
    draw_rows: Callable[[], np.ndarray],
    n_turns: int,
    steps_per_turn: int,
) -> dict[str, list[Turn]]:
    """Return the turns of each model that count.

    Args:
        sides: the models by name.
        draw_rows: returns the rows of the next turn, int32[B, T].
        n_turns: how many count.
        steps_per_turn: steps between two looks at the clock.

    Raises:
        ValueError: a loss is not finite.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    names = [*sides]
    for number in range(N_WARM_UP + n_turns):
        ids_BT = draw_rows()
        at = number % len(names)
        for name in names[at:] + names[:at]:
            side = sides[name]
            side.before(ids_BT)
            start = time.perf_counter()
            for _ in range(steps_per_turn):
                loss = side.step(ids_BT)
            side.wait()
            seconds = (time.perf_counter() - start) / steps_per_turn
            if not np.isfinite(float(loss)):
                raise ValueError(f"{name}: the loss is {float(loss)} after a few steps")
            if number >= N_WARM_UP:
                turns[name].append(Turn(seconds, *side.after(ids_BT)))
    return turns
