"""A claim, tried at every place of a sweep where it can be: the verdict and its numbers."""

import dataclasses
from typing import Any

from latent_jax.reports.scores import Scores, welch

HOLDS, FAILS, UNTRIED = "holds", "does not hold", "not testable here"

LEARNABLE = 0.01
"""A method is learned where bits per byte are lower than the uniform model's by this share."""


@dataclasses.dataclass
class Trial:
    """What was found at each place where a claim could be tried.

    Attributes:
        scores: of the cells.
        found: whether it held, and the numbers.
        ps: p-values of the comparisons that have seeds on both sides.
    """

    scores: Scores
    found: list[tuple[bool, str]] = dataclasses.field(default_factory=list)
    ps: list[float] = dataclasses.field(default_factory=list)

    def lower(self, one: str, other: str, size: str, key: str = "bits_per_byte") -> None:
        """Try whether a score, by default bits per byte, of the first method is the lower one."""
        a, b = (self.scores.sample(method, size, key) for method in (one, other))
        if a is None or b is None:
            return
        self.found.append(
            (a.mean < b.mean, f"{size}: {one} {a.mean:.3f} against {other} {b.mean:.3f}")
        )
        p = welch(a, b)
        if p is not None:
            self.ps.append(p)

    def learned(self, method: str, size: str, expected: bool) -> None:
        """Try whether the method is learned beyond the uniform model."""
        bits = self.scores.mean(method, size)
        uniform = self.scores.mean(method, size, "uniform_bits_per_byte")
        if bits is None or uniform is None:
            return
        is_learned = bits < (1 - LEARNABLE) * uniform
        self.found.append(
            (is_learned == expected, f"{size}: {method} {bits:.3f}, uniform {uniform:.3f}")
        )

    def state(self, holds: bool, text: str) -> None:
        """Add a finding of another kind."""
        self.found.append((holds, text))

    def record(self, claim: str, source: str) -> dict[str, Any]:
        """Return the verdict as one row of a table."""
        against = [text for holds, text in self.found if not holds]
        shown = against or [text for _, text in self.found]
        verdict = UNTRIED if not self.found else FAILS if against else HOLDS
        return {
            "claim": claim,
            "source": source,
            "verdict": verdict,
            "n_tried": len(self.found),
            "n_holding": len(self.found) - len(against),
            "p_value": max(self.ps) if self.ps else None,
            "numbers": "; ".join(shown[:3]) + ("; ..." if len(shown) > 3 else ""),
        }
