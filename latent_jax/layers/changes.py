"""A copy of a stack as its difference to the stack: whole, of low rank, or none.

A second trunk that begins equal to the first one is the first one plus zeros. So it begins equal
whatever weights the first one is given, and weight decay pulls it there. Low rank: Hu et al. 2021,
"LoRA", section 4.1, with A drawn, B zero and alpha equal to the rank.
"""

import math
from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax.numpy as jnp

from latent_jax.nearest import check_word

CHANGES = ("copy", "lora", "prefix")
"""How a second trunk differs from the first one: in all parameters; in matrices by a product of low
rank; in none, so that only what stands in front of it is trained."""


class Changes(nn.Module):
    """The parameters of a difference; weight decay reaches all of them.

    Attributes:
        kind: one of `CHANGES`.
        rank: of "lora".

    Raises:
        ValueError: the kind is unknown.
    """

    kind: str
    rank: int = 16

    @nn.compact
    def __call__(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a second trunk.

        Args:
            tree: those of the first one, blocks stacked along a leading axis of depth.
        """
        check_word("change of the second trunk", self.kind, CHANGES)
        flat = flax.traverse_util.flatten_dict(flax.core.unfreeze(tree), sep="/")
        if self.kind == "prefix":
            return flax.core.unfreeze(tree)
        for path, leaf in flat.items():
            name = path.replace("/", ".")
            if self.kind == "copy":
                flat[path] = leaf + self.param(name, nn.initializers.zeros, leaf.shape, jnp.float32)
            elif path.endswith("/kernel"):
                depth, n_in, n_out = _matrix(path, leaf.shape)
                shapes = (depth, n_in, self.rank), (depth, self.rank, n_out)
                drawn = nn.initializers.normal(n_in**-0.5)
                a = self.param(f"{name}.a", drawn, shapes[0], jnp.float32)
                b = self.param(f"{name}.b", nn.initializers.zeros, shapes[1], jnp.float32)
                product = jnp.einsum("LIR,LRO->LIO", a, b)
                flat[path] = leaf + product.reshape(leaf.shape)
        return flax.traverse_util.unflatten_dict(flat, sep="/")


def _matrix(path: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return depth, inputs and outputs of a stacked kernel; "out" sums over heads and features."""
    n_inner = 3 if path.endswith("attention/out/kernel") else 2
    return shape[0], math.prod(shape[1:n_inner]), math.prod(shape[n_inner:])
