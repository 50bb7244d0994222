"""`Hourglass[n=4]`: bytes, shortened by a fixed factor."""

from latent_jax.methods.family import MethodName, Option
from latent_jax.methods.hierarchical_family import HierarchicalFamily, Parts
from latent_jax.methods.registry import register
from latent_jax.ranges import at_least

MOST_JOINED = 1024
"""Of n, which the map of the linear pooling is n times as large as."""


@register
class Hourglass(HierarchicalFamily):
    """Hourglass (Nawrot et al. 2021, arXiv 2110.13711), with one shortening.

    Every n-th position, counted from the start of each document, ends a chunk; see the pooling
    `linear`. The way back repeats the result of a chunk and adds the encoder's result. The paper
    adds attention over chunks to that ("attention upsampling"), which the frame's way back, without
    a cache of its own, does not have.
    """

    name = "Hourglass"
    rank, colour = 11, 4
    summary = "bytes, n of them joined and mapped to one vector (Nawrot et al. 2021)"
    options = {
        "n": Option("bytes per chunk", numbers=at_least(2, MOST_JOINED)),
        "pooling": Option("what makes a vector of n bytes", ("linear", "mean"), "linear"),
    }
    example = "Hourglass[n=4]"
    outer = "attention"

    def parts(self, method: MethodName) -> Parts:
        """Return the stride, the pooling of the name, and repetition."""
        return Parts(
            router="stride",
            rate=method["n"],
            pooling=method["pooling"],
            way_back="repeat",
            residual="identity",
        )
