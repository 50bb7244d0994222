"""Questions and claims of Fifty 2025 on latent languages, tested on the cells of a sweep.

Settings are compared that differ in one option only. Bytes and BPE are compared with the latent
language that has the most seeds, and among those the fewest bits per byte.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from latent_jax.reports.scores import Scores, latent_label
from latent_jax.reports.style import family_of
from latent_jax.reports.trial import Trial

CODES = "language_model_bits_per_byte"
PERPLEXITY = "codebook_perplexity"

Records = Sequence[Mapping[str, Any]]


def _settings(records: Records) -> list[tuple[str, float, str]]:
    """Return method, beta and lm_gradient of every latent language without a group."""
    found = [
        (record["method"], record["beta"], record["lm_gradient"])
        for record in records
        if not record.get("group") and "beta" in record and "lm_gradient" in record
    ]
    return sorted(set(found))


def _gradient(gradient: str, key: str) -> Callable[[Records], Trial]:
    def claim(records: Records) -> Trial:
        trial = Trial(Scores(records))
        for method, beta in dict.fromkeys(setting[:2] for setting in _settings(records)):
            for size in trial.scores.sizes:
                one, other = (latent_label(method, beta, g) for g in (gradient, "none"))
                trial.lower(one, other, size, key)
        return trial

    return claim


def _beta(key: str, ends_only: bool) -> Callable[[Records], Trial]:
    def claim(records: Records) -> Trial:
        trial = Trial(Scores(records))
        settings = _settings(records)
        for method, gradient in dict.fromkeys((m, g) for m, _, g in settings if g != "none"):
            betas = [b for m, b, g in settings if (m, g) == (method, gradient)]
            pairs = itertools.pairwise(betas[:: max(1, len(betas) - 1)] if ends_only else betas)
            for small, large in pairs:
                for size in trial.scores.sizes:
                    one, other = (latent_label(method, b, gradient) for b in (large, small))
                    trial.lower(one, other, size, key)
        return trial

    return claim


def _against(family: str, unit: str) -> Callable[[Records], Trial]:
    def claim(records: Records) -> Trial:
        measured = [r for r in records if r["budget"].startswith(f"{unit}:")]
        trial = Trial(Scores(measured))
        for group in dict.fromkeys(r.get("group", "") for r in measured):
            trial.scores = Scores(measured, group)
            for size in trial.scores.sizes:
                _lower_than_family(trial, family, size)
        return trial

    return claim


def _lower_than_family(trial: Trial, family: str, size: str) -> None:
    scores = trial.scores
    leading = [m for m in scores.leading if scores.sample(m, size)]
    latents = [m for m in leading if family_of(m) == "Latent"]
    if latents:
        best = min(latents, key=lambda m: scores.rank(m, [size]))
        for other in leading:
            if family_of(other) == family:
                trial.lower(best, other, size)


SOURCE = "Fifty 2025"

LATENT_CLAIMS: tuple[tuple[str, Callable[[Records], Trial]], ...] = (
    (
        "The LM's gradient through its input makes codes cheaper to predict",
        _gradient("input", CODES),
    ),
    (
        "The LM's gradient through its input shortens the whole code",
        _gradient("input", "bits_per_byte"),
    ),
    (
        "The LM's gradient through input and targets makes codes cheaper to predict",
        _gradient("input_and_target", CODES),
    ),
    (
        "The LM's gradient through input and targets shortens the whole code",
        _gradient("input_and_target", "bits_per_byte"),
    ),
    ("A greater beta makes codes cheaper to predict", _beta(CODES, ends_only=False)),
    (
        "A great beta collapses the code: the perplexity of codes falls",
        _beta(PERPLEXITY, ends_only=True),
    ),
    ("A latent language needs fewer bits than Bytes on equal bytes", _against("Bytes", "bytes")),
    (
        "A latent language needs fewer bits than Bytes at equal training FLOPs",
        _against("Bytes", "flops"),
    ),
    ("A latent language needs fewer bits than BPE on equal bytes", _against("BPE", "bytes")),
    (
        "A latent language needs fewer bits than BPE at equal training FLOPs",
        _against("BPE", "flops"),
    ),
)
