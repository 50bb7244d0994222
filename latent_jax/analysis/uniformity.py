"""The divergence of bits from random ones: of n-grams of bits, and of tokens of n bits.

Lester et al. 2024, section 6.3 and appendix D.6, measure the Kullback-Leibler divergence of their
frequencies from the uniform distribution. A finite sample of random bits is not uniform either. So
every measurement is shown beside that of the same number of random bits.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from latent_jax.analysis.codes import Code, Tables, encode_texts
from latent_jax.analysis.ngrams import block_entropy
from latent_jax.analysis.options import TextOptions, seed_option
from latent_jax.reports import panels, style
from latent_jax.reports.tables import text_table
from latent_jax.tokenizers.bits import check_token_bits, from_tokens

COLUMNS = (
    *("text", "method", "values", "n", "n_samples", "kl_bits", "corrected_kl_bits"),
    *("random_kl_bits", "random_standard_deviation_bits", "times_random"),
)

N_GRAMS = range(1, 17)
N_TOKENS = (1, 2, 4, 8, 16)
"""The n of Lester et al. 2024, section 6.3: tokens of the divisors of 16, so that none crosses the
end of a window."""

PRINTED = (1, 2, 4, 8, 12, 16)

REPEATS = 5
"""Draws of random bits."""

MAX_BITS = 20
"""The largest n: there is a counter for each of 2^n values."""


@dataclasses.dataclass(frozen=True)
class UniformityOptions(TextOptions):
    """Options of the analysis `uniformity`."""

    seed: int = seed_option()


def measure(options: UniformityOptions, code: Code, texts: Sequence[bytes]) -> Tables:
    """Return records of "uniformity" for the n-grams and the tokens of each number of bits n.

    Args:
        options: the seed of the random bits.
        code: with 2^N ids, which are read as N bits each, most significant bit first.
        texts: encoded independently; no n-gram crosses from one text into the next.

    Raises:
        ValueError: the number of ids is no power of two, or the texts have too few bits.
    """
    check_bits(code)
    token_bits = check_token_bits(code.n_ids)
    streams = [from_tokens(coded.ids, token_bits) for coded in encode_texts(code, texts)]
    lengths = [len(stream) for stream in streams]
    randoms = [random_streams(lengths, options.seed + repeat) for repeat in range(REPEATS)]
    records = []
    for values, tokens, ns in (("n-grams", False, N_GRAMS), ("tokens of n bits", True, N_TOKENS)):
        for n in ns:
            found = kl_from_uniform(streams, n, tokens)
            drawn = np.array([kl_from_uniform(r, n, tokens)["kl_bits"] for r in randoms])
            records.append(
                {
                    "method": code.name,
                    "n_bytes": sum(map(len, texts)),
                    "values": values,
                    **found,
                    "random_kl_bits": float(drawn.mean()),
                    "random_standard_deviation_bits": float(drawn.std(ddof=1)),
                    "times_random": float(found["kl_bits"] / drawn.mean()),
                }
            )
    return {"uniformity": records}


def check_bits(code: Code) -> None:
    """Check that the ids of a code are groups of bits.

    Raises:
        ValueError: the number of ids is no power of two.
    """
    if code.n_ids & (code.n_ids - 1):
        raise ValueError(
            f"{code.name} has {code.n_ids} ids, which are no groups of bits: leave it out"
        )


def bit_values(bits: np.ndarray, n: int, stride: int = 1) -> np.ndarray:
    """Return the n-bit values, int32, that begin at every multiple of `stride`; high bits first.

    Args:
        bits: 0 or 1, [length].
        n: bits of a value.
        stride: 1 takes all n-grams; n takes tokens of n bits, which share no bit.

    Raises:
        ValueError: n is not in [1, MAX_BITS].
    """
    if not 1 <= n <= MAX_BITS:
        raise ValueError(
            f"n = {n} bits: there is a counter for each of 2^n, so n is 1 to {MAX_BITS}"
        )
    bits = np.asarray(bits, np.int32)
    values, width = bits, 1
    # Widths 1, 2, 3, 6, ...: the leading binary digits of n.
    for digit in bin(n)[3:]:
        values = (values[: max(len(values) - width, 0)] << width) | values[width:]
        width *= 2
        if digit == "1":
            values = (values[: max(len(values) - 1, 0)] << 1) | bits[width:]
            width += 1
    return values[::stride]


def kl_from_uniform(
    streams: Sequence[np.ndarray], n: int, tokens: bool = False
) -> dict[str, float]:
    """Return the divergence of n-bit values from uniform; no value crosses two streams.

    Args:
        streams: uint8[length] each, 0 or 1.
        n: bits of a value.
        tokens: take only values that begin at multiples of n: tokens of n bits.

    Returns:
        "n". "n_samples", the values counted. "n_values", the distinct ones. "kl_bits",
        KL(frequencies || uniform) in bits per value; for random bits it is not 0 but about
        (2^n - 1) / (2 ln 2 n_samples). "corrected_kl_bits", the same minus
        (n_values - 1) / (2 ln 2 n_samples) (Miller 1955), which may be below 0.

    Raises:
        ValueError: n is not in [1, MAX_BITS], or no stream has n bits.
    """
    values = [bit_values(stream, n, n if tokens else 1) for stream in streams]
    counts = np.bincount(np.concatenate(values))
    counts = counts[counts > 0]
    n_samples = int(counts.sum())
    if not n_samples:
        raise ValueError(f"no stream has {n} bits: take more text or a smaller n")
    nats = n * np.log(2) - block_entropy(counts)
    corrected = nats - (len(counts) - 1) / (2 * n_samples)
    return {
        "n": n,
        "n_samples": n_samples,
        "n_values": len(counts),
        "kl_bits": float(nats / np.log(2)),
        "corrected_kl_bits": float(corrected / np.log(2)),
    }


def random_streams(lengths: Sequence[int], seed: int) -> list[np.ndarray]:
    """Return streams of random bits of these lengths, uint8[length] each."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 2, length, np.uint8) for length in lengths]


def show(tables: Tables) -> str:
    """Return the table of all codes for the n of `PRINTED`."""
    return text_table([r for r in tables["uniformity"] if r["n"] in PRINTED], COLUMNS)


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw the divergence of n bits from uniform against n: n-grams, and tokens of n bits."""
    records = tables["uniformity"]
    pairs = list(dict.fromkeys((record["text"], record["values"]) for record in records))
    several = len({text for text, _ in pairs}) > 1
    lowest = min(record["random_kl_bits"] for record in records)
    highest = max(record["kl_bits"] for record in records)
    with style.house_style():
        figure, all_axes = panels.spaced_panels(
            "How far the bits of a code are from random",
            "KL from uniform in bits per value of n bits. Dotted: as many random bits",
            [f"{text}: {values}" if several else values for text, values in pairs],
        )
        for axes, pair in zip(all_axes, pairs, strict=True):
            of_pair = [record for record in records if (record["text"], record["values"]) == pair]
            axes.set(xlabel="n", yscale="log", ylim=(0.5 * lowest, 2 * highest))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            of_pair = [{**r, "code": style.short_name(r["method"])} for r in of_pair]
            randoms = panels.lines_of(of_pair, "code", "n", "random_kl_bits")
            panels.plot_lines(axes, randoms, marker="", linewidth=1.0, linestyle=(0, (1, 1.6)))
            lines = panels.lines_of(of_pair, "code", "n", "kl_bits")
            ends = panels.plot_lines(axes, lines, markersize=2.5)
            ends = [(x, y, f"{code} {y:.2g}", colour) for x, y, code, colour in ends]
            style.label_ends(axes, ends, size=7.5)
        return [style.save(figure, folder / "uniformity.png")]
