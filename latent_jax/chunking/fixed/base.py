"""The base of all fixed compressors: their config, their result, and the handling of padding.

A compressor turns T vectors into K = ceil(T / C) latents; its decompressor turns them back into T
vectors. Both are Flax modules with one `CompressorConfig`:

    config.compressor()(x_BTD, mask_BT, train=...) -> Chunks
    config.decompressor()(z_BKD, chunks, train=...) -> x_BTD

Padding is at the end of a row and never changes the latents of real positions. A latent is real if
any of its C positions is real. Latents and positions that are not real are zeros in the results.
No compressor here draws random numbers; the argument `train` is part of the protocol for others.

The methods ssm, conv1d, linear_merge, attention_pool and sequence_linear are those of Fifty 2025,
"Language, Entropy, and Language Modeling" (cfifty.github.io/writings/latent_lm.html), which names
them but does not give their sizes.
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
    """Shapes and numerics of a compressor and its decompressor; each kind adds its own options.

    Attributes:
        kind: the name of the compressor in configs and method names.
        factor: C, positions per latent.
        d_model: D, width of the positions and of the latents.
        max_length: the largest T.
        dtype: one of `DTYPES`, for activations and matmuls. Parameters are always float32.

    Raises:
        ValueError: a word is unknown (the message names the nearest), or a number is out of range.
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
        """Raise ValueError if `divisor`, the value of `field`, does not divide D."""
        if self.d_model % divisor:
            raise ValueError(
                f"{self.kind}: {field} must divide d_model; {self.d_model} is no multiple of "
                f"{divisor}"
            )

    @abc.abstractmethod
    def compressor(self) -> Chunker:
        """Return the module that turns positions into latents."""

    @abc.abstractmethod
    def decompressor(self) -> Dechunker:
        """Return the module that turns latents into positions."""

    @abc.abstractmethod
    def forward_flops(self, length: int) -> dict[str, float]:
        """Return forward FLOPs per input position, "compress" and "decompress", at T = `length`.

        A multiply-add is two FLOPs. Only matmuls and the scan of a state-space block count, without
        matmuls whose result all rows of a batch share.
        """

    @property
    @abc.abstractmethod
    def is_causal(self) -> tuple[bool, bool]:
        """Whether the compressor is causal, and whether the decompressor is.

        A compressor is causal if a latent depends on no position after its group of C; a
        decompressor is causal if a position depends on no latent after its own.
        """

    @property
    def max_latents(self) -> int:
        """K of a row of `max_length` positions."""
        return self.n_latents(self.max_length)

    def n_latents(self, length: int) -> int:
        """Return K = ceil(T / C)."""
        return -(-length // self.factor)

    def real_positions(self, x_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        """Return positions in the compute dtype, zero where they are padding.

        Raises:
            ValueError: there are more than `max_length`, or they are not `d_model` wide.
        """
        self._check_length(x_BTD.shape[1])
        if x_BTD.shape[2] != self.d_model:
            raise ValueError(f"positions are {x_BTD.shape[2]} wide; the config says {self.d_model}")
        return zero_padding(x_BTD, mask_BT, self.dtype)

    def real_latents(self, z_BKD: jax.Array, chunks: Chunks) -> jax.Array:
        """Return latents in the compute dtype, zero where they are not real.

        Raises:
            ValueError: the shape of the latents does not fit the row length of `chunks`.
        """
        length = chunks.chunk_of_BT.shape[1]
        self._check_length(length)
        self._check_latents(z_BKD, length)
        return zero_padding(z_BKD, chunks.mask_BK, self.dtype)

    def _check_length(self, length: int) -> None:
        if length > self.max_length:
            raise ValueError(
                f"the row has {length} positions, the {self.kind} compressor {self.max_length}: "
                "shorten the rows or raise max_length"
            )

    def chunks(self, z_BKD: jax.Array, mask_BK: jax.Array, length: int) -> Chunks:
        """Return the `Chunks` of rows of `length` positions, with zeros for latents not real.

        Raises:
            ValueError: there are more or fewer latents than `length` positions make.
        """
        self._check_latents(z_BKD, length)
        self._check("mask of latents", mask_BK, z_BKD.shape[:2])
        chunk_of_T = jnp.arange(length, dtype=jnp.int32) // self.factor
        chunk_of_BT = jnp.broadcast_to(chunk_of_T[None], (z_BKD.shape[0], length))
        z_BKD = zero_padding(z_BKD, mask_BK, self.dtype)
        return Chunks(z_BKD, mask_BK, chunk_of_BT, jnp.zeros((), jnp.float32), {})

    def checked_chunks(self, chunks: Chunks, x_BTD: jax.Array) -> Chunks:
        """Return what a compressor made of `x_BTD`, after a check of its shapes.

        Raises:
            ValueError: it is no `Chunks`, or an array has another shape than `Chunks` says.
        """
        if not isinstance(chunks, Chunks):
            raise ValueError(
                f"the compressor {self.kind} gives {type(chunks).__name__} and not Chunks of "
                "latent_jax/contracts.py, which config.chunks(...) makes"
            )
        B, T = x_BTD.shape[:2]
        self._check_latents(chunks.z_BKD, T)
        self._check("mask of latents", chunks.mask_BK, (B, self.n_latents(T)))
        self._check("chunk_of_BT", chunks.chunk_of_BT, (B, T))
        self._check("aux_loss", chunks.aux_loss, ())
        return chunks

    def checked_positions(self, x_BTD: jax.Array, chunks: Chunks) -> jax.Array:
        """Return what a decompressor made of `chunks`, after a check of its shape.

        Raises:
            ValueError: there is not a vector for every position.
        """
        self._check("restored positions", x_BTD, (*chunks.chunk_of_BT.shape, self.d_model))
        return x_BTD

    def _check_latents(self, z_BKD: jax.Array, length: int) -> None:
        expected = (self.n_latents(length), self.d_model)
        if z_BKD.shape[1:] != expected:
            raise ValueError(
                f"latents of the compressor {self.kind} have shape {z_BKD.shape[1:]}; {length} "
                f"positions at factor {self.factor} make {expected}"
            )

    def _check(self, what: str, x: jax.Array, shape: tuple[int, ...]) -> None:
        if jnp.shape(x) != shape:
            raise ValueError(
                f"the {what} of the compressor {self.kind} have shape {jnp.shape(x)}, and must "
                f"have {shape} (factor {self.factor}): mend {type(self).__module__}"
            )


def zero_padding(x_BTD: jax.Array, mask_BT: jax.Array, dtype: str) -> jax.Array:
    """Return x in `dtype`, zero where `mask_BT` is False, even if x is NaN or infinite there."""
    return jnp.where(mask_BT[..., None], x_BTD, 0).astype(dtype)


def pad_to_multiple(x_BT: jax.Array, factor: int) -> jax.Array:
    """Return x with zeros (or False) appended to its second axis, to a multiple of `factor`."""
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
    """Return bool[B, T], True at all positions of real latents.

    These may include padding in the last group, because `mask_BK` does not tell it apart.
    """
    return jnp.repeat(mask_BK, factor, axis=1)[:, :length]
