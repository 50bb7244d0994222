"""The registry of fixed compressors by their names in methods; each is one file of this folder."""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from latent_jax.chunking.fixed.base import CompressorConfig
from latent_jax.nearest import check_word

_KINDS: dict[str, type[CompressorConfig]] = {}

_SHARED = {field.name for field in dataclasses.fields(CompressorConfig)}


def register(cls: type[CompressorConfig]) -> type[CompressorConfig]:
    """Register a compressor under its `kind`, for method names and configs, and return it.

    Raises:
        TypeError: the class lacks its kind or an abstract method; the message lists them.
        ValueError: another kind has this name, or another default for an option of the same name.
    """
    missing = [] if getattr(cls, "kind", "") else ["kind"]
    missing += [f"{name}" for name in sorted(cls.__abstractmethods__)]
    if missing:
        raise TypeError(
            f"the compressor {cls.__name__} in {inspect.getfile(cls)} lacks {', '.join(missing)}; "
            "latent_jax/chunking/fixed/base.py describes each"
        )
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


def compressors() -> dict[str, type[CompressorConfig]]:
    """Return kind -> config class for every compressor; it imports their files."""
    package = importlib.import_module("latent_jax.chunking.fixed")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
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
        ValueError: the kind is unknown (the message names the nearest), or a number is wrong.
    """
    check_word("compressor kind", kind, compressors())
    cls = compressors()[kind]
    own = options_of(cls)
    return cls(**{name: value for name, value in options.items() if name in own}, **shared)
