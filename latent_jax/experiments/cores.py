"""How runs use the cores and the memory of a CPU; of another device, the host's heap alone."""

import itertools
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.training import share_heap, spread_over_cores


def use_cores(configs: Sequence[ConfigDict]) -> None:
    """Give the CPU backend its devices, and threads their heaps, for all runs of a process.

    Call it before JAX's backends start; see `training.host`. Widths and rows that are solved later
    count as the config states them, so that what a step keeps is a guess.
    """
    rows = [config.batch_size // config.training.accumulation for config in configs]
    read = [rows_read(config) for config in configs]
    n_devices = spread_over_cores(itertools.chain(rows, read))
    n_devices = n_devices or max(jax.config.jax_num_cpu_devices, 0)
    for config, n_rows in zip(configs, rows, strict=True):
        model, length = config.model, max(config.row_length, config.context_bytes)
        share_heap(
            n_rows * length / max(n_devices, 1),
            model.d_model,
            model.n_layers,
            n_heads=model.n_heads,
            row_length=length,
            n_devices=n_devices,
        )


def rows_read(config: ConfigDict) -> int:
    """Return the rows that a training step reads; see `Family.rows_read`."""
    return family(parse(config.method).family).rows_read(config)
