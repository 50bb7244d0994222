"""Lists of methods that several sweeps share."""

from collections.abc import Sequence

from latent_jax.methods.lester_2024 import DATASETS, published
from latent_jax.methods.names import parse, with_options
from latent_jax.nearest import check_word

USUAL, PAPER = "usual", "paper"

COMPRESSED = (
    "AC[v=256]",
    "AC[v=65k]",
    "StaticAC[v=256]",
    "StaticAC[v=65k]",
    "EqualInfoAC[b=16,v=256]",
    "EqualInfoAC[b=16,v=65k]",
    "EqualInfoAC[b=32,v=256]",
    "EqualInfoAC[b=32,v=65k]",
    "EqualInfoAC[b=64,v=256]",
    "EqualInfoAC[b=64,v=65k]",
    "EqualInfoAC[b=128,v=256]",
    "EqualInfoAC[b=128,v=65k]",
    "GZip[v=256]",
    "GZip[v=65k]",
)

SIXTEEN = ("Bytes", "SentencePiece[v=32000]", *COMPRESSED)
"""The methods in tables 15 and 16 of Lester et al. 2024."""

SIX = (
    "Bytes",
    "SentencePiece[v=32000]",
    "AC[v=256]",
    "EqualInfoAC[b=16,v=256]",
    "EqualInfoAC[b=16,v=65k]",
    "GZip[v=256]",
)
"""The main methods, for runs with several seeds and for larger budgets."""

BEYOND = ("BPE[v=4096]", "Latent[conv1d,c=2,k=512]")
"""Methods that are not in the paper: another subword vocabulary, and learned latents, whose bits
per byte are the full code length.
"""


def by_rule(methods: Sequence[str], rule: str) -> tuple[str, ...]:
    """Return methods whose windows end by a rule; those without windows stay as they are.

    Args:
        methods: literature names.
        rule: "usual", what the names say, or "paper", the rule of Lester et al. 2024.

    Raises:
        ValueError: there is no such rule; the message names the nearest.
    """
    check_word("rule", rule, (USUAL, PAPER))
    if rule == USUAL:
        return tuple(methods)
    parsed = [(name, parse(name)) for name in methods]
    return tuple(
        str(parse(str(with_options(method, rule=PAPER)))) if "rule" in method.options else name
        for name, method in parsed
    )


def stated(methods: Sequence[str], *keys: str) -> dict[str, dict[str, float]]:
    """Return what table 12 of Lester et al. 2024 states of methods, for `Sweep.published`.

    Args:
        methods: literature names that the paper has.
        *keys: some of "bytes_per_token", "tokens" and "bytes".
    """
    found = {method: DATASETS[published(parse(method))] for method in methods}
    return {method: {key: getattr(row, key) for key in keys} for method, row in found.items()}
