"""Claims of papers, tested on the cells of a sweep; this file has those of Lester et al. 2024.

Verdicts depend on the differences between runs of the same seed, see `trial`.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from latent_jax.reports.chunk_claims import chunk_verdicts
from latent_jax.reports.latent_claims import LATENT_CLAIMS, SOURCE
from latent_jax.reports.scores import Scores
from latent_jax.reports.thought_claims import thought_verdicts
from latent_jax.reports.trial import LEARNABLE, UNTRIED, Trial

WINDOWS = (16, 32, 64, 128)
VOCABULARIES = (256, 65536)
LESTER_2024 = "Lester et al. 2024"
SENTENCEPIECE = "SentencePiece[v=32000]"


def _windows(vocab: int) -> list[str]:
    return [f"EqualInfoAC[b={b},v={vocab}]" for b in WINDOWS]


def _best_is_sentencepiece(trial: Trial) -> None:
    for size in trial.scores.sizes:
        others = [m for m in trial.scores.methods if m != SENTENCEPIECE]
        means = {m: trial.scores.mean(m, size) for m in others}
        means = {m: value for m, value in means.items() if value is not None}
        if means:
            trial.lower(SENTENCEPIECE, min(means, key=means.get), size)


def _not_learned(family: str) -> Callable[[Trial], None]:
    def claim(trial: Trial) -> None:
        for vocab in VOCABULARIES:
            for size in trial.scores.sizes:
                trial.learned(f"{family}[v={vocab}]", size, expected=False)

    return claim


def _windows_are_learned(trial: Trial) -> None:
    for vocab in VOCABULARIES:
        for method in _windows(vocab):
            for size in trial.scores.sizes:
                trial.learned(method, size, expected=True)


def _shortest_windows_are_best(trial: Trial) -> None:
    for vocab in VOCABULARIES:
        shortest, *longer = _windows(vocab)
        for size in trial.scores.sizes:
            for method in longer:
                trial.lower(shortest, method, size)


def _wide_tokens_are_better(trial: Trial) -> None:
    for narrow, wide in zip(*map(_windows, VOCABULARIES), strict=True):
        for size in trial.scores.sizes:
            trial.lower(wide, narrow, size)


def _ahead_in_bytes_per_step(trial: Trial) -> None:
    windows = trial.scores.of_method("EqualInfoAC[b=16,v=65536]", "bytes_per_token")
    pieces = trial.scores.of_method(SENTENCEPIECE, "bytes_per_token")
    if windows is not None and pieces is not None:
        trial.state(windows > pieces, f"{windows:.2f} bytes per step against {pieces:.2f}")


def _no_unigram_gain(trial: Trial) -> None:
    for method in ("AC[v=256]", "StaticAC[v=256]"):
        uniform = trial.scores.of_method(method, "uniform_bits_per_byte")
        unigram = trial.scores.of_method(method, "unigram_bits_per_byte")
        if uniform is not None and unigram is not None:
            gain = uniform - unigram
            trial.state(gain < LEARNABLE * uniform, f"{method} gains {gain:.4f} bits per byte")


def _windows_beat_bytes(trial: Trial) -> None:
    for size in trial.scores.sizes:
        trial.lower("EqualInfoAC[b=16,v=65536]", "Bytes", size)


def _gzip_is_learned_with_size(trial: Trial) -> None:
    for vocab in VOCABULARIES:
        method = f"GZip[v={vocab}]"
        for small, large in itertools.pairwise(trial.scores.sizes):
            trial.falls(method, small, large)
        for size in trial.scores.sizes:
            trial.learned(method, size, expected=True)


def _gzip_prefers_narrow_tokens(trial: Trial) -> None:
    for size in trial.scores.sizes:
        trial.lower("GZip[v=256]", "GZip[v=65536]", size)


CLAIMS: tuple[tuple[str, str, Callable[[Trial], None]], ...] = (
    (
        "SentencePiece has the fewest bits per byte",
        "table 15",
        _best_is_sentencepiece,
    ),
    ("AC is not learned beyond M1: the uniform model is as good", "section 5", _not_learned("AC")),
    ("StaticAC is not learned either", "table 15", _not_learned("StaticAC")),
    ("EqualInfoAC is learned", "section 4", _windows_are_learned),
    ("Windows of 16 bits are better than longer ones", "table 15", _shortest_windows_are_best),
    ("Tokens of 16 bits are better than tokens of 8", "section 4", _wide_tokens_are_better),
    ("EqualInfoAC[b=16,v=65k] is better than Bytes", "table 15", _windows_beat_bytes),
    (
        "EqualInfoAC[b=16,v=65k] is ahead of SentencePiece in bytes per step",
        "figure 4",
        _ahead_in_bytes_per_step,
    ),
    ("A unigram model gains nothing on the output of AC", "table 3", _no_unigram_gain),
    ("GZip is learned, and more so with size", "table 15", _gzip_is_learned_with_size),
    ("GZip is better with tokens of 8 bits", "table 15", _gzip_prefers_narrow_tokens),
)


def _order_of(group: str, methods: Iterable[str]) -> Callable[[Sequence[Mapping]], Trial]:
    ordered = list(methods)

    def claim(records: Sequence[Mapping[str, Any]]) -> Trial:
        trial = Trial(Scores(records, group))
        for size in trial.scores.sizes:
            for better, worse in itertools.pairwise(ordered):
                trial.lower(better, worse, size)
        return trial

    return claim


ABLATIONS = (
    (
        "Resetting M1 in every window is better than in every other one, and that than never",
        "table 9",
        _order_of(
            "reset",
            (f"EqualInfoAC[b=16,v=256{r}]" for r in ("", ",reset=every_other", ",reset=never")),
        ),
    ),
)


def verdict_table(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each claim, with its verdict and numbers; see `Trial.record`.

    A paper has no rows if none of its claims can be tested on these cells.
    """
    lester = []
    for claim, source, attempt in CLAIMS:
        trial = Trial(Scores(records))
        attempt(trial)
        lester.append(trial.record(claim, f"{LESTER_2024}, {source}"))
    for claim, source, attempt in ABLATIONS:
        lester.append(attempt(records).record(claim, f"{LESTER_2024}, {source}"))
    fifty = [attempt(records).record(claim, SOURCE) for claim, attempt in LATENT_CLAIMS]
    papers = (lester, fifty, thought_verdicts(records), chunk_verdicts(records))
    return [row for rows in papers if any(r["verdict"] != UNTRIED for r in rows) for row in rows]
