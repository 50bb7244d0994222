"""Tables of a sweep, as lists of flat records, made from the records of its cells."""

from collections.abc import Mapping, Sequence
from typing import Any

from latent_jax.reports.paired import Effect
from latent_jax.reports.scores import Sample, Scores
from latent_jax.tokenizers.trivial import is_measurable

Records = list[dict[str, Any]]


def main_table(scores: Scores) -> Records:
    """Return one row per method: bits and FLOPs per byte at each size, and the uniform model.

    These are tables 15 and 16 of Lester et al. 2024. Bits per byte are given by this project's
    evaluation and by the paper's.
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
    """Return bits per byte of uniform and unigram models of the tokens (the paper's table 3).

    The unigram model is that of the scored text itself. Where this text is too short for it, see
    `tokenizers.trivial.is_measurable`, it is left out: new records lack it, older ones hold it.
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
        if uniform is None:
            continue
        row = {"method": method, "bytes_per_token": ratio, "uniform_bits_per_byte": uniform}
        if unigram is not None and (not n_bytes or is_measurable(int(n_ids) - 1, n_bytes)):
            row["unigram_bits_per_byte"] = unigram
            row["unigram_gain_bits_per_byte"] = uniform - unigram
        rows.append(row)
    return rows


def seed_table(records: Sequence[Mapping[str, Any]]) -> Records:
    """Return the mean and spread of each method that has several seeds.

    "bits_above_best" compares each with the best of its group and size on the same seeds;
    "bits_above_best_half_width" is the half width of its 95 % interval.
    """
    rows = []
    for group in dict.fromkeys(record.get("group", "") for record in records):
        scores = Scores(records, group)
        for size in scores.sizes:
            samples = {m: scores.sample(m, size) for m in scores.methods}
            samples = {m: s for m, s in samples.items() if s is not None and len(s.values) > 1}
            best = min(samples, key=lambda method: samples[method].mean, default=None)
            for method, sample in samples.items():
                rows.append(
                    {
                        **({"group": group} if group else {}),
                        "method": method,
                        "size": size,
                        "n_seeds": len(sample.values),
                        "bits_per_byte": sample.mean,
                        "standard_deviation": sample.deviation,
                        **({} if method == best else _above(sample, samples[best])),
                    }
                )
    return rows


def _above(sample: Sample, best: Sample) -> dict[str, float | None]:
    effect = Effect.of(best.by_seed, sample.by_seed)
    return {"bits_above_best": effect.mean, "bits_above_best_half_width": effect.half_width()}


LATENT_KEYS = (
    "bits_per_byte",
    "language_model_bits_per_byte",
    "reconstruction_bits_per_byte",
    "reconstruction_accuracy",
    "unigram_bits_per_byte",
    "codebook_perplexity_share",
    "quantization_error",
    "language_model_choice_nats_per_byte",
)


def latent_table(records: Sequence[Mapping[str, Any]]) -> Records:
    """Return one row per latent language: the cost of its codes, and what the codes leave open.

    Scores are means over seeds. `reconstruction_bits_per_byte` is -log2 p(x | z_hat) for the codes
    of the text. `language_model_choice_nats_per_byte` is -log p(x | z) for the codes that the
    language model finds likeliest at each place.
    """
    latents = [r for r in records if r.get("language_model_bits_per_byte") is not None]
    rows = []
    for group in dict.fromkeys(record.get("group", "") for record in latents):
        scores = Scores(latents, group)
        for method in scores.methods:
            for size in scores.sizes:
                cells = scores.cells(method, size)
                if not cells:
                    continue
                words = {k: cells[0][k] for k in ("beta", "lm_gradient") if k in cells[0]}
                rows.append(
                    {
                        **({"group": group} if group else {}),
                        "method": cells[0]["method"],
                        **words,
                        "size": size,
                        "n_seeds": len(cells),
                        **{key: scores.mean(method, size, key) for key in LATENT_KEYS},
                        "standard_deviation": scores.sample(method, size).deviation,
                    }
                )
    return rows


def ablation_table(records: Sequence[Mapping[str, Any]]) -> Records:
    """Return one row per method of each group and size, with its distance to the best of them."""
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
