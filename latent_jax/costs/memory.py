"""The choice of remat="auto": what the backward pass keeps, given the memory of the devices.

The choice is by an estimate, made before anything is compiled. It does not count a compressor's own
arrays and the pieces of a head's logits; they must fit into the share that is left free.
"""

import dataclasses
import logging

from jax.sharding import Mesh
from ml_collections import ConfigDict

from latent_jax.contracts import Task, Vocabulary
from latent_jax.layers.config import REMAT_POLICIES
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.tasks import make_task
from latent_jax.platform import Chip, Platform, chip

logger = logging.getLogger(__name__)

SPARED = 0.25
"""Share of a device's memory that is left for arrays that are not counted."""

MOMENTS = {"adamw": 2, "adafactor": 1}
"""Float32 numbers that an optimizer keeps for each parameter. Adafactor's second moment is not
counted: it is one row and one column of a matrix."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes that a train step needs on one device.

    Attributes:
        state_bytes: parameters, their gradients and the optimizer's moments.
        kept_bytes: arrays that all stacks of blocks keep from the forward for the backward pass.
    """

    state_bytes: float
    kept_bytes: float

    @property
    def total_bytes(self) -> float:
        """Their sum."""
        return self.state_bytes + self.kept_bytes


def estimate(
    task: Task, config: ConfigDict, mesh: Mesh, n_parameters: int | None = None
) -> Estimate:
    """Return an estimate of the bytes that a train step needs on one device.

    Args:
        task: of the configuration.
        config: with row length and width solved.
        mesh: of its strategy.
        n_parameters: of the task, where they are known; None counts them.
    """
    training, optimizer = config.training, config.optimizer
    if n_parameters is None:
        n_parameters = count_parameters(task, config.row_length)["n_parameters"]
    shards = {"pmap": 1, "fsdp": mesh.size, "tensor": mesh.shape.get("model", 1)}
    copies = 2 + MOMENTS[optimizer.name] + (training.accumulation > 1)
    rows = config.batch_size / mesh.shape["data"] / training.accumulation
    return Estimate(
        state_bytes=4.0 * copies * n_parameters / shards[training.strategy],
        kept_bytes=rows * sum(length * stack.kept_bytes for stack, length in task.stacks),
    )


def settle_remat(
    config: ConfigDict,
    vocabulary: Vocabulary,
    mesh: Mesh,
    platform: Platform | None = None,
    device: Chip | None = None,
) -> ConfigDict:
    """Return a copy in which every remat="auto" is replaced by a policy that fits into memory.

    It is the first of `REMAT_POLICIES` that fits, or the last if none does. For a device of unknown
    memory, such as a CPU, it is "none", which keeps everything.

    Args:
        config: with row length and width solved.
        vocabulary: of its tokenizer.
        mesh: of its strategy.
        platform: the platform that the programs are made for; None = that of this process.
        device: one device; None = a device of the mesh.
    """
    sections = [name for name in ("model", "autoencoder") if config[name].remat == "auto"]
    if not sections:
        return config
    device = device or chip(mesh.devices.flat[0].device_kind)
    for word in REMAT_POLICIES[1:]:
        settled = ConfigDict(config.to_dict())
        for name in sections:
            settled[name].remat = word
        if device is None:
            return settled
        needed = estimate(make_task(settled, vocabulary, platform), settled, mesh).total_bytes
        if needed <= (1 - SPARED) * device.memory_bytes:
            break
    if word != REMAT_POLICIES[1]:
        logger.info(
            "remat=%s: a step needs about %.1f GiB of the %.0f GiB of a %s",
            *(word, needed / 2**30, device.memory_bytes / 2**30, device.name),
        )
    return settled
