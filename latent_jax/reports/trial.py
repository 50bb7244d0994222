"""Tests of a claim at every place of a sweep where it applies: the verdict and its numbers.

A place is a size and a pair of methods. It supports the claim if the 95 % interval of the paired
difference (see `paired`) lies on the claim's side of 0. A claim is *supported* if all its places
support it. It is *refuted* if at one place the interval lies on the other side of 0, at a level
corrected for the number of places (Bonferroni). Otherwise it is *undecided*. A single seed decides
nothing. A claim that does not depend on training, such as one on bytes per token, needs no seeds:
its numbers decide directly.
"""

import dataclasses
from typing import Any

from latent_jax.reports.paired import LEVEL, Effect
from latent_jax.reports.scores import Sample, Scores

SUPPORTED, REFUTED, UNDECIDED = "supported", "refuted", "undecided"
UNTRIED = "not testable here"
VERDICTS = (SUPPORTED, REFUTED, UNDECIDED, UNTRIED)

LEARNABLE = 0.01
"""A method counts as learned if its bits per byte are lower than the uniform model's by this share.
"""


@dataclasses.dataclass(frozen=True)
class Place:
    """The result at one place.

    Attributes:
        text: the numbers, for people.
        is_exact: whether the claim holds here, if it does not depend on training; else None.
        effect: the effect in favour of the claim, if it depends on training; else None.
        bound: of a claim that there is no effect: what counts as none; else None.
    """

    text: str
    is_exact: bool | None = None
    effect: Effect | None = None
    bound: float | None = None

    def supports(self) -> bool:
        """Return whether this place supports the claim."""
        if self.effect is None:
            return bool(self.is_exact)
        if self.bound is not None:
            return self.effect.is_within(self.bound) is True
        return self.effect.is_positive() is True

    def refutes(self, n_places: int) -> bool:
        """Return whether this place refutes the claim, as one of `n_places`."""
        if self.effect is None:
            return not self.is_exact
        if self.bound is not None:
            return self.effect.is_within(self.bound, 1 - (1 - LEVEL) / n_places) is False
        return self.effect.is_positive(1 - (1 - LEVEL) / n_places) is False


@dataclasses.dataclass
class Trial:
    """The results at all places where a claim could be tested.

    Attributes:
        scores: the scores of the cells.
        places: results in the order of the tests.
    """

    scores: Scores
    places: list[Place] = dataclasses.field(default_factory=list)

    def lower(self, one: str, other: str, size: str, key: str = "bits_per_byte") -> None:
        """Test whether a score of method `one` is lower than that of method `other`."""
        samples = (self.scores.sample(method, size, key) for method in (one, other))
        self._compare(*samples, f"{size}: {one}", other)

    def falls(self, method: str, small: str, large: str, key: str = "bits_per_byte") -> None:
        """Test whether a score of a method is lower at the large size than at the small one."""
        samples = (self.scores.sample(method, size, key) for size in (large, small))
        self._compare(*samples, f"{method} at {large}", f"at {small}")

    def less(self, one: str | None, other: str | None, key: str) -> None:
        """Test at every size whether a score of `one` is lower than that of `other`.

        Here and below, a method that is None has no cells, and nothing is tested.
        """
        for size in self.scores.sizes if one and other else ():
            self.lower(one, other, size, key)

    def equal(self, one: str | None, other: str | None, key: str, bound: float) -> None:
        """Test at every size whether two scores lie within `bound` of each other."""
        for size in self.scores.sizes if one and other else ():
            samples = (self.scores.sample(method, size, key) for method in (one, other))
            self._compare(*samples, f"{size}: {one}", other, bound)

    def above_zero(self, method: str | None, key: str) -> None:
        """Test at every size whether a score is above 0."""
        self._against_zero(method, key, None)

    def near_zero(self, method: str | None, key: str, bound: float) -> None:
        """Test at every size whether a score lies within `bound` of 0, with its whole interval."""
        self._against_zero(method, key, bound)

    def near(
        self, method: str, size: str, key: str, target: float, share: float, *, expected: bool
    ) -> None:
        """Test whether a score lies within a share of a target, or does not, as `expected` says."""
        sample = self.scores.sample(method, size, key)
        if sample is None:
            return
        off = {seed: abs(value / target - 1) for seed, value in sample.by_seed.items()}
        bound = dict.fromkeys(off, share)
        sides = (off, bound) if expected else (bound, off)
        self._add(f"{size}: {method} {sample.mean:.3f} for {target:g}", Effect.of(*sides))

    def learned(self, method: str, size: str, expected: bool) -> None:
        """Test whether a method is learned, or is not, according to `expected`; see `LEARNABLE`."""
        bits = self.scores.sample(method, size)
        uniform = self.scores.sample(method, size, "uniform_bits_per_byte")
        if bits is None or uniform is None:
            return
        least = {seed: (1 - LEARNABLE) * value for seed, value in uniform.by_seed.items()}
        sides = (bits.by_seed, least) if expected else (least, bits.by_seed)
        text = f"{size}: {method} {bits.mean:.3f}, uniform {uniform.mean:.3f}"
        self._add(text, Effect.of(*sides))

    def state(self, holds: bool, text: str) -> None:
        """Add a result that does not depend on training."""
        self.places.append(Place(text, is_exact=holds))

    def _against_zero(self, method: str | None, key: str, bound: float | None) -> None:
        for size in self.scores.sizes if method else ():
            sample = self.scores.sample(method, size, key)
            if sample is not None:
                effect = Effect.of(dict.fromkeys(sample.by_seed, 0.0), sample.by_seed)
                self._add(f"{size}: {method} {sample.mean:.3f}", effect, bound)

    def _compare(
        self,
        one: Sample | None,
        other: Sample | None,
        name: str,
        against: str,
        bound: float | None = None,
    ) -> None:
        if one is None or other is None:
            return
        text = f"{name} {one.mean:.3f} against {against} {other.mean:.3f}"
        self._add(text, Effect.of(one.by_seed, other.by_seed), bound)

    def _add(self, text: str, effect: Effect, bound: float | None = None) -> None:
        n = len(effect.differences)
        width = effect.half_width()
        interval = f"{effect.mean:+.3f} ± {width:.3f}, " if width is not None else ""
        seeds = f"({interval}{n} seed{'s' if n > 1 else ''})" if n else "(no common seed)"
        self.places.append(Place(f"{text} {seeds}", effect=effect, bound=bound))

    def record(self, claim: str, source: str) -> dict[str, Any]:
        """Return the verdict as one row of a table.

        "smallest_effect" is the largest, over the places, of the smallest detectable effects.
        """
        n = len(self.places)
        supporting = [place for place in self.places if place.supports()]
        refuting = [place for place in self.places if place.refutes(n)]
        open_places = [p for p in self.places if p not in supporting and p not in refuting]
        if not n:
            verdict = UNTRIED
        elif refuting:
            verdict = REFUTED
        else:
            verdict = UNDECIDED if open_places else SUPPORTED
        widths = [place.effect.half_width() for place in self.places if place.effect is not None]
        widths = [width for width in widths if width is not None]
        shown = [place.text for place in (*refuting, *open_places, *supporting)]
        return {
            "claim": claim,
            "source": source,
            "verdict": verdict,
            "n_tried": n,
            "n_supporting": len(supporting),
            "n_refuting": len(refuting),
            "smallest_effect": max(widths) if widths else None,
            "numbers": "; ".join(shown[:3]) + ("; ..." if len(shown) > 3 else ""),
        }
