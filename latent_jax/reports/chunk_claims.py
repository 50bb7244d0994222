"""Claims on what a model should cut bytes into, tested on the cells of a sweep.

Methods that are compared have read the same bytes, and a forward pass costs the same FLOPs per
byte, as the sweep `chunking_laptop` makes them. BLT stands apart: its entropy model has been
trained before, on bytes that are not counted, and is paid in the forward pass alone. See
configs/results/chunking.md.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from latent_jax.reports.scores import Scores
from latent_jax.reports.trial import Trial

RATE = "bytes_per_chunk_1"
"""Bytes per chunk of the outermost stage on held-out text."""

EXACT = 0.01
"""A rate is met where it is within this share of what was asked for."""

SAME = 0.02
"""Bits per byte within which two methods count as equal."""

SHOWN = (
    RATE,
    "bytes_per_chunk_2",
    "overflow_share_1",
    "inference_flops_per_byte",
    "train_flops_per_byte",
)

Records = Sequence[Mapping[str, Any]]


def chunk_table(records: Records) -> list[dict[str, Any]]:
    """Return a row for each method of a sweep that has chunks, with means over seeds.

    Methods are in the order of their bits per byte. Those that make no chunks have no rate.
    """
    if not any(record.get(RATE) is not None for record in records):
        return []
    scores, rows = Scores(records), []
    for size in scores.sizes:
        for method in scores.methods:
            sample = scores.sample(method, size)
            if sample is None:
                continue
            row = {
                "method": method,
                "size": size,
                "n_seeds": len(sample.values),
                "bits_per_byte": sample.mean,
                "standard_deviation": sample.deviation,
            }
            means = {key: scores.mean(method, size, key) for key in SHOWN}
            rows.append(row | {key: mean for key, mean in means.items() if mean is not None})
    return sorted(rows, key=lambda row: (scores.sizes.index(row["size"]), row["bits_per_byte"]))


def _better(*pairs: tuple[str, str]) -> Callable[[Trial], None]:
    def claim(trial: Trial) -> None:
        for better, worse in pairs:
            trial.less(better, worse, "bits_per_byte")

    return claim


def _same(one: str, other: str) -> Callable[[Trial], None]:
    return lambda trial: trial.equal(one, other, "bits_per_byte", SAME)


def _rate(method: str, target: float, *, is_met: bool) -> Callable[[Trial], None]:
    def claim(trial: Trial) -> None:
        for size in trial.scores.sizes:
            trial.near(method, size, RATE, target, EXACT, expected=is_met)

    return claim


H_NET = "H-Net, arXiv 2507.07955"
TWO_STAGES, ONE_STAGE, SPACES = "HNet[n=2,stages=2]", "HNet[n=4]", "HNet[n=6,router=whitespace]"
BPE = "BPE[v=4096]"

CHUNK_CLAIMS: tuple[tuple[str, str, Callable[[Trial], None]], ...] = (
    (
        "Two stages are better than one and than spaces, and each of these than BPE",
        f"{H_NET}, table 2",
        _better((TWO_STAGES, ONE_STAGE), (TWO_STAGES, SPACES), (ONE_STAGE, BPE), (SPACES, BPE)),
    ),
    (
        "One stage is better than spaces",
        f"this laboratory; as good in {H_NET}, table 2",
        _better((ONE_STAGE, SPACES)),
    ),
    ("Chunks of bytes are better than bytes", H_NET, _better((ONE_STAGE, "Bytes"))),
    (
        "Learned boundaries are better than every fourth byte",
        H_NET,
        _better((ONE_STAGE, "HNet[n=4,router=stride]")),
    ),
    (
        "The ratio loss alone misses the rate by more than 1 %",
        "this laboratory",
        _rate("HNet[n=4,control=0]", 4.0, is_met=False),
    ),
    (
        "A threshold holds the rate within 1 % on held-out text",
        "this laboratory",
        _rate(ONE_STAGE, 4.0, is_met=True),
    ),
    (
        f"Patches by entropy are within {SAME} bits per byte of learned chunks",
        "this laboratory, after BLT, arXiv 2412.09871",
        _same("BLT[n=4]", ONE_STAGE),
    ),
    (
        "Concepts of BPE tokens are better than the tokens",
        "ConceptMoE, arXiv 2601.21420",
        _better(("ConceptMoE[n=1.5,v=4096]", BPE)),
    ),
    (
        "The network over concepts is better without positions",
        "Synergy, arXiv 2507.12769",
        _better(("Synergy[n=4]", "Synergy[n=4,positions=rotary]")),
    ),
)


def chunk_verdicts(records: Records) -> list[dict[str, Any]]:
    """Return a row for each claim; see `Trial.record`."""
    rows = []
    for claim, source, attempt in CHUNK_CLAIMS:
        trial = Trial(Scores(records))
        attempt(trial)
        rows.append(trial.record(claim, source))
    return rows
