"""What every fixed compressor shares: its config, its result, and the handling of padding.

A compressor turns T vectors into K = ceil(T / C) latents, its decompressor turns them back. Both
are Flax modules that hold one `CompressorConfig`:

    config.compressor()(x_BTD, mask_BT, train=...) -> Chunks
    config.decompressor()(z_BKD, chunks, train=...) -> x_BTD

Padding stands at the end of a row. It never changes the latents of real positions, and a latent is
real if any of its C positions is. Latents and positions that are not real come out as zeros. None
of these methods draws random numbers: `train` is there for those that will.

The five methods that came first, ssm, conv1d, linear_merge, attention_pool and
sequence_linear, are those of Fifty 2025, "Language, Entropy, and Language Modeling"
(cfifty.github.io/writings/latent_lm.html), which names them without giving their sizes.
"""

import abc
import dataclasses
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp

from latent_jax.contracts import Chunker, Chunks, Dechunker
from latent_jax.layers.config import DTYPES
from latent_jax.ranges import Size, check_fields, one_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressorConfig(abc.ABC):
    """Shapes and numerics of a compressor and its decompressor; each kind adds its own.

    Attributes:
        kind: the word that configs and method names use.
        factor: C, positions per latent.
        d_model: D, width of the positions and of the latents.
        max_length: the longest T.
        dtype: one of `DTYPES`, for activations and matmuls. Parameters are float32 always.

    Raises:
        ValueError: a word is not known (the nearest is named), or a number makes no compressor.
    """

    kind: ClassVar[str]
    factor: Size = 2
    d_model: Size = 128
    max_length: Size = 512
    dtype: Annotated[str, one_of(DTYPES)] = "float32"

    def __post_init__(self):
        """Check the fields, those of the kind among them."""
        check_fields(self)

    def check_divides(self, field: str, divisor: int) -> None:
        """Raise ValueError if the number that `field` stands for does not divide D."""
        if self.d_model % divisor:
            raise ValueError(
                f"{self.kind}: {field} must divide d_model; {self.d_model} is no multiple of "
                f"{divisor}"
            )

    @abc.abstractmethod
    def compressor(self) -> Chunker:
        """Return the module that makes rows shorter."""

    @abc.abstractmethod
    def decompressor(self) -> Dechunker:
        """Return the module that makes them longer again."""

    @abc.abstractmethod
    def forward_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per input position, "compress" and "decompress", at T = `length`.

        A multiply-add is two FLOPs and only matmuls count (and the scan of a state-space block),
        without those that all rows of a batch share.
        """

    @property
    @abc.abstractmethod
    def is_causal(self) -> tuple[bool, bool]:
        """Whether a latent depends on no position after its group, and a position on no later
        latent than its own.
        """

    @property
    def max_latents(self) -> int:
        """K of the longest row."""
        return self.n_latents(self.max_length)

    def n_latents(self, length: int) -> int:
        """Return K = ceil(T / C)."""
        return -(-length // self.factor)

    def real_positions(self, x_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        """Return positions in the compute dtype, zero where they are padding.

        Raises:
            ValueError: they are too many, or have another width than the config says.
        """
        self._check_length(x_BTD.shape[1])
        if x_BTD.shape[2] != self.d_model:
            raise ValueError(f"positions are {x_BTD.shape[2]} wide; the config says {self.d_model}")
        return zero_padding(x_BTD, mask_BT, self.dtype)

    def real_latents(self, z_BKD: jax.Array, chunks: Chunks) -> jax.Array:
        """Return latents in the compute dtype, zero where they are not real.

        Raises:
            ValueError: they cannot be those of rows as long as the chunks say.
        """
        length = chunks.chunk_of_BT.shape[1]
        self._check_length(length)
        expected = (self.n_latents(length), self.d_model)
        if z_BKD.shape[1:] != expected:
            raise ValueError(
                f"latents have shape {z_BKD.shape[1:]}; {length} positions at factor "
                f"{self.factor} make {expected}"
            )
        return zero_padding(z_BKD, chunks.mask_BK, self.dtype)

    def _check_length(self, length: int) -> None:
        if length > self.max_length:
            raise ValueError(
                f"the row has {length} positions, the {self.kind} compressor {self.max_length}: "
                "shorten the rows or raise max_length"
            )

    def chunks(self, z_BKD: jax.Array, mask_BK: jax.Array, length: int) -> Chunks:
        """Return latents as the chunks of rows of `length` positions, zero where not real."""
        chunk_of_T = jnp.arange(length, dtype=jnp.int32) // self.factor
        chunk_of_BT = jnp.broadcast_to(chunk_of_T[None], (z_BKD.shape[0], length))
        z_BKD = zero_padding(z_BKD, mask_BK, self.dtype)
        return Chunks(z_BKD, mask_BK, chunk_of_BT, jnp.zeros((), jnp.float32), {})


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


def position_mask(mask_BK: jax.Array, factor: int, length: int) -> jax.Array:
    """Return bool[B, T]: the positions of real latents, the nearest that latents know."""
    return jnp.repeat(mask_BK, factor, axis=1)[:, :length]
