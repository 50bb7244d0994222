"""The budget solver: steps, tokens, raw bytes or training FLOPs, turned into optimizer steps for
one method.

Comparisons are made at equal budgets, so every unit is converted in this one place.
"""

import dataclasses
import math

from latent_jax.nearest import check_word

UNITS = ("steps", "tokens", "bytes", "flops")
"""Optimizer steps; ids seen in training; raw bytes seen; training floating-point operations (3 x
forward).
"""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to train, in exactly one unit of `UNITS`."""

    amount: float
    unit: str

    def __post_init__(self):
        check_word("unit of a budget", self.unit, UNITS)
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise ValueError(
                f"a budget of {self.amount} {self.unit} trains nothing; give more than 0"
            )

    def steps(self, tokens_per_step: int, bytes_per_token: float, flops_per_byte: float) -> int:
        """Return the optimizer steps that spend this budget, rounded up, at least one.

        Args:
            tokens_per_step: ids in a global batch.
            bytes_per_token: raw bytes per id, measured on the corpus.
            flops_per_byte: forward FLOPs per raw byte; training costs three times as much.
        """
        bytes_per_step = tokens_per_step * bytes_per_token
        per_step = {
            "steps": 1,
            "tokens": tokens_per_step,
            "bytes": bytes_per_step,
            "flops": 3.0 * flops_per_byte * bytes_per_step,
        }[self.unit]
        return max(1, math.ceil(self.amount / per_step))


def from_config(budget) -> Budget:
    """Read a mapping with one non-zero entry among `UNITS`, such as `config.budget`.

    Raises:
        ValueError: when none or several units are set; the message names them.
    """
    given = {unit: budget[unit] for unit in UNITS if budget[unit]}
    if len(given) != 1:
        stated = ", ".join(f"{unit}={amount:g}" for unit, amount in given.items()) or "none"
        raise ValueError(
            f"set exactly one of budget.{{{', '.join(UNITS)}}}; set now: {stated} "
            "(a unit is cleared with =0)"
        )
    ((unit, amount),) = given.items()
    return Budget(float(amount), unit)
