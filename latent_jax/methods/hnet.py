"""`HNet[n=6]`, `HNet[n=3,stages=2]`: bytes that the model cuts into chunks by itself."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.chunking.dynamic import routers
from latent_jax.contracts import Task, Vocabulary
from latent_jax.methods.family import MethodName, Option
from latent_jax.methods.hierarchical_family import (
    HierarchicalFamily,
    Parts,
    check_parts,
    usual_control,
)
from latent_jax.methods.hierarchy_flops import rate_of
from latent_jax.methods.names import with_options
from latent_jax.methods.registry import register
from latent_jax.platform import Platform
from latent_jax.ranges import at_least, more_than

MOST_STAGES = 4

ROUTERS = tuple(
    kind for kind, cls in routers().items() if cls.taught_by != "batch" and not cls.reads_signal
)
"""Those that need nothing of a batch but bytes, and no other model."""

AUTO = "auto"
"""The n that costs hierarchy.flops_per_byte."""


@register
class HNet(HierarchicalFamily):
    """H-Net (Hwang et al. 2025, arXiv 2507.07955), with the rate that it is asked for."""

    name = "HNet"
    rank, colour = 9, 0
    summary = "bytes, cut by the model into chunks of n on average (Hwang et al. 2025)"
    options = {
        "n": Option(
            "bytes per chunk, as 4 or 4.5; of later stages, chunks per chunk",
            numbers=more_than(1, 2**20),
            is_whole=False,
            also=(AUTO,),
        ),
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
        router = routers()[method["router"]]
        check_parts(method, self.parts(method))
        if method["n"] == AUTO and not (method["control"] or router.holds_rate):
            raise ValueError(
                f"'{method}': n={AUTO} is the rate at which the model costs what it may, and "
                "nothing holds the rate here: state n, or leave control out"
            )

    def parts(self, method: MethodName) -> Parts:
        """Return the router of the name, and the picks and averages of the paper."""
        return Parts(
            router=method["router"],
            rate=method["n"],
            stages=method["stages"],
            control=bool(method["control"]),
        )

    def make_task(
        self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary, platform: Platform
    ) -> Task:
        """Return language modeling with the n that the name states, or that is solved."""
        method = self.settled(method, config, vocabulary)
        return super().make_task(method, config, vocabulary, platform)

    def settled(self, method: MethodName, config: ConfigDict, vocabulary: Vocabulary) -> MethodName:
        """Return the method with the n at which it costs hierarchy.flops_per_byte."""
        target = config.hierarchy.flops_per_byte
        if method["n"] != AUTO:
            return method
        if not target:
            raise ValueError(
                f"{method} leaves n to be solved: set hierarchy.flops_per_byte, what a byte costs"
            )
        if config.inference_flops_per_byte:
            raise ValueError(
                f"inference_flops_per_byte={config.inference_flops_per_byte:g} solves the width, "
                f"and {method} solves n: set one of them"
            )

        def cost(n):
            stated = with_options(method, n=n)
            return self.make_task(stated, config, vocabulary, Platform.current()).flops_at_rate

        return with_options(method, n=rate_of(cost, target, config.row_length, str(method)))
