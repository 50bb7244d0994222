"""The config of a middle network, over chunks: it may have no positions, and experts."""

import dataclasses
import math
from typing import Annotated

from latent_jax.layers.config import DTYPES, POSITIONS, TransformerConfig
from latent_jax.ranges import at_least, one_of

MOST_EXPERTS = 2**12
"""A limit that only a mistake goes beyond."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MiddleConfig(TransformerConfig):
    """A `TransformerConfig` with what only networks over chunks have.

    Attributes:
        positions: one of `POSITIONS`, or "none": then only the causal mask tells the order
            (Kazemnejad et al. 2023, "The Impact of Positional Encoding on Length Generalization in
            Transformers").
        n_experts: E, experts in place of each feed-forward part, see `layers.experts`; 0 = none.
        n_chosen: how many of them a position reads. Each is as wide as `hidden_size` over this, so
            that a position is computed with as many parameters as without experts.
        expert_slack: places of an expert in a row, as a multiple of an even share.

    Raises:
        ValueError: a position chooses more experts than there are.
    """

    positions: Annotated[str, one_of((*POSITIONS, "none"))] = "rotary"
    n_experts: Annotated[int, at_least(0, MOST_EXPERTS)] = 0
    n_chosen: Annotated[int, at_least(1, MOST_EXPERTS)] = 2
    expert_slack: Annotated[float, at_least(1, 2**20)] = 1.25

    def __post_init__(self):
        """Check every word and number."""
        super().__post_init__()
        if self.n_experts and self.n_chosen > self.n_experts:
            raise ValueError(
                f"n_chosen={self.n_chosen} (hierarchy.expert_choices) of "
                f"n_experts={self.n_experts}: a position cannot choose more experts than there are"
            )

    @classmethod
    def of(cls, config: TransformerConfig, **words) -> "MiddleConfig":
        """Return a config with the fields of another one, and with those of `words`."""
        fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        return cls(**{**fields, **words})

    @property
    def expert_size(self) -> int:
        """Width of the hidden layer of an expert."""
        return math.ceil(self.hidden_size / self.n_chosen)

    def places(self, length: int) -> int:
        """Return the positions of a row of `length` that an expert has room for."""
        share = self.expert_slack * self.n_chosen * length / self.n_experts
        return min(length, math.ceil(share))

    def stack_flops(self, length: float) -> dict[str, float]:
        """Return forward FLOPs per position by component; experts at all places that they have.

        Places are computed whether a position takes them or not.
        """
        flops = super().stack_flops(length)
        if not self.n_experts:
            return flops
        return flops | {"feed_forward": self.expert_flops(self._computed(length))}

    def expert_flops(self, n_computed: float) -> float:
        """Return forward FLOPs per position of all expert layers.

        Args:
            n_computed: experts that are computed per position, taken or not.
        """
        n_kernels = 3 if self.gated else 2
        of_one = 2.0 * n_kernels * self.d_model * self.expert_size
        router = 2.0 * self.d_model * self.n_experts
        return self.n_layers * (router + n_computed * of_one)

    @property
    def kept_bytes(self) -> float:
        """Bytes per position kept for the backward pass; see `TransformerConfig.kept_bytes`.

        With experts, hidden layers are those of all places, and each place keeps its input and
        result too. Under "dots" all of it is computed again.
        """
        if not self.n_experts:
            return super().kept_bytes
        plain = {"none": 2 + self.gated, "dots": 1 + self.gated, "block": 0}[self.remat]
        of_place = (2 + self.gated) * self.expert_size + 2 * self.d_model
        mine = self.expert_slack * self.n_chosen * of_place if self.remat == "none" else 0.0
        more = self.n_layers * DTYPES[self.dtype] * (mine - plain * self.hidden_size)
        return super().kept_bytes + more

    def _computed(self, length: float) -> float:
        whole = max(1, round(length))
        return self.n_experts * self.places(whole) / whole
