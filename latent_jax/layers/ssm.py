"""A selective state-space block: Mamba, in the chunked "state-space duality" form of Mamba-2.

Every channel has a small state. The input decides how fast the state decays and what is written to
it:

    h_t = exp(dt_t a) h_{t-1} + dt_t x_t b_t^T        y_t = h_t c_t + d x_t

with dt, b and c computed from the input (Gu and Dao 2023, "Mamba", arXiv 2312.00752, algorithm 2)
and one decay rate per head (Dao and Gu 2024, "Transformers are SSMs", arXiv 2405.21060, section 5).
`layers.selective_scan` computes it. A block runs over a whole row, or over one position per lane
with a state that is passed on; the two agree.

Shape letters of this file, beside the project's: P width of a head, N numbers of state per channel,
E = H P inner width, J taps.
"""

import dataclasses
import math
from typing import Annotated, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from latent_jax.layers.config import DTYPES
from latent_jax.layers.norms import NORM_MODULES
from latent_jax.layers.selective_scan import (
    causal_depthwise_conv,
    selective_scan,
    selective_step,
)
from latent_jax.ranges import Size, check_fields, one_of


class SSMState(NamedTuple):
    """What a block passes on from one position to the next.

    Attributes:
        inputs_BJE: the last inputs of the convolution, one fewer than it has taps, in the compute
            dtype; E is d_inner + 2 N here.
        h_BHNP: the state of the scan, float32.
    """

    inputs_BJE: jax.Array
    h_BHNP: jax.Array


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
    def d_conv(self) -> int:
        """Channels of the convolution: those of x, b and c."""
        return self.d_inner + 2 * self.d_state

    @property
    def n_heads(self) -> int:
        """H, the number of decay rates."""
        return self.d_inner // self.head_dim

    def empty_state(self, n_lanes: int) -> SSMState:
        """Return the state before the first position."""
        inputs_BJE = jnp.zeros((n_lanes, self.conv_size - 1, self.d_conv), self.dtype)
        shape = (n_lanes, self.n_heads, self.d_state, self.head_dim)
        return SSMState(inputs_BJE, jnp.zeros(shape, jnp.float32))

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


class MambaMixer(nn.Module):
    """The Mamba-2 mixer (arXiv 2405.21060, section 7.1): [B, T, D] in and out, causal."""

    decays = {"conv_kernel": True, "conv_bias": False, "dt_bias": False, "a_log": False, "d": False}

    config: SSMConfig

    def setup(self):
        """Create the dense layers and the parameters of convolution and scan."""
        config = self.config
        d_conv, n_heads = config.d_conv, config.n_heads

        def dense(width, name):
            return nn.Dense(width, use_bias=False, dtype=jnp.dtype(config.dtype), name=name)

        self.in_proj = dense(config.d_inner + d_conv + n_heads, "in_proj")
        bound = config.conv_size**-0.5
        self.kernel = self.param(
            "conv_kernel", _uniform_init(-bound, bound), (config.conv_size, d_conv), jnp.float32
        )
        self.bias = self.param("conv_bias", nn.initializers.zeros, (d_conv,), jnp.float32)
        self.dt_bias_H = self.param("dt_bias", _dt_bias_init, (n_heads,), jnp.float32)
        # S4D-real's range of rates, -1 to -16, over the heads (arXiv 2206.11893, section 4).
        self.a_log_H = self.param("a_log", _log_uniform_init(1.0, 16.0), (n_heads,), jnp.float32)
        self.d_H = self.param("d", nn.initializers.ones, (n_heads,), jnp.float32)
        self.norm = nn.RMSNorm(dtype=jnp.dtype(config.dtype), name="norm")
        self.out_proj = dense(config.d_model, "out_proj")

    def __call__(self, x_BTD: jax.Array, documents_BT: jax.Array | None = None) -> jax.Array:
        """Return the mixed sequence in the config's dtype; output t depends on inputs <= t only.

        So padding at the end of a row does not change real positions, and no mask is needed. With
        `documents_BT`, see `layers.selective_scan`, documents of a row do not see each other.
        """
        return self._mix(x_BTD, documents_BT)[0]

    def prefill(self, x_BTD: jax.Array, lengths_B: jax.Array) -> tuple[jax.Array, SSMState]:
        """Return the mixed sequence, and the state behind the first `lengths_B` positions.

        A step of size 0 leaves the state as it is, so that padding changes nothing.
        """
        return self._mix(x_BTD, None, lengths_B)

    def step(self, x_BD: jax.Array, state: SSMState) -> tuple[jax.Array, SSMState]:
        """Return the mixed position of each lane, [B, D], and the state behind it."""
        gate_BE, inputs_BE, dt_BH = self._projected(x_BD[:, None], squeeze=True)
        window_BJE = jnp.concatenate([state.inputs_BJE, inputs_BE[:, None]], axis=1)
        taps_BJE = window_BJE * self.kernel.astype(window_BJE.dtype)[None]
        mixed_BE = nn.silu(taps_BJE.sum(axis=1) + self.bias[None].astype(window_BJE.dtype))
        x_BHP, b_BN, c_BN = self._parts(mixed_BE)
        h_BHNP, y_BHP = selective_step(
            state.h_BHNP, x_BHP, dt_BH, -jnp.exp(self.a_log_H), b_BN, c_BN
        )
        y_BD = self._out(y_BHP, x_BHP, gate_BE)
        return y_BD, SSMState(window_BJE[:, 1:], h_BHNP)

    def _mix(self, x_BTD, documents_BT, lengths_B=None):
        config = self.config
        gate_BTE, inputs_BTE, dt_BTH = self._projected(x_BTD)
        mixed_BTE = nn.silu(causal_depthwise_conv(inputs_BTE, self.kernel, self.bias, documents_BT))
        x_BTHP, b_BTN, c_BTN = self._parts(mixed_BTE)
        if lengths_B is not None:
            is_real_BT = jnp.arange(x_BTD.shape[1])[None] < lengths_B[:, None]
            dt_BTH = jnp.where(is_real_BT[..., None], dt_BTH, 0.0)
        y_BTHP, h_BHNP = selective_scan(
            *(x_BTHP, dt_BTH, -jnp.exp(self.a_log_H), b_BTN, c_BTN, documents_BT),
            chunk_size=config.chunk_size,
        )
        out_BTD = self._out(y_BTHP, x_BTHP, gate_BTE)
        if lengths_B is None:
            return out_BTD, None
        n_kept = config.conv_size - 1
        padded = jnp.pad(inputs_BTE, ((0, 0), (n_kept, 0), (0, 0)))
        at_BJ = lengths_B[:, None] + jnp.arange(n_kept)[None]
        return out_BTD, SSMState(jnp.take_along_axis(padded, at_BJ[..., None], axis=1), h_BHNP)

    def _projected(self, x_BTD, squeeze=False):
        """Return the gate, the inputs of the convolution, and the step sizes, float32."""
        config = self.config
        projected = self.in_proj(x_BTD)
        projected = projected[:, 0] if squeeze else projected
        ends = [config.d_inner, config.d_inner + config.d_conv]
        gate, inputs, dt = jnp.split(projected, ends, axis=-1)
        dt_bias = self.dt_bias_H.reshape((1,) * (dt.ndim - 1) + (-1,))
        return gate, inputs, nn.softplus(dt.astype(jnp.float32) + dt_bias)

    def _parts(self, mixed):
        """Return x by heads, b and c from the result of the convolution."""
        config = self.config
        ends = [config.d_inner, config.d_inner + config.d_state]
        x, b, c = jnp.split(mixed, ends, axis=-1)
        return x.reshape(*x.shape[:-1], config.n_heads, config.head_dim), b, c

    def _out(self, y, x, gate):
        """Return y plus the skip of x, gated, normalised and projected to width D."""
        y = y + self.d_H.reshape((1,) * (y.ndim - 2) + (-1, 1)) * x
        y = y.reshape(*y.shape[:-2], -1).astype(self.config.dtype) * nn.silu(gate)
        return self.out_proj(self.norm(y))


class MambaBlock(nn.Module):
    """Pre-norm residual block around `MambaMixer`: x + mixer(norm(x)), [B, T, D] in and out.

    Attributes:
        config: of the mixer.
        norm: one of `layers.config.NORMS`, before the mixer.
    """

    config: SSMConfig
    norm: str = "layer"

    def setup(self):
        """Create the norm and the mixer."""
        self.before = NORM_MODULES[self.norm](name="norm")
        self.mixer = MambaMixer(self.config, name="mixer")

    def __call__(self, x_BTD: jax.Array, documents_BT: jax.Array | None = None) -> jax.Array:
        """Return the residual stream after the block, in the config's dtype."""
        x_BTD = x_BTD.astype(self.config.dtype)
        return x_BTD + self.mixer(self.before(x_BTD), documents_BT)

    def prefill(self, x_BTD: jax.Array, lengths_B: jax.Array) -> tuple[jax.Array, SSMState]:
        """Return the stream after the block, and the state; see `MambaMixer.prefill`."""
        x_BTD = x_BTD.astype(self.config.dtype)
        mixed_BTD, state = self.mixer.prefill(self.before(x_BTD), lengths_B)
        return x_BTD + mixed_BTD, state

    def step(self, x_BD: jax.Array, state: SSMState) -> tuple[jax.Array, SSMState]:
        """Return the stream of each lane after the block, [B, D], and the state."""
        x_BD = x_BD.astype(self.config.dtype)
        mixed_BD, state = self.mixer.step(self.before(x_BD[:, None])[:, 0], state)
        return x_BD + mixed_BD, state


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
