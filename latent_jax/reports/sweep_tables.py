"""Tables of a sweep: lists of flat records, from the records of its cells."""

from collections.abc import Mapping, Sequence
from typing import Any

from latent_jax.reports.scores import Scores, welch

Records = list[dict[str, Any]]

TOKENS_PER_ID = 100
"""So many of the scored text let its own frequencies stand for the method's."""


def main_table(scores: Scores) -> Records:
    """Return one row for each method: bits and FLOPs per byte at each size (the paper's tables 15
    and 16), by both protocols, beside the uniform model.
    """
    rows = []
    for method in scores.methods:
        row: dict[str, Any] = {
            "method": method,
            "bytes_per_token": scores.of_method(method, "bytes_per_token"),
            "uniform_bits_per_byte": scores.of_method(method, "uniform_bits_per_byte"),
        }
        for size in scores.sizes:
            for key in ("bits_per_byte", "paper_bits_per_byte", "inference_flops_per_byte"):
                row[f"{key}@{size}"] = scores.mean(method, size, key)
        rows.append(row)
    return rows


def baseline_table(scores: Scores) -> Records:
    """Return uniform and unigram models of the tokens (the paper's table 3).

    The unigram is that of the scored text itself. Where that holds fewer than `TOKENS_PER_ID`
    tokens for each id it would flatter the method, and is left out.
    """
    rows = []
    for method in scores.methods:
        ratio, n_ids, n_bytes, uniform, unigram = (
            scores.of_method(method, key)
            for key in (
                "bytes_per_token",
                "vocab_size",
                "evaluation_bytes",
                "uniform_bits_per_byte",
                "unigram_bits_per_byte",
            )
        )
        if uniform is None or unigram is None:
            continue
        row = {"method": method, "bytes_per_token": ratio, "uniform_bits_per_byte": uniform}
        if n_bytes / ratio >= TOKENS_PER_ID * n_ids:
            row["unigram_bits_per_byte"] = unigram
            row["unigram_gain_bits_per_byte"] = uniform - unigram
        rows.append(row)
    return rows


def seed_table(scores: Scores) -> Records:
    """Return mean and spread over seeds, where there are several, and a test against the best."""
    rows = []
    for size in scores.sizes:
        samples = {m: scores.sample(m, size) for m in scores.methods}
        samples = {m: s for m, s in samples.items() if s is not None and len(s.values) > 1}
        if not samples:
            continue
        best = min(samples, key=lambda method: samples[method].mean)
        for method, sample in samples.items():
            rows.append(
                {
                    "method": method,
                    "size": size,
                    "n_seeds": len(sample.values),
                    "bits_per_byte": sample.mean,
                    "standard_deviation": sample.deviation,
                    "p_equal_to_best": None if method == best else welch(sample, samples[best]),
                }
            )
    return rows


def ablation_table(records: Sequence[Mapping[str, Any]]) -> Records:
    """Return one row for each cell that stands in a group, and what its best peer scores."""
    rows = []
    for group in dict.fromkeys(r["group"] for r in records if r.get("group")):
        scores = Scores(records, group)
        for size in scores.sizes:
            means = {m: scores.mean(m, size) for m in scores.methods}
            means = {m: value for m, value in means.items() if value is not None}
            for method, value in means.items():
                rows.append(
                    {
                        "group": group,
                        "method": method,
                        "size": size,
                        "row_length": scores.mean(method, size, "row_length"),
                        "bytes_per_token": scores.mean(method, size, "bytes_per_token"),
                        "uniform_bits_per_byte": scores.mean(method, size, "uniform_bits_per_byte"),
                        "bits_per_byte": value,
                        "bits_above_best": value - min(means.values()),
                    }
                )
    return rows
