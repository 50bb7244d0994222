"""The registry of all families of methods; each family is one file of this folder."""

import importlib
import inspect
import pkgutil
import re

from latent_jax.methods.family import Family
from latent_jax.nearest import nearest

_FAMILIES: dict[str, Family] = {}

_WANTED = ("name", "summary", "example")


def register(cls: type[Family]) -> type[Family]:
    """Add a family, which every command then knows.

    Raises:
        TypeError: an attribute, a method or the docstring is missing; the message names it.
        ValueError: another family has this name, or it is no name.
    """
    missing = [key for key in _WANTED if not getattr(cls, key, "")]
    missing += [f"{key}()" for key in sorted(cls.__abstractmethods__)]
    missing += [] if (cls.__doc__ or "").strip() else ["a docstring"]
    if missing:
        raise TypeError(
            f"the family {getattr(cls, 'name', cls.__name__)!r} in {inspect.getfile(cls)} lacks "
            f"{', '.join(missing)}; latent_jax/methods/family.py says what each is"
        )
    if not re.fullmatch(r"\w+", cls.name):
        raise ValueError(f"{cls.name!r} cannot be the name of a family: letters and digits only")
    known = _FAMILIES.get(cls.name)
    # A module that is loaded anew registers its class again.
    places = [f"{each.__module__}.{each.__qualname__}" for each in (type(known), cls)]
    if known is not None and places[0] != places[1]:
        raise ValueError(f"two families are called {cls.name}: {' and '.join(places)}")
    _FAMILIES[cls.name] = cls()
    return cls


def families() -> dict[str, Family]:
    """Return every family by name, in alphabetical order."""
    _import_all()
    return dict(sorted(_FAMILIES.items()))


def looks() -> dict[str, tuple[int, int | None]]:
    """Return the rank and the colour of every family, for `reports.style.show_families`."""
    return {name: (known.rank, known.colour) for name, known in families().items()}


def family(name: str) -> Family:
    """Return the family of a name.

    Raises:
        ValueError: there is none; the message names the nearest, and examples of all.
    """
    known = families()
    if name not in known:
        raise ValueError(f"unknown method {name!r}{nearest(name, known)}; write {examples()}")
    return known[name]


def examples() -> str:
    """Return an example of each family, as a list within a sentence."""
    *others, last = (known.example for known in families().values())
    return f"{', '.join(others)} or {last}"


def describe() -> str:
    """Return a paragraph for people on each family and its options."""
    return "\n\n".join(_described(known) for known in families().values())


def _described(known: Family) -> str:
    lines = [f"{known.example}: {known.summary}"]
    for key, option in known.options.items():
        words = f"; one of {', '.join(option.words)}" if option.words else ""
        usual = "" if option.default is None else f" ({option.default})"
        lines.append(f"    {key:<11} {option.meaning}{words}{usual}")
    return "\n".join(lines)


def _import_all() -> None:
    """Import every file of this folder, so that a new family needs no other edit."""
    package = importlib.import_module("latent_jax.methods")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
