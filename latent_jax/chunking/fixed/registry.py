"""The registry of fixed compressors by their names in methods; each is one file of this folder."""

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from latent_jax.chunking.fixed.base import CompressorConfig
from latent_jax.nearest import check_word
from latent_jax.registration import file_of, import_all, shown

_KINDS: dict[str, type[CompressorConfig]] = {}

_SHARED = {field.name for field in dataclasses.fields(CompressorConfig)}


def register(cls: type[CompressorConfig] | None = None) -> type[CompressorConfig]:
    """Register a compressor under its `kind`, for method names and configs, and return it.

    Raises:
        TypeError: this is no compressor, or the class lacks its kind or an abstract method; the
            message lists them.
        ValueError: another kind has this name, or another default for an option of the same name,
            or the kind is no word, or an option has no default.
    """
    if not (isinstance(cls, type) and issubclass(cls, CompressorConfig)):  # None: of "@register()"
        raise TypeError(
            "@register, without brackets, stands above a class that extends CompressorConfig of "
            f"latent_jax/chunking/fixed/base.py, and not above {shown(cls)}"
        )
    missing = [] if getattr(cls, "kind", "") else ["kind"]
    missing += [f"{name}" for name in sorted(cls.__abstractmethods__)]
    if missing:
        raise TypeError(
            f"the compressor {cls.__name__} in {file_of(cls)} lacks {', '.join(missing)}; "
            "latent_jax/chunking/fixed/base.py describes each"
        )
    if not (isinstance(cls.kind, str) and re.fullmatch(r"\w+", cls.kind)):
        raise ValueError(
            f"the compressor {cls.__name__} in {file_of(cls)}: kind must be one word of letters, "
            f"digits and underscores; got {shown(cls.kind)}"
        )
    _check_options(cls)
    known = _KINDS.get(cls.kind)
    # The same class is registered again if its module is reloaded or a decorator rebuilds it.
    places = [f"{each.__module__}.{each.__qualname__}" for each in (known or cls, cls)]
    if places[0] != places[1]:
        raise ValueError(f"two compressors are called {cls.kind}: {' and '.join(places)}")
    for other in _KINDS.values():
        theirs = options_of(other)
        for name, default in options_of(cls).items():
            if theirs.get(name, default) != default:
                raise ValueError(
                    f"{cls.kind} and {other.kind} give {name} different defaults, {default} and "
                    f"{theirs[name]}: choose another name"
                )
    _KINDS[cls.kind] = cls
    return cls


def _check_options(cls: type[CompressorConfig]) -> None:
    """Raise ValueError where an annotation makes no field, or a field has no plain default."""
    fields = {field.name: field.default for field in dataclasses.fields(cls)}
    for name, hint in vars(cls).get("__annotations__", {}).items():
        if name not in fields and "ClassVar" not in str(hint):
            raise ValueError(
                f"the compressor {cls.__name__} in {file_of(cls)}: {name} is no field; write "
                "@dataclasses.dataclass(frozen=True, kw_only=True) between @register and the class"
            )
        if name in fields and not isinstance(fields[name], bool | int | float | str):
            raise ValueError(
                f"the compressor {cls.__name__} in {file_of(cls)}: {name} needs a default, a "
                "number or a word, because it becomes a key of configurations"
            )


def compressors() -> dict[str, type[CompressorConfig]]:
    """Return kind -> config class for every compressor; it imports their files.

    Raises:
        RegistrationError: a file of this folder cannot be imported; the message names it.
    """
    import_all("latent_jax.chunking.fixed")
    return dict(sorted(_KINDS.items()))


def options_of(cls: type[CompressorConfig]) -> dict[str, Any]:
    """Return the options that a kind adds to the shared ones, with their defaults."""
    return {f.name: f.default for f in dataclasses.fields(cls) if f.name not in _SHARED}


def all_options() -> dict[str, Any]:
    """Return the options of all kinds: the section "compressor" of a configuration."""
    return {
        name: value for cls in compressors().values() for name, value in options_of(cls).items()
    }


def make_config(kind: str, options: Mapping[str, Any] = {}, **shared: Any) -> CompressorConfig:
    """Return the config of a compressor.

    Args:
        kind: the name of the compressor.
        options: options of any kinds; those of other kinds are ignored.
        **shared: the shared fields, and options of this kind.

    Raises:
        ValueError: the kind is unknown (the message names the nearest), a number is wrong, or what
            the compressor says of itself is not what `CompressorConfig` asks for.
    """
    check_word("compressor kind", kind, compressors())
    cls = compressors()[kind]
    own = options_of(cls)
    config = cls(**{name: value for name, value in options.items() if name in own}, **shared)
    _check_promises(config)
    return config


def _check_promises(config: CompressorConfig) -> None:
    """Raise ValueError at the first thing that a compressor says of itself in another form."""
    flops = config.forward_flops(config.max_length)
    are_flops = (
        isinstance(flops, Mapping)
        and flops.keys() == {"compress", "decompress"}
        and all(isinstance(n, int | float) and 0 <= n < math.inf for n in flops.values())
    )
    causal = config.is_causal
    are_bools = isinstance(causal, tuple) and [type(one) for one in causal] == [bool, bool]
    there, back = config.compressor(), config.decompressor()
    for name, value, is_right, must in (
        ("forward_flops", flops, are_flops, 'map "compress" and "decompress" to FLOPs'),
        ("is_causal", causal, are_bools, "be two of True and False, there and back"),
        ("compressor", there, isinstance(there, nn.Module), "give a Flax module"),
        ("decompressor", back, isinstance(back, nn.Module), "give a Flax module"),
    ):
        if not is_right:
            raise ValueError(
                f"the compressor {type(config).__name__} in {file_of(type(config))}: {name} must "
                f"{must}; got {shown(value)}"
            )
