"""The weight of the language model's loss in a latent language, over training."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from latent_jax.ranges import Natural, Weight, check_fields, one_of

BETA_SCHEDULES = ("constant", "linear")
"""As it is from the first step on, or rising from 0 over a warm-up."""


@dataclasses.dataclass(frozen=True)
class BetaSchedule:
    """The weight of the language model's loss over training.

    Attributes:
        value: beta after the warm-up, in the units of the joint objective.
        kind: one of `BETA_SCHEDULES`.
        warmup_steps: optimizer steps until `value` is reached.
    """

    value: Weight = 1.0
    kind: Annotated[str, one_of(BETA_SCHEDULES)] = "constant"
    warmup_steps: Natural = 0

    def __post_init__(self):
        check_fields(self, "beta schedule ")
        if self.kind == "linear" and self.warmup_steps < 1:
            raise ValueError(
                f"a linear beta schedule needs warmup_steps >= 1, not {self.warmup_steps}; "
                'set latent.beta_warmup_steps, or latent.beta_schedule="constant"'
            )

    def __call__(self, step: jax.Array) -> jax.Array:
        """Return beta at `step`, float32."""
        if self.kind == "constant":
            return jnp.float32(self.value)
        return self.value * jnp.minimum(1.0, step.astype(jnp.float32) / self.warmup_steps)
