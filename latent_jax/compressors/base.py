"""What every compressor shares: its config, its result, and the handling of padding.

A compressor turns T vectors into K = ceil(T / C) latents, its decompressor turns them back. Both
are Flax modules that hold one `CompressorConfig`:

    Compressor(config)(x_BTD, mask_BT, train=...) -> Latents
    Decompressor(config)(z_BKD, mask_BK, length, train=...) -> x_BTD

Padding stands at the end of a row. It never changes the latents of real positions, and a latent is
real if any of its C positions is. Latents and positions that are not real come out as zeros. None
of these methods draws random numbers: `train` is there for those that will.

The five methods are those of Fifty 2025, "Language, Entropy, and Language Modeling"
(cfifty.github.io/writings/latent_lm.html), which names them without giving their sizes.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from latent_jax.layers.config import DTYPES
from latent_jax.layers.ssm import SSMConfig
from latent_jax.nearest import check_word

KINDS = ("conv1d", "ssm", "attention_pool", "linear_merge", "sequence_linear")
"""Every method of this room, by the word that configs and method names use."""


class Latents(NamedTuple):
    """A compressed batch.

    Attributes:
        z_BKD: the latents, in the compute dtype; zeros where they are not real.
        mask_BK: bool, True where the latent is real.
        aux_loss: float32 scalar, added to the loss; 0 for a method without one.
        stats: sums to log, by name.
    """

    z_BKD: jax.Array
    mask_BK: jax.Array
    aux_loss: jax.Array
    stats: dict[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressorConfig:
    """Shapes and numerics of a compressor and its decompressor.

    Attributes:
        kind: one of `KINDS`.
        factor: C, positions per latent.
        d_model: D, width of the positions and of the latents.
        max_length: the longest T.
        kernel_size: taps of conv1d, at least C; 0 means 2 C, so that neighbours share positions.
        n_heads: H of attention_pool; must divide D.
        ssm_layers: state-space blocks on each side of ssm.
        ssm_state: N of those blocks.
        ssm_head_dim: P of those blocks; must divide 2 D.
        sequence_groups: maps over time of sequence_linear: D / groups features share one. 0 means
            one map per feature, max_length^2 / C parameters each.
        dtype: one of `DTYPES`, for activations and matmuls. Parameters are float32 always.

    Raises:
        ValueError: a word is not known (the nearest is named), or a number makes no compressor.
    """

    kind: str = "conv1d"
    factor: int = 2
    d_model: int = 128
    max_length: int = 512
    kernel_size: int = 0
    n_heads: int = 4
    ssm_layers: int = 1
    ssm_state: int = 16
    ssm_head_dim: int = 64
    sequence_groups: int = 0
    dtype: str = "float32"

    def __post_init__(self):
        """Check every word, and the numbers that the chosen method reads."""
        check_word("compressor kind", self.kind, KINDS)
        check_word("dtype", self.dtype, DTYPES)
        for field in ("factor", "d_model", "max_length", "n_heads", "ssm_layers"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be at least 1; got {getattr(self, field)}")
        if self.kind == "conv1d" and self.n_taps < self.factor:
            raise ValueError(
                f"kernel_size {self.kernel_size} is below the factor {self.factor}, so conv1d "
                "would skip positions; raise it, or take 0 for twice the factor"
            )
        divisors = {
            "attention_pool": ("n_heads", self.n_heads),
            "linear_merge": ("factor", self.factor),
            "sequence_linear": ("sequence_groups", self.n_groups),
        }
        if self.kind in divisors:
            field, divisor = divisors[self.kind]
            if self.d_model % divisor:
                raise ValueError(
                    f"{self.kind}: {field} must divide d_model; {self.d_model} is no multiple of "
                    f"{divisor}"
                )
        if self.kind == "ssm":
            _ = self.ssm

    @property
    def max_latents(self) -> int:
        """K of the longest row."""
        return -(-self.max_length // self.factor)

    @property
    def n_taps(self) -> int:
        """Taps of conv1d."""
        return self.kernel_size or 2 * self.factor

    @property
    def n_groups(self) -> int:
        """Maps over time of sequence_linear."""
        return self.sequence_groups or self.d_model

    @property
    def ssm(self) -> SSMConfig:
        """The state-space blocks of ssm."""
        return SSMConfig(
            d_model=self.d_model,
            d_state=self.ssm_state,
            head_dim=self.ssm_head_dim,
            dtype=self.dtype,
        )

    def n_latents(self, length: int) -> int:
        """Return K = ceil(T / C)."""
        return -(-length // self.factor)

    def forward_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per input position, "compress" and "decompress", at T = `length`.

        A multiply-add is two FLOPs and only matmuls count (and the scan of the state-space block),
        without those that all rows of a batch share (queries of attention_pool's way back).
        """
        d_model, n_latents = self.d_model, self.n_latents(length)
        per_position = n_latents / length
        match self.kind:
            case "conv1d":
                compress = decompress = per_position * 2 * self.n_taps * d_model**2
            case "ssm":
                compress = decompress = self.ssm_layers * self.ssm.forward_flops(length)
            case "attention_pool":
                projection = 2 * d_model**2
                attention = 2 * 2 * n_latents * d_model
                compress = 2 * d_model + (2 + 2 * per_position) * projection + attention
                decompress = (1 + 2 * per_position) * projection + attention
            case "linear_merge":
                compress = decompress = 2 * d_model * (d_model // self.factor)
            case "sequence_linear":
                compress = decompress = 2 * n_latents * d_model
        return {"compress": float(compress), "decompress": float(decompress)}


def check_length(config: CompressorConfig, length: int) -> None:
    """Raise ValueError if a row of `length` positions is longer than the config's longest."""
    if length > config.max_length:
        raise ValueError(
            f"the row has {length} positions, the {config.kind} compressor {config.max_length}: "
            "shorten the rows or raise max_length"
        )


def check_positions(config: CompressorConfig, x_BTD: jax.Array) -> None:
    """Raise ValueError if positions are too many or have another width than the config says."""
    check_length(config, x_BTD.shape[1])
    if x_BTD.shape[2] != config.d_model:
        raise ValueError(f"positions are {x_BTD.shape[2]} wide; the config says {config.d_model}")


def check_latents(config: CompressorConfig, z_BKD: jax.Array, length: int) -> None:
    """Raise ValueError if the latents cannot be those of rows of `length` positions."""
    check_length(config, length)
    expected = (config.n_latents(length), config.d_model)
    if z_BKD.shape[1:] != expected:
        raise ValueError(
            f"latents have shape {z_BKD.shape[1:]}; {length} positions at factor {config.factor} "
            f"make {expected}"
        )


def zero_padding(x_BTD: jax.Array, mask_BT: jax.Array, dtype: str) -> jax.Array:
    """Return x in `dtype`, zero where `mask_BT` is False, whatever stood there."""
    return jnp.where(mask_BT[..., None], x_BTD, 0).astype(dtype)


def pad_to_multiple(x_BT: jax.Array, factor: int) -> jax.Array:
    """Return x with zeros (or False) behind its second axis, to a multiple of `factor`."""
    padding = [(0, 0)] * x_BT.ndim
    padding[1] = (0, -x_BT.shape[1] % factor)
    return jnp.pad(x_BT, padding)


def group_positions(x_BT: jax.Array, factor: int) -> jax.Array:
    """Return [B, T, ...] as [B, K, C, ...]; zeros (or False) fill the last group."""
    x_BT = pad_to_multiple(x_BT, factor)
    return x_BT.reshape(x_BT.shape[0], -1, factor, *x_BT.shape[2:])


def latent_mask(mask_BT: jax.Array, factor: int) -> jax.Array:
    """Return bool[B, K]: a latent is real if any of its `factor` positions is."""
    return jnp.any(group_positions(mask_BT, factor), axis=-1)


def make_latents(z_BKD: jax.Array, mask_BK: jax.Array, dtype: str) -> Latents:
    """Return the `Latents` of a method without an auxiliary loss or statistics."""
    return Latents(zero_padding(z_BKD, mask_BK, dtype), mask_BK, jnp.zeros((), jnp.float32), {})


def position_mask(mask_BK: jax.Array, factor: int, length: int) -> jax.Array:
    """Return bool[B, T]: the positions of real latents, the nearest that latents know."""
    return jnp.repeat(mask_BK, factor, axis=1)[:, :length]
