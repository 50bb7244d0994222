"""Compression by attention: the K positions that matter most ask all the others.

A learned score picks ceil(n / C) of a row's n real positions, as in the top-k pooling of Gao and Ji
2019 ("Graph U-Nets", arXiv 1905.05178, section 3.1), whose gate lets the gradient reach the scores.
They stay in the order of time, and each gathers by attention what it needs from all real positions.
Back, one query per position asks the latents.

Heads know places by a bias that falls with the distance from an offset, both learned (the slopes of
Press et al. 2022, "ALiBi", arXiv 2108.12409, with a centre). Everything starts where information
passes: the scores pick the first of every C positions, and head h reads h mod C positions further.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.chunking.fixed.base import (
    CompressorConfig,
    latent_mask,
    position_mask,
    zero_padding,
)
from latent_jax.chunking.fixed.registry import register
from latent_jax.contracts import Chunker, Chunks, Dechunker
from latent_jax.layers.norms import LayerNorm
from latent_jax.ranges import Size


@register
@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionPoolConfig(CompressorConfig):
    """Attention from the best positions, and back; see `CompressorConfig`.

    Attributes:
        n_heads: H; must divide D.
    """

    kind = "attention_pool"
    n_heads: Size = 4

    def __post_init__(self):
        """Refuse heads of unequal size."""
        super().__post_init__()
        self.check_divides("n_heads", self.n_heads)

    def compressor(self) -> Chunker:
        """Return the pooling."""
        return AttentionPoolCompressor(self)

    def decompressor(self) -> Dechunker:
        """Return the queries that read latents."""
        return AttentionPoolDecompressor(self)

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return the FLOPs of both sides, without the queries of the way back, which rows share."""
        n_latents = self.n_latents(length)
        per_position, projection = n_latents / length, 2 * self.d_model**2
        attention = 2 * 2 * n_latents * self.d_model
        compress = 2 * self.d_model + (2 + 2 * per_position) * projection + attention
        decompress = (1 + 2 * per_position) * projection + attention
        return {"compress": float(compress), "decompress": float(decompress)}

    @property
    def is_causal(self) -> tuple[bool, bool]:
        """False: all positions are read."""
        return False, False


SLOPE = 2.0
"""At the start, what a step away from a head's offset takes from the logit of a key."""


class PlacedAttention(nn.Module):
    """Multi-head attention from one sequence to another, with a learned preference for places.

    Attributes:
        config: D, H and the dtype.
        spread: head h starts with the offset h mod `spread`.
    """

    decays = {"offset": False, "log_slope": False}

    config: AttentionPoolConfig
    spread: int = 1

    @nn.compact
    def __call__(
        self,
        queries_BQD: jax.Array,
        keys_BSD: jax.Array,
        values_BSD: jax.Array,
        mask_BS: jax.Array,
        distance_BQS: jax.Array,
    ) -> jax.Array:
        """Return what each query reads from the places where `mask_BS` is True, [B, Q, D].

        Args:
            queries_BQD: the batch axis may be 1, for queries that all rows share.
            keys_BSD: what the queries are compared with.
            values_BSD: what they read.
            mask_BS: bool; a row without a True reads the mean of all values.
            distance_BQS: float32, time of the key minus time of the query; may have batch axis 1.
        """
        config = self.config
        n_heads, head_dim = config.n_heads, config.d_model // config.n_heads

        def project(x_BSD, name, init):
            return nn.DenseGeneral(
                (n_heads, head_dim), dtype=config.dtype, kernel_init=init, name=name
            )(x_BSD)

        # Small at the start: places decide first, contents later.
        q_BQHd = project(queries_BQD, "query", nn.initializers.normal(0.02))
        k_BSHd = project(keys_BSD, "key", nn.initializers.lecun_normal())
        v_BSHd = project(values_BSD, "value", nn.initializers.lecun_normal())
        offset_H = self.param(
            "offset", lambda *_: (jnp.arange(n_heads) % self.spread).astype(jnp.float32)
        )
        log_slope_H = self.param("log_slope", lambda *_: jnp.full((n_heads,), jnp.log(SLOPE)))
        q_BQHd = jnp.broadcast_to(q_BQHd, (k_BSHd.shape[0], *q_BQHd.shape[1:]))

        # The backward pass computes it again: four arrays [B, H, Q, S] would be kept otherwise.
        @jax.checkpoint
        def attend(q_BQHd, k_BSHd, v_BSHd, offset_H, log_slope_H):
            away_BHQS = jnp.abs(distance_BQS[:, None] - offset_H[None, :, None, None])
            return jax.nn.dot_product_attention(
                q_BQHd,
                k_BSHd,
                v_BSHd,
                bias=-jnp.exp(log_slope_H)[None, :, None, None] * away_BHQS,
                mask=mask_BS[:, None, None, :],
            )

        read_BQHd = attend(q_BQHd, k_BSHd, v_BSHd, offset_H, log_slope_H)
        return read_BQHd.reshape(k_BSHd.shape[0], -1, config.d_model)


class AttentionPoolCompressor(nn.Module):
    """The ceil(n / C) best-scored of a row's n real positions, each with what it read from all."""

    decays = {"place_score": False}

    config: AttentionPoolConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, mask_BT: jax.Array, *, train: bool = False) -> Chunks:
        """Return the latents of a batch; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        length = x_BTD.shape[1]
        x_BTD = config.real_positions(x_BTD, mask_BT)
        mask_BK = latent_mask(mask_BT, config.factor)
        keys_BTD = LayerNorm(name="norm")(x_BTD)

        place_score_T = self.param("place_score", self._place_score_init)[:length]
        score_BT = nn.Dense(1, kernel_init=nn.initializers.normal(0.02), name="score")(keys_BTD)
        score_BT = score_BT[..., 0].astype(jnp.float32) + place_score_T[None]
        chosen_BK = top_k_in_order(score_BT, mask_BT, jnp.sum(mask_BK, axis=-1), mask_BK.shape[1])

        # Twice the sigmoid: a score of 0 leaves a latent as it is.
        gate_BK = 2.0 * jax.nn.sigmoid(jnp.take_along_axis(score_BT, chosen_BK, axis=1))
        kept_BKD = jnp.take_along_axis(x_BTD, chosen_BK[..., None], axis=1)
        queries_BKD = jnp.take_along_axis(keys_BTD, chosen_BK[..., None], axis=1)
        distance_BKT = jnp.arange(length)[None, None] - chosen_BK[..., None]
        read_BKD = PlacedAttention(config, spread=config.factor, name="attention")(
            queries_BKD, keys_BTD, x_BTD, mask_BT, distance_BKT.astype(jnp.float32)
        )
        read_BKD = nn.Dense(config.d_model, dtype=config.dtype, name="out")(read_BKD)
        z_BKD = gate_BK[..., None].astype(config.dtype) * (kept_BKD + read_BKD)
        return config.chunks(z_BKD, mask_BK, length)

    def _place_score_init(self, key):
        """Return float32[max_length]: 0 for the first of every C positions, -1 for the others."""
        del key
        is_first_T = jnp.arange(self.config.max_length) % self.config.factor == 0
        return jnp.where(is_first_T, 0.0, -1.0)


class AttentionPoolDecompressor(nn.Module):
    """One query per position reads from the latents; a gate per position sorts what it read.

    A query knows its place in the row and in its group of C. Positions of one group read the same
    latents, so the gate, made of the query alone, is what lets them take different things.
    """

    decays = {"places": False, "offsets": False}

    config: AttentionPoolConfig

    @nn.compact
    def __call__(self, z_BKD: jax.Array, chunks: Chunks, *, train: bool = False) -> jax.Array:
        """Return positions [B, T, D]; see `latent_jax.chunking.fixed.base`."""
        del train
        config = self.config
        mask_BK, length = chunks.mask_BK, chunks.chunk_of_BT.shape[1]
        z_BKD = config.real_latents(z_BKD, chunks)
        d_model, factor = config.d_model, config.factor
        places_TD = self.param(
            "places", nn.initializers.normal(0.02), (config.max_length, d_model), jnp.float32
        )
        offsets_CD = self.param(
            "offsets", nn.initializers.normal(1.0), (factor, d_model), jnp.float32
        )
        offsets_TD = jnp.tile(offsets_CD, (z_BKD.shape[1], 1))[:length]
        queries_1TD = (places_TD[:length] + offsets_TD)[None].astype(config.dtype)

        # A latent stands in the middle of its C positions.
        latent_time_K = jnp.arange(z_BKD.shape[1]) * factor + (factor - 1) / 2
        distance_TK = latent_time_K[None] - jnp.arange(length)[:, None]
        read_BTD = PlacedAttention(config, name="attention")(
            queries_1TD, LayerNorm(name="norm")(z_BKD), z_BKD, mask_BK, distance_TK[None]
        )
        gate_1TD = nn.Dense(d_model, dtype=config.dtype, name="gate")(queries_1TD)
        read_BTD = read_BTD * (2.0 * jax.nn.sigmoid(gate_1TD))
        x_BTD = queries_1TD + nn.Dense(d_model, dtype=config.dtype, name="out")(read_BTD)
        return zero_padding(x_BTD, position_mask(mask_BK, factor, length), config.dtype)


def top_k_in_order(
    score_BT: jax.Array, mask_BT: jax.Array, n_kept_B: jax.Array, n_latents: int
) -> jax.Array:
    """Return int32[B, K]: the places of the best `n_kept_B` real scores of each row, rising.

    Entries beyond `n_kept_B` of a row are T - 1 and stand for nothing. Of equal scores the earlier
    place wins.
    """
    length = score_BT.shape[1]
    _, best_BK = jax.lax.top_k(jnp.where(mask_BT, score_BT, -jnp.inf), n_latents)
    is_kept_BK = jnp.arange(n_latents)[None] < n_kept_B[:, None]
    return jnp.minimum(jnp.sort(jnp.where(is_kept_BK, best_BK, length), axis=1), length - 1)
