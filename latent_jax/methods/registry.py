"""The registry of all families of methods; each family is one file of this folder."""

import re
from collections.abc import Mapping

from latent_jax.methods.family import Family, Option
from latent_jax.nearest import nearest, short
from latent_jax.registration import file_of, import_all, shown

_FAMILIES: dict[str, Family] = {}

_WANTED = ("name", "summary", "example")
_METHODS = ("vocab_size", "make_code", "make_task", "make_writer", "defaults", "check")
_METHODS += ("row_code", "row_layout", "builds", "is_learned")
_FLAGS = ("learns_code", "reads_ids", "reads_gpt2_files", "ids_are_bytes", "reads_problems")
_FLAGS += ("rotary",)


def register(cls: type[Family] | None = None) -> type[Family]:
    """Add a family, which every command then knows.

    Raises:
        TypeError: this is no family, or an attribute, a method or the docstring is missing; the
            message names it.
        ValueError: another family has this name, it is no name, or an attribute is not what
            `Family` says.
    """
    if not (isinstance(cls, type) and issubclass(cls, Family)):  # None: of "@register()"
        raise TypeError(
            "@register, without brackets, stands above a class that extends Family of "
            f"latent_jax/methods/family.py, and not above {shown(cls)}"
        )
    missing = [key for key in _WANTED if not getattr(cls, key, "")]
    missing += [f"{key}()" for key in sorted(cls.__abstractmethods__)]
    missing += [] if (cls.__doc__ or "").strip() else ["a docstring"]
    if missing:
        raise TypeError(
            f"the family {getattr(cls, 'name', cls.__name__)!r} in {file_of(cls)} lacks "
            f"{', '.join(missing)}; latent_jax/methods/family.py says what each is"
        )
    _check_declared(cls)
    known = _FAMILIES.get(cls.name)
    # A module that is loaded anew registers its class again.
    places = [f"{each.__module__}.{each.__qualname__}" for each in (type(known), cls)]
    if known is not None and places[0] != places[1]:
        raise ValueError(f"two families are called {cls.name}: {' and '.join(places)}")
    _FAMILIES[cls.name] = cls()
    return cls


def _check_declared(cls: type[Family]) -> None:
    """Raise ValueError at the first attribute that is not what `Family` says."""
    is_text = {key: isinstance(getattr(cls, key), str) for key in _WANTED}
    if is_text["name"] and not re.fullmatch(r"\w+", cls.name):
        raise ValueError(f"{cls.name!r} cannot be the name of a family: letters and digits only")
    stated = cls.options if isinstance(cls.options, Mapping) else {}
    wrong_key = next((key for key in stated if not re.fullmatch(r"[^\W\d]\w*", str(key))), None)
    no_option = next((key for key, one in stated.items() if not isinstance(one, Option)), None)
    amounts = isinstance(cls.amounts, tuple) and [isinstance(unit, str) for unit in cls.amounts]
    is_colour = cls.colour is None or (type(cls.colour) is int and cls.colour >= 0)
    example = rf"{cls.name}(\[.*\])?"
    promises = [
        *((key, right, "be text") for key, right in is_text.items()),
        ("summary", "\n" not in str(cls.summary), "be one line"),
        ("example", re.fullmatch(example, str(cls.example)), f"be a name of {cls.name}"),
        ("options", isinstance(cls.options, Mapping), "be a dict of name: Option(...)"),
        ("options", wrong_key is None, f"have words as names, and not {wrong_key!r}"),
        ("options", no_option is None, f"have an Option(...) for {no_option!r}"),
        ("rank", type(cls.rank) in (int, float), "be a number"),
        ("colour", is_colour, "be the number of a colour, or None"),
        ("amounts", amounts and all(amounts), "be a tuple of units"),
        *((key, callable(getattr(cls, key)), "be a method") for key in _METHODS),
        *((key, isinstance(getattr(cls, key), bool), "be True or False") for key in _FLAGS),
    ]
    for key, is_right, must in promises:
        if not is_right:
            raise ValueError(
                f"the family {cls.name!r} in {file_of(cls)}: {key} must {must}; got "
                f"{shown(getattr(cls, key))}"
            )


def families() -> dict[str, Family]:
    """Return every family by name, in alphabetical order.

    Raises:
        RegistrationError: a file of this folder cannot be imported; the message names it.
    """
    import_all("latent_jax.methods")
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
        raise ValueError(
            f"unknown method {short(name)!r}{nearest(name, known)}; write {examples()}"
        )
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
