"""The dense layer, y = x W + b, written as one two-dimensional matmul.

`flax.linen.DenseGeneral` computes the same numbers, but the gradient of its kernel sums over two
axes, which XLA's CPU backend does nearly three times slower than over one.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.sharding import use_whole, whole


class Dense(nn.Module):
    """Map the last axes of the input, `in_shape`, to `out_shape`; the kernel has the shape of both.

    Attributes:
        in_shape: the axes that are summed over.
        out_shape: the axes that come in their place.
        dtype: of the matmul and its result; parameters are float32.
        use_bias: add b; without it y = x W.
        kernel_init: GPT-2 draws all weights with a deviation of 0.02; biases begin at zero.
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: str = "float32"
    kernel_init: nn.initializers.Initializer = nn.initializers.normal(0.02)
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return [..., *out_shape] for an input [..., *in_shape]."""
        kernel = self.param("kernel", self.kernel_init, self.in_shape + self.out_shape, jnp.float32)
        n_in, n_out = math.prod(self.in_shape), math.prod(self.out_shape)
        rows_NI = x.astype(self.dtype).reshape(-1, n_in)
        rows_NO = use_whole(
            lambda kernel, rows_NI: rows_NI @ kernel.reshape(n_in, n_out), kernel, rows_NI
        )
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, self.out_shape, jnp.float32)
            rows_NO = rows_NO + whole(bias.astype(self.dtype)).reshape(1, n_out)
        return rows_NO.reshape(*x.shape[: x.ndim - len(self.in_shape)], *self.out_shape)


def residual_init(n_layers: int) -> nn.initializers.Initializer:
    """Return the initializer of a layer that writes to the residual stream.

    A stack of N blocks adds 2 N branches to the stream, so GPT-2 scales their weights by
    1 / sqrt(2 N) (Radford et al. 2019, section 2.3).
    """
    return nn.initializers.normal(0.02 / (2 * n_layers) ** 0.5)
