"""Rotary positions: queries and keys turned by an angle that grows with their position.

Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", section 3.2.2. The
product of a turned query and a turned key depends on how far they stand from each other, and on
nothing else of their positions. The pairs that turn together are features i and i + d / 2 of a
head, as in Llama and Qwen2 (and GPT-NeoX before them); the paper pairs 2 i and 2 i + 1, which is
the same network with the features of each head in another order.
"""

import jax
import jax.numpy as jnp
import numpy as np


def rotate(x_BTHd: jax.Array, position_BT: jax.Array, theta: float) -> jax.Array:
    """Return queries or keys turned by their positions, in the dtype of x.

    Pair i turns by position * theta^(-2 i / d), computed in float32.

    Args:
        x_BTHd: d is even.
        position_BT: int32, counted from 0; an axis of 1 serves all rows.
        theta: the base; 10,000 in the paper and in Llama 2.
    """
    half = x_BTHd.shape[-1] // 2
    frequency_P = (theta ** (-np.arange(half) / half)).astype(np.float32)
    angle_BT1P = position_BT[:, :, None, None].astype(jnp.float32) * frequency_P[None, None, None]
    cos_BT1P, sin_BT1P = jnp.cos(angle_BT1P), jnp.sin(angle_BT1P)
    first, second = jnp.split(x_BTHd.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos_BT1P - second * sin_BT1P, second * cos_BT1P + first * sin_BT1P)
    return jnp.concatenate(turned, axis=-1).astype(x_BTHd.dtype)
