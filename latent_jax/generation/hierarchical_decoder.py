"""Decoding from a hierarchical model: caches at all stages, and a main network that often rests.

A step reads one id per lane with encoder and decoder of the outermost stage. The network inside
runs in those steps only in which some lane begins a chunk: one lane pays for it once per chunk, and
a batch of many lanes in nearly every step, because lanes begin chunks at different ids. Where it
runs, it is computed for all lanes.
"""

import dataclasses

import jax.numpy as jnp

from latent_jax.generation.decoders import Decoder
from latent_jax.layers.block import map_blocks, stacked
from latent_jax.models.hierarchical import HierarchicalModel
from latent_jax.models.hierarchy_config import HierarchicalConfig


@dataclasses.dataclass(frozen=True)
class HierarchicalDecoder(Decoder):
    """A hierarchical model over bytes, or other ids.

    Rings of attention hold as many positions, and as many chunks, as the lanes have slots; so the
    main network reads further back than the outer ones. A prompt has room for a chunk at every
    id: unlike rows in training, no lane overflows.

    Attributes:
        config: of the model.
    """

    config: HierarchicalConfig

    @property
    def separator_id(self) -> int:
        """See `Decoder`."""
        return self.config.separator_id

    @property
    def network(self) -> HierarchicalConfig:
        """See `Decoder`."""
        return self.config

    @property
    def max_ids(self) -> None:
        """There is no limit: states and rings forget what is far back."""
        return None

    def forward_flops(self, n_ids: int) -> float:
        """Return forward FLOPs per id at the rate that is aimed at, in lanes of `n_ids` ids."""
        return sum(self.config.forward_flops(n_ids, at_rate=True).values())

    def prefill(self, variables, prompts_BT, lengths_B, cache):
        """See `Decoder`."""
        inputs = jnp.pad(prompts_BT, ((0, 0), (1, 0)), constant_values=self.separator_id)
        model, method = HierarchicalModel(self.config), HierarchicalModel.prefill
        return model.apply(variables, inputs, lengths_B + 1, cache, method=method)

    def read_one(self, variables, ids_B, cache, position_B):
        """See `Decoder`; the cache has the positions itself."""
        del position_B
        model, method = HierarchicalModel(self.config.unrolled), HierarchicalModel.step
        return model.apply(variables, ids_B, cache, method=method)

    def by_layer(self, cache):
        """See `Decoder`: the cache has its layers apart already."""
        return cache

    def step(self, variables, ids_B, caches, position_B):
        """See `Decoder`."""
        return self.read_one(map_blocks(stacked, variables), ids_B, caches, position_B)
