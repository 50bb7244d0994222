"""Rotary positions: queries and keys are rotated by an angle proportional to their position.

Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", section 3.2.2. The
product of a rotated query and a rotated key depends on the positions only through their difference.
Features i and i + d / 2 of a head form a pair that is rotated, as in Llama and Qwen2 (and GPT-NeoX
before them). The paper pairs 2 i and 2 i + 1, which is the same network with the features of each
head in another order.
"""

import jax
import jax.numpy as jnp
import numpy as np


def rotate(x_BTHd: jax.Array, position_BT: jax.Array, theta: float) -> jax.Array:
    """Return queries or keys rotated by their positions, in the shape and dtype of x.

    Pair i is rotated by position * theta^(-2 i / d) radians, computed in float32.

    Args:
        x_BTHd: queries or keys; d must be even.
        position_BT: int32, counted from 0; B may be 1 if all rows have the same positions.
        theta: the base; 10,000 in the paper and in Llama 2.
    """
    half = x_BTHd.shape[-1] // 2
    frequency_P = (theta ** (-np.arange(half) / half)).astype(np.float32)
    angle_BT1P = position_BT[:, :, None, None].astype(jnp.float32) * frequency_P[None, None, None]
    cos_BT1P, sin_BT1P = jnp.cos(angle_BT1P), jnp.sin(angle_BT1P)
    first, second = jnp.split(x_BTHd.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos_BT1P - second * sin_BT1P, second * cos_BT1P + first * sin_BT1P)
    return jnp.concatenate(turned, axis=-1).astype(x_BTHd.dtype)
