"""The budget solver: an amount in any unit, turned into optimizer steps for one method and size.

Comparisons are made at equal budgets, so every unit is converted in this one place.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

from latent_jax.nearest import check_word

UNITS = ("steps", "tokens", "bytes", "flops", "bytes_per_parameter")
"""In this order: optimizer steps; tokens that the language model reads in training (Lester et al.
2024); raw bytes seen; training FLOPs, those of the tokenizer's own model included; raw bytes seen
for each parameter outside of embeddings ("Compute Optimal Tokenization", arXiv 2605.01188, finds
about 60 best for English).
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

    def __str__(self):
        return f"{self.unit}:{self.amount:g}"

    def steps(self, amounts: Mapping[str, float], flops: float, n_parameters: int) -> int:
        """Return the optimizer steps that spend this budget, rounded up, at least one.

        Args:
            amounts: "tokens" and "bytes" of a step, on average.
            flops: training FLOPs of a step.
            n_parameters: parameters outside of embeddings.

        Raises:
            ValueError: a step costs nothing in this unit.
        """
        per_step = {
            "steps": 1.0,
            **amounts,
            "flops": flops,
            "bytes_per_parameter": amounts["bytes"] / max(n_parameters, 1),
        }[self.unit]
        if not per_step:
            raise ValueError(
                f"a step costs 0 {self.unit}, so {self} would never be spent: give the budget in "
                "steps, tokens or bytes"
            )
        return max(1, math.ceil(self.amount / per_step))


def parse(text: str) -> Budget:
    """Read a budget such as "tokens:26.2e9" or "bytes_per_parameter:60".

    Raises:
        ValueError: it is not written like this, or the unit is unknown (the nearest is named).
    """
    match = re.fullmatch(r"\s*(\w+)\s*:\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*", text)
    if not match:
        raise ValueError(
            f"{text!r} is no budget: write UNIT:AMOUNT, such as tokens:4e5 or bytes:2e6"
        )
    return Budget(float(match[2]), match[1])


def from_config(budget) -> Budget:
    """Read a mapping with one non-zero entry among `UNITS`, such as `config.budget`.

    Raises:
        ValueError: when none or several units are set; the message names them.
    """
    given = {unit: budget[unit] for unit in UNITS if budget[unit]}
    if len(given) != 1:
        stated = ", ".join(f"{unit}={amount:g}" for unit, amount in given.items()) or "none"
        way_out = "give one, such as --config.budget.bytes=1e8"
        if given:
            clear = " or ".join(f"--config.budget.{unit}=0" for unit in given)
            way_out = f"keep one and clear the rest, by {clear}"
        raise ValueError(
            f"set exactly one of budget.{{{', '.join(UNITS)}}}; set now: {stated}; {way_out}"
        )
    ((unit, amount),) = given.items()
    return Budget(float(amount), unit)
