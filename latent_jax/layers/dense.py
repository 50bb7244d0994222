"""The dense layer, y = x W + b, written as one two-dimensional matmul.

`flax.linen.DenseGeneral` computes the same numbers, but the gradient of its kernel is a sum over
two axes, which takes XLA's CPU backend nearly three times as long as a sum over one.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.sharding_constraints import use_whole, whole


class Dense(nn.Module):
    """A linear map of the last axes, from `in_shape` to `out_shape`, by a kernel of both shapes.

    Attributes:
        in_shape: the last axes of the input, which are summed over.
        out_shape: the axes that replace them in the output.
        dtype: dtype of the matmul and its result; parameters are float32.
        use_bias: whether b is added.
        kernel_init: initializer of the kernel; by default a normal distribution with a standard
            deviation of 0.02, as in GPT-2. Biases begin at zero.
        parts_axis: an axis of `out_shape`, or None. If given, the parts along it are separate
            products and are returned as a tuple. Cutting the result of a single product would copy
            it, forward and backward.
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
        """Return the map of x [..., *in_shape].

        Returns:
            [..., *out_shape], or with `parts_axis` a tuple of its parts, which lack that axis.
        """
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
        """Return rows_NI W + b, [N, outputs], with W and b cast to the compute dtype."""
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
