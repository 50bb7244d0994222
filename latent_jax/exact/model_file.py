"""The file of an integer byte model: what it holds, and the proof that its arithmetic is exact.

The layout is safetensors' (`array_files`): the length of a header, the header in JSON, the arrays.
`__metadata__` says the format, its version and the shape of the network, which decides names,
dtypes and shapes of the arrays; there is no other array. They are integers: products have int8
weights, everything else is int32. tests/exact/reference.py is the specification of what they mean,
in 200 lines of NumPy.

No JAX is imported here: a decoder starts faster without it.
"""

import dataclasses
import io
import json
import re
from collections.abc import Mapping

import numpy as np

from latent_jax.array_files import METADATA, printable, read_header, view
from latent_jax.exact import bounds as exact
from latent_jax.nearest import nearest

FORMAT, VERSION = "latent_jax integer byte model", "1"
NORM_BITS, WIDE_NORM_BITS = 18, 11
"""Shifts behind the gains of a norm: to 8 bits before a product, to 15 before the head's."""
ATTENTION_BITS, OUTPUT_BITS = exact.WEIGHT_BITS, 20
"""Of the largest attention weight, and of the largest number of a table."""
MAX_CONTEXT = 1024
"""Values of 7 bits that a mean may have: see `exact.operations.mean`."""
N_SYMBOLS = 257
BLOCKS = "blocks/"
"""Before the name of an array of all blocks."""
PRODUCTS = ("query_key_value", "attention_out", "gate", "up", "down")
"""Arrays of a block that are int8."""


class IntegerFileError(ValueError):
    """A file is no integer byte model, or its arithmetic would not be exact."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IntegerConfig:
    """The shape of the network.

    Attributes:
        n_layers: blocks.
        d_model: D, width of the stream.
        n_heads: H; divides D.
        d_ff: F.
        n_ages: A; ages from A - 1 on share a bias.
        context: S, positions that one attends to, itself included.
    """

    n_layers: int
    d_model: int
    n_heads: int
    d_ff: int
    n_ages: int
    context: int

    def __post_init__(self):
        """Check that it is a network."""
        low = [name for name, value in dataclasses.asdict(self).items() if value < 1]
        if low or self.d_model % self.n_heads:
            raise IntegerFileError(f"{self}: numbers are at least 1, and n_heads divides d_model")
        if self.context > MAX_CONTEXT:
            raise IntegerFileError(f"context={self.context}: at most {MAX_CONTEXT} is exact")
        if self.d_model << (2 * exact.PEAK) >= 1 << 31:
            raise IntegerFileError(f"d_model={self.d_model}: its squares need over 31 bits")

    @property
    def head_size(self) -> int:
        """D / H."""
        return self.d_model // self.n_heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each array by name; those of blocks have a leading axis of depth."""
        n, d, f, h = self.n_layers, self.d_model, self.d_ff, self.n_heads
        return {
            "embedding": (N_SYMBOLS, d),
            "embedding_multiplier": (N_SYMBOLS,),
            "embedding_shift": (),
            "head_multiplier": (N_SYMBOLS,),
            "head_shift": (),
            "final_gain": (d,),
            "attention_powers": (1 << exact.OCTAVE,),
            "output_powers": (1 << exact.OCTAVE,),
            "blocks/attention_gain": (n, d),
            "blocks/query_key_value": (n, d, 3 * d),
            "blocks/query_key_value_multiplier": (n, 3 * d),
            "blocks/query_key_value_shift": (n,),
            "blocks/score_multiplier": (n, h),
            "blocks/score_shift": (n,),
            "blocks/position_bias": (n, h, self.n_ages),
            "blocks/mixed_multiplier": (n, h, d // h),
            "blocks/mixed_shift": (n,),
            "blocks/attention_out": (n, d, d),
            "blocks/attention_out_multiplier": (n, d),
            "blocks/attention_out_shift": (n,),
            "blocks/feed_forward_gain": (n, d),
            "blocks/gate": (n, d, f),
            "blocks/gate_multiplier": (n, f),
            "blocks/gate_shift": (n,),
            "blocks/up": (n, d, f),
            "blocks/up_multiplier": (n, f),
            "blocks/up_shift": (n,),
            "blocks/down": (n, f, d),
            "blocks/down_multiplier": (n, d),
            "blocks/down_shift": (n,),
        }


def dtype_of(name: str) -> type:
    """Return the dtype of an array."""
    return np.int8 if name == "embedding" or name.removeprefix(BLOCKS) in PRODUCTS else np.int32


def of_blocks(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of the blocks, by their names in a block."""
    return {k.removeprefix(BLOCKS): x for k, x in arrays.items() if k.startswith(BLOCKS)}


def check(config: IntegerConfig, arrays: Mapping[str, np.ndarray]) -> None:
    """Prove that nothing leaves float32's integers in a product, nor int32 elsewhere.

    Raises:
        IntegerFileError: an array lacks, is one too many, or has another shape or dtype, or a bound
            does not hold.
    """
    shapes = config.shapes()
    for name in arrays:
        _expected(name, shapes)
    for name, shape in shapes.items():
        found = arrays.get(name)
        if found is None or found.shape != shape or found.dtype != dtype_of(name):
            what = "lacks" if found is None else f"is {found.dtype}{list(found.shape)}"
            raise IntegerFileError(
                f"{name} {what}; expected {dtype_of(name).__name__}{list(shape)}"
            )
    try:
        _check_bounds(config, arrays)
    except ValueError as error:
        raise IntegerFileError(str(error)) from error


def _check_bounds(config: IntegerConfig, arrays: Mapping[str, np.ndarray]) -> None:
    for name, bits in (("attention_powers", ATTENTION_BITS), ("output_powers", OUTPUT_BITS)):
        if arrays[name].tolist() != exact.powers(bits):
            raise ValueError(f"{name} are not floor((2^{bits} - 1) 2^(-k / 64))")
    for name in ("final_gain", "blocks/attention_gain", "blocks/feed_forward_gain"):
        _within(name, arrays[name], exact.GAIN)
    _within("blocks/position_bias", arrays["blocks/position_bias"], exact.SCORE)
    table = arrays["embedding"]
    _requantized("embedding", exact.INT8, arrays["embedding_multiplier"], arrays["embedding_shift"])
    bound = _wide_bound("embedding", table.T)
    _requantized("head", bound, arrays["head_multiplier"], arrays["head_shift"])
    largest_mean, blocks = exact.INT8 * ((1 << exact.MEAN) + 1), of_blocks(arrays)
    for layer in range(config.n_layers):
        w = {name: x[layer] for name, x in blocks.items()}
        score = config.head_size * exact.INT8**2
        bounds = {
            "query_key_value": exact.check_sum(w["query_key_value"], "query_key_value"),
            "score": score,
            "mixed": largest_mean,
            "attention_out": exact.check_sum(w["attention_out"], "attention_out"),
            "gate": exact.check_sum(w["gate"], "gate"),
            "up": exact.check_sum(w["up"], "up"),
            "down": exact.check_sum(w["down"], "down"),
        }
        if score >= exact.EXACT:
            raise ValueError(f"heads of {config.head_size}: scores up to {score:,} are not exact")
        if w["down_shift"] < exact.GATE_SHIFT:
            raise ValueError(f"down_shift: {w['down_shift']} is under {exact.GATE_SHIFT}")
        for name, bound in bounds.items():
            _requantized(name, bound, w[f"{name}_multiplier"], w[f"{name}_shift"])


def _wide_bound(name: str, weights: np.ndarray) -> np.ndarray:
    """Return the largest number that each output of a wide product gives."""
    exact.check_sum(weights, name, exact.INT8 + 1)  # of either half
    limit = (1 << 31) - (1 << (exact.WIDE - 1))
    return (exact.check_sum(weights, name, exact.INT15, limit) >> exact.WIDE) + 1


def _within(name: str, values: np.ndarray, limit: int) -> None:
    largest = int(np.abs(values.astype(np.int64)).max(initial=0))
    if largest > limit:
        raise ValueError(f"{name}: {largest} is over {limit}")


def _requantized(
    name: str, bounds: np.ndarray | int, multipliers: np.ndarray, shift: np.ndarray
) -> None:
    """Check the product of each sum and its multiplier."""
    if not 0 <= int(shift) <= 30:
        raise ValueError(f"{name}_shift: {int(shift)} is outside of 0 to 30")
    largest = int(np.max(np.abs(multipliers.astype(np.int64)) * bounds, initial=0))
    if largest + ((1 << int(shift)) >> 1) >= 1 << 31:
        raise ValueError(f"{name}: up to {largest:,} before the shift, which int32 does not hold")


def _expected(name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of an array, which must be one of the network's."""
    if name not in shapes:
        hint = nearest(name, shapes)
        raise IntegerFileError(f"{printable(name)} is no array of an integer model{hint}")
    return shapes[name]


WORDS = {"I8": np.dtype("<i1"), "I32": np.dtype("<i4")}


def word_of(name: str) -> str:
    """Return the dtype of an array as files spell it."""
    return "I8" if dtype_of(name) is np.int8 else "I32"


def to_bytes(config: IntegerConfig, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the file; the same arrays always give the same bytes.

    Raises:
        IntegerFileError: see `check`.
    """
    check(config, arrays)
    metadata = {"format": FORMAT, "version": VERSION}
    metadata |= {key: str(value) for key, value in dataclasses.asdict(config).items()}
    header, parts, at = {METADATA: metadata}, [], 0
    for name in sorted(config.shapes()):
        word = word_of(name)
        part = arrays[name].astype(WORDS[word]).tobytes()
        shape, offsets = list(arrays[name].shape), [at, at + len(part)]
        header[name] = {"dtype": word, "shape": shape, "data_offsets": offsets}
        parts.append(part)
        at += len(part)
    text = json.dumps(header, sort_keys=True).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def from_bytes(content: bytes) -> tuple[IntegerConfig, dict[str, np.ndarray]]:
    """Return the shape and the arrays of a file, checked.

    Raises:
        IntegerFileError: the content is no whole file, or its arithmetic would not be exact.
    """
    try:
        header = read_header(io.BytesIO(content))
    except ValueError as error:
        raise IntegerFileError(str(error)) from error
    config, arrays = _shape_of(header.metadata), {}
    shapes = config.shapes()
    for name, entry in header.entries.items():
        shape, word = _expected(name, shapes), word_of(name)
        if (entry.word, entry.shape) != (word, shape):
            found = f"{entry.word}{list(entry.shape)}"
            raise IntegerFileError(f"{name} is {found}; expected {word}{list(shape)}")
        arrays[name] = view(content, entry, WORDS[word])
    if to_bytes(config, arrays) != content:
        raise IntegerFileError(
            "the file holds a model, but not in the bytes that launch/prepare.py writes, by whose "
            "digest compressed files name it: take the file as it was written"
        )
    return config, arrays


def _shape_of(metadata: Mapping[str, str]) -> IntegerConfig:
    """Return the shape that a file states, of whole numbers without a sign."""
    stated = metadata.get("format"), metadata.get("version")
    if stated != (FORMAT, VERSION):
        raise IntegerFileError(
            f"it is {str(stated)[:80]}, and this program reads {(FORMAT, VERSION)}"
        )
    words = {key: x for key, x in metadata.items() if key not in ("format", "version")}
    fields = {field.name for field in dataclasses.fields(IntegerConfig)}
    if words.keys() != fields:
        differ = printable(", ".join(sorted(words.keys() ^ fields)))
        raise IntegerFileError(f"its metadata lack or have too many of {differ}")
    for key, word in words.items():
        if not re.fullmatch("[0-9]{1,9}", word):
            raise IntegerFileError(f"{key} is {word[:40]!r}; expected a number of at most 9 digits")
    return IntegerConfig(**{key: int(word) for key, word in words.items()})


def is_integer_file(content: bytes) -> bool:
    """Return whether a file of a byte model is of this kind, whole or not."""
    return FORMAT.encode() in content[:4096]
