"""The dense layer, y = x W + b, written as one two-dimensional matmul.

`flax.linen.DenseGeneral` computes the same numbers, but the gradient of its kernel sums over two
axes, which XLA's CPU backend does nearly three times slower than over one.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.sharding_constraints import use_whole, whole


class Dense(nn.Module):
    """Map the last axes of the input, `in_shape`, to `out_shape`; the kernel has the shape of both.

    Attributes:
        in_shape: the axes that are summed over.
        out_shape: the axes that come in their place.
        dtype: of the matmul and its result; parameters are float32.
        use_bias: add b; without it y = x W.
        kernel_init: GPT-2 draws all weights with a deviation of 0.02; biases begin at zero.
        parts_axis: of `out_shape`; its parts are computed one by one and returned as a tuple.
            Cutting the result of one product copies it, forward and backward.
    """

    decays = {"kernel": True, "bias": False}

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: str = "float32"
    kernel_init: nn.initializers.Initializer = nn.initializers.normal(0.02)
    use_bias: bool = True
    parts_axis: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array | tuple[jax.Array, ...]:
        """Return [..., *out_shape] for an input [..., *in_shape], or its parts without the axis."""
        kernel = self.param("kernel", self.kernel_init, self.in_shape + self.out_shape, jnp.float32)
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, self.out_shape, jnp.float32)
        rows_NI = x.astype(self.dtype).reshape(-1, math.prod(self.in_shape))
        outer = x.shape[: x.ndim - len(self.in_shape)]
        if self.parts_axis is None:
            return self._rows(rows_NI, kernel, bias).reshape(*outer, *self.out_shape)
        axis = self.parts_axis
        part_shape = self.out_shape[:axis] + self.out_shape[axis + 1 :]
        return tuple(
            self._rows(
                rows_NI,
                jnp.take(kernel, i, axis=len(self.in_shape) + axis),
                None if bias is None else jnp.take(bias, i, axis=axis),
            ).reshape(*outer, *part_shape)
            for i in range(self.out_shape[axis])
        )

    def _rows(self, rows_NI: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> jax.Array:
        """Return rows_NI W + b, both cast to the compute dtype, as [N, outputs]."""
        rows_NO = use_whole(
            lambda kernel, rows_NI: rows_NI @ kernel.reshape(rows_NI.shape[1], -1), kernel, rows_NI
        )
        if bias is None:
            return rows_NO
        return rows_NO + whole(bias.astype(self.dtype)).reshape(1, -1)


def residual_init(n_layers: int) -> nn.initializers.Initializer:
    """Return the initializer of a layer that writes to the residual stream.

    A stack of N blocks adds 2 N branches to the stream, so GPT-2 scales their weights by
    1 / sqrt(2 N) (Radford et al. 2019, section 2.3).
    """
    return nn.initializers.normal(0.02 / (2 * n_layers) ** 0.5)
