"""What the fields of a configuration may be, stated beside them, and one check for all of them.

    log_every: Count = 10
    dropout: Annotated[float, within("[0, 1)")] = 0.0
    schedule: Annotated[str, one_of(SCHEDULES)] = "cosine"

A dataclass calls `check_fields(self)` in its `__post_init__`; a section of a configuration that is
not made into its dataclass yet is checked by `check_values`. Every number is finite. Fields of
other types than numbers, words, bools and tuples of those are left to the dataclass.
"""

import dataclasses
import functools
import math
import numbers
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from latent_jax.nearest import check_word, short

INT32 = 2**31 - 1
"""What a device counts steps, ids and positions with."""

BYTES = 2**62
"""More raw bytes than there are."""

NAMES = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false"}


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`.

    Attributes:
        low: the first one.
        high: the last one.
        has_low: whether `low` is one of them.
        has_high: whether `high` is one of them.
        text: as a message states it.
    """

    low: float
    high: float
    has_low: bool
    has_high: bool
    text: str

    def holds(self, value: float) -> bool:
        """Return whether a finite number is one of them."""
        above = value >= self.low if self.has_low else value > self.low
        below = value <= self.high if self.has_high else value < self.high
        return above and below

    def nearest(self, value: float, default: Any) -> Any:
        """Return the number of the range that is nearest to one outside of it.

        Where the range ends without its last number, that is the default.
        """
        if math.isfinite(value) and value < self.low and self.has_low:
            return self.low
        if math.isfinite(value) and value > self.high and self.has_high:
            return self.high
        return default


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of a field that is a choice."""

    words: tuple[str, ...]


def at_least(low: float, up_to: float = INT32) -> Range:
    """Return the numbers from `low` on; `up_to` is a limit that only a mistake reaches."""
    return Range(low, up_to, True, True, f"at least {low}")


def more_than(low: float, up_to: float) -> Range:
    """Return the numbers above `low`, up to a limit as in `at_least`."""
    return Range(low, up_to, False, True, f"more than {low}")


def within(interval: str) -> Range:
    """Return an interval as mathematics writes it: "[0, 1)" has 0 and not 1."""
    first, low, high, last = re.fullmatch(r"([\[(])([\d.]+), ([\d.]+)([\])])", interval).groups()
    return Range(float(low), float(high), first == "[", last == "]", f"in {interval}")


def one_of(words: Iterable[str]) -> Words:
    """Return the words of a choice."""
    return Words(tuple(words))


Natural = Annotated[int, at_least(0)]
Count = Annotated[int, at_least(1)]
Size = Annotated[int, at_least(1, 2**24)]
"""Of an axis of an array."""
Seed = Annotated[int, at_least(0, 2**32 - 1)]
ByteCount = Annotated[int, at_least(0, BYTES)]
Weight = Annotated[float, at_least(0, 1e9)]
"""Of a part of a loss: in float32 its products stay finite."""


def check_fields(config: Any, prefix: str = "") -> None:
    """Raise ValueError at the first field of a dataclass that is not what it may be.

    Args:
        config: the dataclass's instance.
        prefix: stands before names of fields.
    """
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    check_values(type(config), values, prefix)


def check_values(dataclass: type, values: Mapping[str, Any], prefix: str = "") -> None:
    """Raise ValueError at the first value that a field of a dataclass may not have.

    Args:
        dataclass: whose fields say what they may be.
        values: by name; those without a field are passed over.
        prefix: stands before their names, such as "optimizer.".
    """
    hints = _hints(dataclass)
    for field in dataclasses.fields(dataclass):
        if field.name in values:
            default = None if field.default is dataclasses.MISSING else field.default
            check(f"{prefix}{field.name}", values[field.name], hints[field.name], default)


def check(name: str, value: Any, hint: Any, default: Any = None) -> None:
    """Raise ValueError where a value is not of a type, or outside of what the type is annotated by.

    Args:
        name: of the value, for the message.
        value: any.
        hint: int, float, str, bool, a tuple or a union of those, each maybe `Annotated`; whatever
            else it is, everything passes.
        default: what a message may propose.
    """
    said = ()
    if typing.get_origin(hint) is Annotated:
        hint, *said = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        each, *_ = typing.get_args(hint)
        if not isinstance(value, tuple | list):
            raise ValueError(f"{name} must be a list of values; got {_shown(value)}")
        for number, one in enumerate(value):
            check(f"{name}[{number}]", one, each)
        return
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = typing.get_args(hint)
        fitting = (kind for kind in kinds if isinstance(value, typing.get_origin(kind) or kind))
        check(name, value, next(fitting, kinds[0]), default)
        return
    if hint in NAMES:
        _check_type(name, value, hint, said, default)
    for one in said:
        if isinstance(one, Words):
            check_word(name, value, one.words)
        elif isinstance(one, Range) and not one.holds(value):
            is_beyond = value > one.high and not one.text.startswith("in ")
            text = f"at most {one.high}" if is_beyond else one.text
            way_out = _proposal(one.nearest(value, default), default)
            raise ValueError(f"{name} must be {text}; got {short(repr(value))}{way_out}")


def _check_type(name: str, value: Any, kind: type, said: Iterable[Any], default: Any) -> None:
    abstract = {int: numbers.Integral, float: numbers.Real}.get(kind, kind)
    is_number = kind in (int, float)
    fits = isinstance(value, abstract) and not (is_number and isinstance(value, bool))
    if fits and (not is_number or math.isfinite(value)):
        return
    ranges = [one.text for one in said if isinstance(one, Range)]
    raise ValueError(
        f"{name} must be {' '.join([NAMES[kind], *ranges])}; got {_shown(value)}"
        f"{_proposal(default, default)}"
    )


def _proposal(value: Any, default: Any) -> str:
    """Return the end of a message."""
    if value is None:
        return ""
    return f": its default is {default!r}" if value == default else f": the nearest is {value!r}"


def _shown(value: Any) -> str:
    """Return a value as a message shows it, with its type where that is not plain from it."""
    text = short(repr(value), 80)
    return text if isinstance(value, float) else f"{text} ({type(value).__name__})"


@functools.cache
def _hints(dataclass: type) -> dict[str, Any]:
    return typing.get_type_hints(dataclass, include_extras=True)
