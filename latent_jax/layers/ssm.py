"""A selective state-space block: Mamba, in the chunked "state-space duality" form of Mamba-2.

Every channel has a small state. The input decides how fast the state decays and what is written to
it:

    h_t = exp(dt_t a) h_{t-1} + dt_t x_t b_t^T        y_t = h_t c_t + d x_t

with dt, b and c computed from the input (Gu and Dao 2023, "Mamba", arXiv 2312.00752, algorithm 2)
and one decay rate per head (Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060, section 5).
With one rate per head, the steps inside a chunk are a masked matmul, as in attention, and only one
state per chunk is passed on. So no array holds a state per position, and matmul units do the work.
`selective_scan_reference` is the recurrence as written above; tests compare the two.

Shape letters of this file, beside the project's: P width of a head, N numbers of state per channel,
E = H P inner width, G chunks, Q positions of a chunk, J taps.
"""

import dataclasses
import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.config import DTYPES
from latent_jax.layers.norms import LayerNorm
from latent_jax.ranges import Size, check_fields, one_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSMConfig:
    """Shapes and numerics of a state-space block.

    Attributes:
        d_model: D, width of the residual stream.
        d_state: N, numbers of state per inner channel.
        expand: E / D, the inner width relative to the residual stream.
        head_dim: P, inner channels that share one decay rate; must divide E.
        conv_size: taps of the causal depthwise convolution before the scan.
        chunk_size: Q, positions computed as one matmul; the result does not depend on it.
        dtype: one of `DTYPES`, for activations and matmuls. Parameters, decays, states and the
            norm are always float32.

    Raises:
        ValueError: a number is below 1, `head_dim` does not divide E, or the dtype is not known.
    """

    d_model: Size
    d_state: Size = 16
    expand: Size = 2
    head_dim: Size = 64
    conv_size: Size = 4
    chunk_size: Size = 32
    dtype: Annotated[str, one_of(DTYPES)] = "float32"

    def __post_init__(self):
        """Check every word and number."""
        check_fields(self)
        if self.d_inner % self.head_dim:
            raise ValueError(
                f"head_dim must divide expand * d_model: {self.d_inner} is no multiple of "
                f"{self.head_dim}; choose a smaller head_dim"
            )

    @property
    def d_inner(self) -> int:
        """E, inner channels of the block."""
        return self.expand * self.d_model

    @property
    def n_heads(self) -> int:
        """H, the number of decay rates."""
        return self.d_inner // self.head_dim

    def forward_flops(self, length: int) -> float:
        """Return forward FLOPs per position of one block on rows of `length` positions.

        A multiply-add is two FLOPs. The matmuls, with those of the scan, and the taps of the
        depthwise convolution count.
        """
        chunk = min(self.chunk_size, length)
        padded = -(-length // chunk) * chunk / length
        d_inner, d_state = self.d_inner, self.d_state
        in_proj = 2 * self.d_model * (2 * d_inner + 2 * d_state + self.n_heads)
        conv = 2 * self.conv_size * (d_inner + 2 * d_state)
        within_chunk = 2 * chunk * d_state + 2 * chunk * d_inner
        between_chunks = 2 * 2 * d_state * d_inner
        out_proj = 2 * d_inner * self.d_model
        return float(in_proj + conv + padded * (within_chunk + between_chunks) + out_proj)


def selective_scan_reference(
    x_BTHP: jax.Array, dt_BTH: jax.Array, a_H: jax.Array, b_BTN: jax.Array, c_BTN: jax.Array
) -> jax.Array:
    """Return y of the recurrence in the module docstring, without d x_t, as float32[B, T, H, P].

    This is the readable form, for tests. It stores every state for the backward pass and is several
    times slower than `selective_scan`, which has the same arguments.
    """
    n_batch, _, n_heads, head_dim = x_BTHP.shape

    def step(h_BHPN, inputs):
        x_BHP, dt_BH, b_BN, c_BN = inputs
        decay_BH = jnp.exp(dt_BH * a_H[None])
        write_BHPN = (dt_BH[..., None] * x_BHP)[..., None] * b_BN[:, None, None, :]
        h_BHPN = decay_BH[..., None, None] * h_BHPN + write_BHPN
        return h_BHPN, jnp.einsum("BHPN,BN->BHP", h_BHPN, c_BN)

    h_BHPN = jnp.zeros((n_batch, n_heads, head_dim, b_BTN.shape[-1]), jnp.float32)
    inputs = jax.tree.map(
        lambda v: jnp.moveaxis(v, 1, 0).astype(jnp.float32), (x_BTHP, dt_BTH, b_BTN, c_BTN)
    )
    _, y_TBHP = jax.lax.scan(step, h_BHPN, inputs)
    return jnp.moveaxis(y_TBHP, 0, 1)


def selective_scan(
    x_BTHP: jax.Array,
    dt_BTH: jax.Array,
    a_H: jax.Array,
    b_BTN: jax.Array,
    c_BTN: jax.Array,
    *,
    chunk_size: int,
) -> jax.Array:
    """Return what `selective_scan_reference` returns, computed chunk by chunk with matmuls.

    Dao and Gu 2024, section 6 and listing 1: inside a chunk y = (L * c b^T) (dt x), where L holds
    the decay from one position to another; the state at the start of the chunk adds its part. The
    states of the chunks come from an associative scan.

    Args:
        x_BTHP: inputs, in the compute dtype.
        dt_BTH: float32 step sizes, >= 0; a step of size 0 leaves the state as it is.
        a_H: float32 decay rates, <= 0.
        b_BTN: b, the direction in which each input is written to the state, in the compute dtype.
        c_BTN: c, the direction in which the state is read, in the compute dtype.
        chunk_size: Q; T need not be a multiple of it.

    Returns:
        float32[B, T, H, P]. Decays, states and sums are float32.
    """
    dtype = x_BTHP.dtype
    length = x_BTHP.shape[1]
    chunk = min(chunk_size, length)

    def split(v_BT):
        # Zeros fill the last chunk. A step of size 0 neither decays the state nor writes to it.
        padding = [(0, 0)] * v_BT.ndim
        padding[1] = (0, -length % chunk)
        return jnp.pad(v_BT, padding).reshape(v_BT.shape[0], -1, chunk, *v_BT.shape[2:])

    def dot(spec, *operands):
        # Not `preferred_element_type`: XLA's CPU runtime has no batched bfloat16 -> float32 matmul.
        return jnp.einsum(spec, *(v.astype(dtype) for v in operands)).astype(jnp.float32)

    dtx_BGQHP = split((x_BTHP * dt_BTH[..., None]).astype(dtype))
    b_BGQN, c_BGQN = split(b_BTN), split(c_BTN)
    log_decay_BGHQ = jnp.moveaxis(jnp.cumsum(split(dt_BTH * a_H[None, None]), axis=2), 2, 3)

    # Inside a chunk. Masked before the exponential, which could overflow above the diagonal.
    log_l_BGHQQ = log_decay_BGHQ[..., :, None] - log_decay_BGHQ[..., None, :]
    causal_QQ = jnp.tril(jnp.ones((chunk, chunk), bool))
    l_BGHQQ = jnp.exp(jnp.where(causal_QQ[None, None, None], log_l_BGHQQ, -jnp.inf))
    cb_BGQQ = dot("bgqn,bgkn->bgqk", c_BGQN, b_BGQN)
    y_BGQHP = dot("bghqk,bgkhp->bgqhp", l_BGHQQ * cb_BGQQ[:, :, None], dtx_BGQHP)

    # Between chunks: the state that each chunk writes, and the state that the next one starts from.
    # b and c are multiplied by the decays because they are narrower than x.
    to_end_BGHQ = jnp.exp(log_decay_BGHQ[..., -1:] - log_decay_BGHQ)
    b_BGHQN = to_end_BGHQ[..., None] * b_BGQN[:, :, None]
    written_BGHNP = dot("bghqn,bgqhp->bghnp", b_BGHQN, dtx_BGQHP)
    decay_BGH = jnp.exp(log_decay_BGHQ[..., -1])

    def join(earlier, later):
        decay, h = later
        return decay * earlier[0], decay[..., None, None] * earlier[1] + h

    _, h_BGHNP = jax.lax.associative_scan(join, (decay_BGH, written_BGHNP), axis=1)
    start_BGHNP = jnp.pad(h_BGHNP, ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0)))[:, :-1]
    c_BGHQN = jnp.exp(log_decay_BGHQ)[..., None] * c_BGQN[:, :, None]
    y_BGQHP += dot("bghqn,bghnp->bgqhp", c_BGHQN, start_BGHNP)
    return y_BGQHP.reshape(x_BTHP.shape[0], -1, *x_BTHP.shape[2:])[:, :length]


def causal_depthwise_conv(x_BTE: jax.Array, kernel_JE: jax.Array, bias_E: jax.Array) -> jax.Array:
    """Return a convolution of each channel over the last J positions, [B, T, E], in x's dtype.

    The last tap is for the current position. It is a sum of shifted products, because XLA's grouped
    convolution takes about ten times as long on a CPU.
    """
    n_taps, length = kernel_JE.shape[0], x_BTE.shape[1]
    padded = jnp.pad(x_BTE, ((0, 0), (n_taps - 1, 0), (0, 0)))
    kernel_JE = kernel_JE.astype(x_BTE.dtype)
    taps = [padded[:, j : j + length] * kernel_JE[None, None, j] for j in range(n_taps)]
    return sum(taps) + bias_E[None, None].astype(x_BTE.dtype)


class MambaMixer(nn.Module):
    """The Mamba-2 mixer (arXiv 2405.21060, section 7.1): [B, T, D] in and out, causal."""

    decays = {"conv_kernel": True, "conv_bias": False, "dt_bias": False, "a_log": False, "d": False}

    config: SSMConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return the mixed sequence in the config's dtype; output t depends on inputs <= t only.

        So padding at the end of a row does not change real positions, and no mask is needed.
        """
        config = self.config
        dtype = jnp.dtype(config.dtype)
        n_batch, length, _ = x_BTD.shape
        d_inner, d_state, n_heads = config.d_inner, config.d_state, config.n_heads
        d_conv = d_inner + 2 * d_state

        def dense(width, name):
            return nn.Dense(width, use_bias=False, dtype=dtype, name=name)

        projected = dense(d_inner + d_conv + n_heads, "in_proj")(x_BTD)
        gate_BTE, xbc, dt_BTH = jnp.split(projected, [d_inner, d_inner + d_conv], axis=-1)

        bound = config.conv_size**-0.5
        kernel = self.param(
            "conv_kernel", _uniform_init(-bound, bound), (config.conv_size, d_conv), jnp.float32
        )
        bias = self.param("conv_bias", nn.initializers.zeros, (d_conv,), jnp.float32)
        xbc = nn.silu(causal_depthwise_conv(xbc, kernel, bias))
        x_BTE, b_BTN, c_BTN = jnp.split(xbc, [d_inner, d_inner + d_state], axis=-1)
        x_BTHP = x_BTE.reshape(n_batch, length, n_heads, config.head_dim)

        dt_bias_H = self.param("dt_bias", _dt_bias_init, (n_heads,), jnp.float32)
        dt_BTH = nn.softplus(dt_BTH.astype(jnp.float32) + dt_bias_H[None, None])
        # S4D-real's range of rates, -1 to -16, over the heads (arXiv 2206.11893, section 4).
        a_log_H = self.param("a_log", _log_uniform_init(1.0, 16.0), (n_heads,), jnp.float32)
        d_H = self.param("d", nn.initializers.ones, (n_heads,), jnp.float32)

        y_BTHP = selective_scan(
            x_BTHP, dt_BTH, -jnp.exp(a_log_H), b_BTN, c_BTN, chunk_size=config.chunk_size
        )
        y_BTHP += d_H[None, None, :, None] * x_BTHP
        y_BTE = y_BTHP.reshape(n_batch, length, d_inner).astype(dtype) * nn.silu(gate_BTE)
        return dense(config.d_model, "out_proj")(nn.RMSNorm(dtype=dtype, name="norm")(y_BTE))


class MambaBlock(nn.Module):
    """Pre-norm residual block around `MambaMixer`: x + mixer(norm(x)), [B, T, D] in and out."""

    config: SSMConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        """Return the residual stream after the block, in the config's dtype."""
        x_BTD = x_BTD.astype(self.config.dtype)
        return x_BTD + MambaMixer(self.config, name="mixer")(LayerNorm(name="norm")(x_BTD))


def _uniform_init(low: float, high: float) -> nn.initializers.Initializer:
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, low, high)


def _log_uniform_init(low: float, high: float) -> nn.initializers.Initializer:
    """Return the initializer that draws log(u) with u uniform between two bounds."""
    return lambda key, shape, dtype: jnp.log(jax.random.uniform(key, shape, dtype, low, high))


def _dt_bias_init(key, shape, dtype):
    """Draw softplus(bias) log-uniformly from 0.001 to 0.1 (arXiv 2312.00752, section 3.6)."""
    log_dt = jax.random.uniform(key, shape, dtype, math.log(1e-3), math.log(1e-1))
    dt = jnp.exp(log_dt)
    return dt + jnp.log(-jnp.expm1(-dt))
