"""Compression by attention: the K positions that matter most ask all the others.

A learned score picks ceil(T / C) positions of a row, as in the top-k pooling of Gao and Ji 2019
("Graph U-Nets", arXiv 1905.05178, section 3.1), whose gate lets the gradient reach the scores.
They stay in the order of time and each gathers what it needs from all real positions by attention.
Back, every position asks the latents. Both sides know places: sinusoids at the start (Vaswani et
al. 2017, section 3.5), learned from there.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.compressors.base import (
    CompressorConfig,
    Latents,
    check_latents,
    check_positions,
    latent_mask,
    make_latents,
    position_mask,
    zero_padding,
)
from latent_jax.layers.attention import attend
from latent_jax.layers.norms import LayerNorm


class CrossAttention(nn.Module):
    """Multi-head attention from one sequence to another, [B, Q, D] and [B, S, D] to [B, Q, D]."""

    config: CompressorConfig

    @nn.compact
    def __call__(
        self, queries_BQD: jax.Array, keys_BSD: jax.Array, values_BSD: jax.Array, mask_BS: jax.Array
    ) -> jax.Array:
        """Return what each query reads from the places where `mask_BS` is True."""
        config = self.config
        d_model, n_heads = config.d_model, config.n_heads

        def project(x_BSD, name, init):
            dense = nn.Dense(d_model, dtype=config.dtype, kernel_init=init, name=name)
            return dense(x_BSD).reshape(*x_BSD.shape[:2], n_heads, d_model // n_heads)

        # Queries and keys start as the identity: what is alike, by place above all, finds its like.
        attended_BQHd = attend(
            project(queries_BQD, "query", _identity_init),
            project(keys_BSD, "key", _identity_init),
            project(values_BSD, "value", nn.initializers.orthogonal()),
            mask_BS,
        )
        attended_BQD = attended_BQHd.reshape(*queries_BQD.shape)
        return nn.Dense(
            d_model, dtype=config.dtype, kernel_init=nn.initializers.orthogonal(), name="out"
        )(attended_BQD)


class AttentionPoolCompressor(nn.Module):
    """The ceil(n / C) best-scored of a row's n real positions, each with what it read from all."""

    config: CompressorConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Latents:
        """Return the latents of a batch; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_positions(config, x_BTD)
        x_BTD = zero_padding(x_BTD, mask_BT, config.dtype)
        mask_BK = latent_mask(mask_BT, config.factor)
        places_BTD = _places(self, config, "places", config.max_length, 1.0)[
            None, : x_BTD.shape[1]
        ].astype(config.dtype)

        keys_BTD = LayerNorm(name="norm")(x_BTD) + places_BTD
        score_BT = nn.Dense(1, dtype=config.dtype, name="score")(keys_BTD)[..., 0]
        score_BT = score_BT.astype(jnp.float32)
        chosen_BK = top_k_in_order(score_BT, mask_BT, jnp.sum(mask_BK, axis=-1), mask_BK.shape[1])
        gate_BK = jax.nn.sigmoid(jnp.take_along_axis(score_BT, chosen_BK, axis=1))
        chosen_BK1 = chosen_BK[..., None]
        # Twice the sigmoid: a gate of 1 at score 0 leaves the scale of the latents alone.
        kept_BKD = jnp.take_along_axis(x_BTD, chosen_BK1, axis=1)
        kept_BKD = kept_BKD * (2.0 * gate_BK[..., None]).astype(config.dtype)
        queries_BKD = jnp.take_along_axis(keys_BTD, chosen_BK1, axis=1)
        read_BKD = CrossAttention(config, name="attention")(queries_BKD, keys_BTD, x_BTD, mask_BT)
        return make_latents(kept_BKD + read_BKD, mask_BK, config.dtype)


class AttentionPoolDecompressor(nn.Module):
    """One query per position, made of its place alone, reads from the latents."""

    config: CompressorConfig

    @nn.compact
    def __call__(
        self, z_BKD: jax.Array, mask_BK: jax.Array, length: int, *, train: bool = False
    ) -> jax.Array:
        """Return positions [B, length, D]; see `latent_jax.compressors.base`."""
        del train
        config = self.config
        check_latents(config, z_BKD, length)
        z_BKD = zero_padding(z_BKD, mask_BK, config.dtype)
        # Latent k is placed in the middle of its C positions, on the same scale of time.
        places_TD = _places(self, config, "places", config.max_length, 1.0)[:length]
        latents_KD = _places(self, config, "latents", config.max_latents, float(config.factor))
        latents_KD = latents_KD[: z_BKD.shape[1]]
        queries_BTD = jnp.broadcast_to(
            places_TD[None].astype(config.dtype), (z_BKD.shape[0], length, config.d_model)
        )
        keys_BKD = LayerNorm(name="norm")(z_BKD) + latents_KD[None].astype(config.dtype)
        x_BTD = queries_BTD + CrossAttention(config, name="attention")(
            queries_BTD, keys_BKD, z_BKD, mask_BK
        )
        return zero_padding(x_BTD, position_mask(mask_BK, config.factor, length), config.dtype)


def top_k_in_order(
    score_BT: jax.Array, mask_BT: jax.Array, n_kept_B: jax.Array, n_latents: int
) -> jax.Array:
    """Return int32[B, K]: the places of the best `n_kept_B` real scores of each row, rising.

    Places beyond `n_kept_B` of a row are T - 1 and stand for nothing. Of equal scores the earlier
    place wins.
    """
    length = score_BT.shape[1]
    _, best_BK = jax.lax.top_k(jnp.where(mask_BT, score_BT, -jnp.inf), n_latents)
    is_kept_BK = jnp.arange(n_latents)[None] < n_kept_B[:, None]
    return jnp.minimum(jnp.sort(jnp.where(is_kept_BK, best_BK, length), axis=1), length - 1)


def sinusoids(times_T: jax.Array, d_model: int) -> jax.Array:
    """Return float32[T, D], sines and cosines of falling frequency, alternating in every head."""
    frequency = 10_000.0 ** (-jnp.arange(0, d_model, 2) / d_model)
    angle = times_T[:, None] * frequency[None]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(len(times_T), -1)[
        :, :d_model
    ]


def _identity_init(key, shape, dtype):
    del key
    return jnp.eye(*shape, dtype=dtype)


def _places(
    module: nn.Module, config: CompressorConfig, name: str, n_rows: int, step: float
) -> jax.Array:
    """Return learned vectors for places; row i starts as the middle of `step` positions."""

    def init(key, shape, dtype):
        del key
        return sinusoids((jnp.arange(shape[0]) + 0.5) * step - 0.5, shape[1]).astype(dtype)

    return module.param(name, init, (n_rows, config.d_model), jnp.float32)
