"""Compression by attention: the K positions of the highest scores attend to all positions.

A learned score picks ceil(n / C) of a row's n real positions, as in the top-k pooling of Gao and Ji
2019 ("Graph U-Nets", arXiv 1905.05178, section 3.1); its gate passes the gradient to the scores.
The picked positions stay in the order of time. Each attends to all real positions. In the
decompressor, one query per position attends to the latents.

Every head has a bias that falls with the distance of a key from an offset; the offset and the slope
are learned (the slopes of Press et al. 2022, "ALiBi", arXiv 2108.12409, with a centre). The initial
values already pass information on: the scores pick the first of every C positions, and head h reads
h mod C positions further.
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
    """The config of attention pooling; see `CompressorConfig`.

    Attributes:
        n_heads: H, attention heads; must divide D.
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
        """Return the attention of positions to latents."""
        return AttentionPoolDecompressor(self)

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return the FLOPs of both, without the decompressor's queries, which all rows share."""
        n_latents = self.n_latents(length)
        per_position, projection = n_latents / length, 2 * self.d_model**2
        attention = 2 * 2 * n_latents * self.d_model
        compress = 2 * self.d_model + (2 + 2 * per_position) * projection + attention
        decompress = (1 + 2 * per_position) * projection + attention
        return {"compress": float(compress), "decompress": float(decompress)}

    @property
    def is_causal(self) -> tuple[bool, bool]:
        """False, False: every latent reads all positions, and every position all latents."""
        return False, False


SLOPE = 2.0
"""Initial slope of the bias: the logit of a key falls by this per position from the offset."""


class PlacedAttention(nn.Module):
    """Multi-head attention from one sequence to another, with a learned bias on positions.

    Attributes:
        config: the config with D, H and the dtype.
        spread: the initial offset of head h is h mod `spread`.
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
        """Return the result of attention to the keys where `mask_BS` is True, [B, Q, D].

        Args:
            queries_BQD: the inputs of the queries; B may be 1 if all rows share them.
            keys_BSD: the inputs of the keys.
            values_BSD: the inputs of the values.
            mask_BS: bool; a row without a True returns the mean of all values.
            distance_BQS: float32, position of the key minus position of the query; B may be 1.
        """
        config = self.config
        n_heads, head_dim = config.n_heads, config.d_model // config.n_heads

        def project(x_BSD, name, init):
            return nn.DenseGeneral(
                (n_heads, head_dim), dtype=config.dtype, kernel_init=init, name=name
            )(x_BSD)

        # Small initial queries, so that positions decide at first, and contents later.
        q_BQHd = project(queries_BQD, "query", nn.initializers.normal(0.02))
        k_BSHd = project(keys_BSD, "key", nn.initializers.lecun_normal())
        v_BSHd = project(values_BSD, "value", nn.initializers.lecun_normal())
        offset_H = self.param(
            "offset", lambda *_: (jnp.arange(n_heads) % self.spread).astype(jnp.float32)
        )
        log_slope_H = self.param("log_slope", lambda *_: jnp.full((n_heads,), jnp.log(SLOPE)))
        q_BQHd = jnp.broadcast_to(q_BQHd, (k_BSHd.shape[0], *q_BQHd.shape[1:]))

        # Recomputed in the backward pass, which would otherwise keep four arrays [B, H, Q, S].
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
    """The compressor: the ceil(n / C) best-scored real positions, plus what each attends to."""

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

        # Twice the sigmoid, so that a score of 0 leaves a latent unchanged.
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
    """The decompressor: one query per position attends to the latents; a gate scales the result.

    A query encodes its position in the row and in its group of C. Positions of one group read the
    same latents. The gate, which depends on the query alone, selects different features for each.
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

        # The position of a latent is the middle of its C positions.
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
    """Return int32[B, K]: the positions of the `n_kept_B` best real scores of each row, ascending.

    Entries of a row beyond `n_kept_B` are T - 1; ignore them. Of equal scores the earlier position
    wins.
    """
    length = score_BT.shape[1]
    _, best_BK = jax.lax.top_k(jnp.where(mask_BT, score_BT, -jnp.inf), n_latents)
    is_kept_BK = jnp.arange(n_latents)[None] < n_kept_B[:, None]
    return jnp.minimum(jnp.sort(jnp.where(is_kept_BK, best_BK, length), axis=1), length - 1)
