"""A budget: an amount in any unit, turned into optimizer steps for one method and size.

Comparisons are made at equal budgets, so every unit is converted in this one place. Some units hold
for every method; others are what a method counts, for text raw bytes and tokens.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from latent_jax.nearest import check_word
from latent_jax.ranges import INT32, at_least

ALWAYS = ("steps", "flops")
"""The units that every method has: optimizer steps, and training FLOPs, those of the tokenizer's
own model included.
"""

PER_PARAMETER = "_per_parameter"
"""Ends a unit that is counted for each parameter outside of embeddings. About 60
bytes_per_parameter are best for English ("Compute Optimal Tokenization", arXiv 2605.01188).
"""

TEXT = ("bytes", "tokens")
"""What a method of text counts: raw bytes, and tokens that the language model reads (the budget of
Lester et al. 2024).
"""

STEPS, UNITS, FLOPS = at_least(0, INT32), at_least(0, 1e18), at_least(0, 1e30)
"""What a key of `config.budget` may be. Devices count steps with 31 bits."""

KEYS = ("steps", "tokens", "bytes", "flops", "bytes_per_parameter")
"""Units that are keys of `config.budget`. A budget in any other stands in `config.budget.other`.
"""


def units(counted: Sequence[str]) -> tuple[str, ...]:
    """Return all units of budgets for a method that counts amounts in these units."""
    return (*ALWAYS, *counted, *(f"{unit}{PER_PARAMETER}" for unit in counted))


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to train, in one unit.

    Attributes:
        amount: more than 0.
        unit: one of `units`.
    """

    amount: float
    unit: str

    def __post_init__(self):
        """Check the amount; `parse` and `from_config` check the unit."""
        if not (math.isfinite(self.amount) and 0 < self.amount <= FLOPS.high):
            raise ValueError(
                f"a budget of {self.amount} {self.unit} trains nothing, or has no end; give more "
                f"than 0 and at most {FLOPS.high:g}"
            )

    def __str__(self):
        return f"{self.unit}:{self.amount:g}"

    def steps(self, amounts: Mapping[str, float], flops: float, n_parameters: int) -> int:
        """Return the optimizer steps that spend this budget, rounded up, at least one.

        Args:
            amounts: of a step, on average, in each unit that the method counts.
            flops: training FLOPs of a step.
            n_parameters: parameters outside of embeddings.

        Raises:
            ValueError: a step costs nothing in this unit, or the method does not count the unit.
        """
        check_word("unit of a budget", self.unit, units(tuple(amounts)))
        per_step = {
            "steps": 1.0,
            "flops": flops,
            **amounts,
            **{f"{unit}{PER_PARAMETER}": n / max(n_parameters, 1) for unit, n in amounts.items()},
        }[self.unit]
        if not per_step:
            others = " or ".join(unit for unit in ("steps", *amounts) if unit != self.unit)
            raise ValueError(
                f"a step costs 0 {self.unit}, so {self} would never be spent: give the budget in "
                f"{others}"
            )
        steps = math.ceil(self.amount / per_step)
        if steps > INT32:
            raise ValueError(
                f"{self} takes {steps:.3g} steps of {per_step:.3g} {self.unit}, and a run has at "
                f"most {INT32}: lower the budget, or take larger batches"
            )
        return max(1, steps)


def parse(text: str, counted: Sequence[str] = TEXT) -> Budget:
    """Read a budget such as "tokens:26.2e9" or "bytes_per_parameter:60".

    Args:
        text: UNIT:AMOUNT.
        counted: units that the method counts.

    Raises:
        ValueError: it is not written like this, or the unit is unknown (the nearest is named).
    """
    number = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
    match = re.fullmatch(rf"\s*(\w+)\s*:\s*({number})\s*", text)
    if not match:
        raise ValueError(
            f"{text!r} is no budget: write UNIT:AMOUNT, such as tokens:4e5 or bytes:2e6"
        )
    check_word("unit of a budget", match[1], units(counted))
    return Budget(float(match[2]), match[1])


def from_config(budget: Mapping[str, Any], counted: Sequence[str] = TEXT) -> Budget:
    """Read the one budget that is set in `config.budget`.

    Args:
        budget: the section; of `KEYS` and "other", one is not empty.
        counted: units that the method counts.

    Raises:
        ValueError: none or several are set (the message names them), or "other" cannot be read.
    """
    given = {key: budget[key] for key in (*KEYS, "other") if budget[key]}
    if len(given) != 1:
        stated = ", ".join(f"{key}={_number(value)}" for key, value in given.items()) or "none"
        way_out = "give one, such as --config.budget.bytes=1e8"
        if given:
            clear = " or ".join(
                f"--config.budget.{key}={_number(type(value)())}" for key, value in given.items()
            )
            way_out = f"keep one and clear the rest, by {clear}"
        raise ValueError(
            f"set exactly one of budget.{{{', '.join((*KEYS, 'other'))}}}; set now: {stated}; "
            f"{way_out}"
        )
    ((key, value),) = given.items()
    return parse(value, counted) if key == "other" else Budget(float(value), key)


def set_in(section: MutableMapping[str, Any], budget: Budget) -> None:
    """Set the key of `config.budget` that `from_config` reads as this budget."""
    if budget.unit in KEYS:
        section[budget.unit] = budget.amount
    else:
        section["other"] = f"{budget.unit}:{budget.amount!r}"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
