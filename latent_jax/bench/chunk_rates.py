"""The chunks that a hierarchical model makes of given text, and the FLOPs of a byte at that rate.

Steps of generation and a pass over the whole row cut alike, so that what a model wrote says how
often its main network ran, and nothing has to be counted while the clock runs.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.chunking.dynamic.base import TILE
from latent_jax.models.hierarchical import HierarchicalModel
from latent_jax.models.hierarchy_config import HierarchicalConfig, StageConfig

LEAST_RATE = 1.0 + 1e-6
"""Positions per chunk of a config are more than 1, and a text may be cut everywhere."""


def at_rates(config: HierarchicalConfig, rates: Sequence[float]) -> HierarchicalConfig:
    """Return a config whose stages aim at other rates, so that it states their FLOPs.

    Args:
        config: of the model.
        rates: positions per chunk of each stage, outermost first, at least 1.
    """

    def changed(stage: StageConfig, rates: Sequence[float]) -> StageConfig:
        rate = max(float(rates[0]), LEAST_RATE)
        chunker = dataclasses.replace(stage.chunker, rate=rate, rate_from=0.0, rate_steps=0)
        inner = stage.inner if stage.is_innermost else changed(stage.inner, rates[1:])
        return dataclasses.replace(stage, chunker=chunker, inner=inner)

    if len(rates) != len(config.stages):
        raise ValueError(f"{len(rates)} rates for {len(config.stages)} stages")
    return dataclasses.replace(config, stage=changed(config.stage, rates))


def flops_at_rates(config: HierarchicalConfig, length: int, rates: Sequence[float]) -> float:
    """Return forward FLOPs per position of rows of `length` positions that are cut at `rates`."""
    return sum(at_rates(config, rates).forward_flops(length, at_rate=True).values())


def first_positions(
    config: HierarchicalConfig, variables: Mapping[str, Any], texts: Sequence[bytes], length: int
) -> tuple[np.ndarray, ...]:
    """Return where each stage begins a chunk, bool[B, T], outermost first.

    Position 0 of a row reads the separator, and position i + 1 byte i. No row overflows, as none
    does in generation.

    Args:
        config: of the model.
        variables: its Flax collections.
        texts: one for each row, at most `length - 1` bytes.
        length: T, of which a text need not fill all.
    """
    padded = TILE * -(-length // TILE)
    ids_BT = np.full((len(texts), padded), config.separator_id, np.int32)
    for row, text in enumerate(texts):
        ids_BT[row, 1 : 1 + len(text)] = np.frombuffer(text, np.uint8)
    lengths_B = np.array([1 + len(text) for text in texts], np.int32)
    mask_BT = np.arange(padded)[None] < lengths_B[:, None]
    cuts = jax.device_get(_cuts(_roomy(config), variables, ids_BT, mask_BT))
    at_BT = np.broadcast_to(np.arange(padded)[None], ids_BT.shape)
    firsts = []
    for is_first_BT, first_BK in cuts:
        # Positions of an inner stage are chunks of the one around it: say which bytes they begin.
        found_BT = np.zeros(ids_BT.shape, bool)
        for row in range(len(texts)):
            found_BT[row, at_BT[row][is_first_BT[row]]] = True
        firsts.append(found_BT[:, :length])
        at_BT = np.take_along_axis(at_BT, first_BK, axis=1)
    return tuple(firsts)


def _roomy(config: HierarchicalConfig) -> HierarchicalConfig:
    """Return the config with room for a chunk at every position of every stage."""

    def changed(stage: StageConfig) -> StageConfig:
        chunker = dataclasses.replace(
            stage.chunker, slack=stage.chunker.rate, rate_from=0.0, rate_steps=0
        )
        inner = stage.inner if stage.is_innermost else changed(stage.inner)
        return dataclasses.replace(stage, chunker=chunker, inner=inner)

    return dataclasses.replace(config, stage=changed(config.stage))


@functools.partial(jax.jit, static_argnums=0)
def _cuts(config, variables, ids_BT, mask_BT):
    """Return (is_first_BT, first_BK) of each stage."""
    n_ids = jnp.sum(mask_BT).astype(jnp.float32)
    model, words = HierarchicalModel(config), dict(method="features")
    _, notes = model.apply(variables, ids_BT, mask_BT, n_ids, **words)
    return [(found.cut.is_first_BT, found.cut.first_BK) for found in notes.boundaries]
