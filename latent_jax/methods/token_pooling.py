"""`TokenPooling[n=4]`, `TokenPooling[n=4,router=bpe]`: bytes pooled where boundaries are."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.contracts import FieldSpec
from latent_jax.data.packing import RowLayout
from latent_jax.methods.bpe import BPE
from latent_jax.methods.family import MethodName, Option, Sources
from latent_jax.methods.hierarchical_family import (
    HierarchicalFamily,
    Parts,
    check_parts,
    usual_control,
)
from latent_jax.methods.names import parse
from latent_jax.methods.registry import register
from latent_jax.methods.sentencepiece import SentencePiece
from latent_jax.ranges import at_least
from latent_jax.tokenizers.marked_bytes import BOUNDARIES, BOUNDARIES_SPEC, marked_bytes

TEACHERS = {"bpe": BPE, "sentencepiece": SentencePiece}
"""Families of tokenizers whose boundaries are learned."""

KINDS = ("gumbel", "spikes", *TEACHERS, "whitespace", "stride")


@register
class TokenPooling(HierarchicalFamily):
    """Dynamic token pooling (Nawrot et al. 2023, arXiv 2211.09761): the mean of each chunk."""

    name = "TokenPooling"
    rank, colour = 10, 5
    summary = "bytes, pooled between boundaries, n apart on average (Nawrot et al. 2023)"
    options = {
        "n": Option("bytes per chunk", numbers=at_least(2)),
        "router": Option("decides where chunks end", KINDS, "gumbel"),
        "v": Option(
            "ids of the tokenizer whose boundaries are learned, of bpe and sentencepiece (4096)",
            numbers=at_least(0),
        ),
        "control": Option(
            "1 holds the rate to n; 0 leaves it to what the paper learns from (1, or 0 where "
            "boundaries are not learned)",
            numbers=at_least(0, 1),
        ),
    }
    renamed = {"boundaries": "router"}
    example = "TokenPooling[n=4]"
    outer = "attention"

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; what decides by itself has no rate to control, and few have ids."""
        usual = super().defaults(options)
        router = options.get("router", usual["router"])
        usual["v"] = 4096 if router in TEACHERS else 0
        return usual_control(usual, _kind(router))

    def check(self, method: MethodName) -> None:
        """Refuse what does not go together."""
        if bool(method["v"]) != (method["router"] in TEACHERS):
            raise ValueError(
                f"'{method}': v counts the ids of a tokenizer whose boundaries are learned: state "
                f"it with router={' or '.join(TEACHERS)} only, and not as 0"
            )
        check_parts(method, self.parts(method))

    def parts(self, method: MethodName) -> Parts:
        """Return the router, means of chunks, repetition, and the encoder's result beside it."""
        return Parts(
            router=_kind(method["router"]),
            rate=method["n"],
            control=bool(method["control"]),
            pooling="mean",
            way_back="repeat",
            residual="identity",
        )

    def is_learned(self, method: MethodName) -> bool:
        """Return whether a tokenizer teaches: marked bytes have its learned pieces."""
        return method["router"] in TEACHERS

    def make_code(self, method: MethodName, sources: Sources) -> tokenizers.Tokenizer:
        """Return bytes, marked where a tokenizer's pieces end if such boundaries are learned.

        The tokenizer is that of the method `BPE[v=V]` or `SentencePiece[v=V]` on the same text.
        """
        teacher = TEACHERS.get(method["router"])
        if teacher is None:
            return tokenizers.Bytes()
        code = teacher().make_code(parse(f"{teacher.name}[v={method['v']}]"), sources)
        return marked_bytes(code)

    def row_layout(self, method: MethodName, config: ConfigDict) -> RowLayout:
        """Return the arrays of a row; see `Family`."""
        fields = {"ids": FieldSpec()}
        if method["router"] in TEACHERS:
            fields[BOUNDARIES] = BOUNDARIES_SPEC
        return RowLayout(config.row_length, fields, ("bytes",))


def _kind(router: str) -> str:
    """Return the kind of the router of a word of the option."""
    return "taught" if router in TEACHERS else router
