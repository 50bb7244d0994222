"""`HNet[n=6]`, `HNet[n=3,stages=2]`: bytes that the model cuts into chunks by itself."""

from collections.abc import Mapping
from typing import Any

from latent_jax.chunking.dynamic import routers
from latent_jax.methods.family import MethodName, Option
from latent_jax.methods.hierarchical_family import (
    HierarchicalFamily,
    Parts,
    check_parts,
    usual_control,
)
from latent_jax.methods.registry import register
from latent_jax.ranges import at_least

MOST_STAGES = 4

ROUTERS = tuple(kind for kind, cls in routers().items() if cls.taught_by != "batch")
"""Those that need nothing of a batch but bytes."""


@register
class HNet(HierarchicalFamily):
    """H-Net (Hwang et al. 2025, arXiv 2507.07955), with the rate that it is asked for."""

    name = "HNet"
    rank, colour = 9, 0
    summary = "bytes, cut by the model into chunks of n on average (Hwang et al. 2025)"
    options = {
        "n": Option("bytes per chunk; of later stages, chunks per chunk", numbers=at_least(2)),
        "stages": Option(
            "how often chunks are cut into chunks", default=1, numbers=at_least(1, MOST_STAGES)
        ),
        "router": Option("decides where chunks begin", ROUTERS, "cosine"),
        "control": Option(
            "1 holds the rate to n; 0 leaves it to the ratio loss, as in the paper (1, or 0 where "
            "the router decides by itself)",
            numbers=at_least(0, 1),
        ),
    }
    example = "HNet[n=4]"
    outer = "mamba"

    def defaults(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults; a router of hard decisions has no rate to control."""
        usual = super().defaults(options)
        return usual_control(usual, options.get("router", usual["router"]))

    def check(self, method: MethodName) -> None:
        """Refuse what a router cannot do."""
        check_parts(method, self.parts(method))

    def parts(self, method: MethodName) -> Parts:
        """Return the router of the name, and the picks and averages of the paper."""
        return Parts(
            router=method["router"],
            rate=method["n"],
            stages=method["stages"],
            control=bool(method["control"]),
        )
