"""JSON that is read back: one reader for all, and digests that a file carries in itself.

What cannot be read is a `ValueError` that names the file, the line, what was expected and what was
found. Where the system fails to read, it is an `AwayError`: nothing is known of the file then. A
file of others may hold anything: nesting of any depth, numbers that overflow, bytes that are no
text, or more than memory holds.

A sealed object carries a digest of all that it says, so that a flipped bit is found, and beside it
a word that says so, so that a flip in the name of the digest is found too:

    {"sealed": 1, ..., "digest": 151382407125711}
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from latent_jax.paths import is_remote, open_path, open_to_read, replace_file
from latent_jax.system_errors import away, is_away

MOST_BYTES = 2**28
"""Of a file that is read whole; the largest of ours, a vocabulary or metrics, are far smaller."""

MOST_DEPTH = 100
"""Of nested lists and objects."""

MOST_DIGITS = 40
"""Of a whole number, so that 128 bits fit; arrays and clocks overflow with much larger ones."""

SEALED, DIGEST = "sealed", "digest"
"""The keys that a seal adds."""

WORDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}
"""The types that can be asked for; a whole number is also a number, and true is neither."""

Keys = Mapping[str, type]


class JsonError(ValueError):
    """A file, or a line of it, is not the JSON that was expected."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is expected of a value, and what to do where it is something else.

    Attributes:
        type: of the value; one of `WORDS`.
        keys: that an object must have, and the type of each.
        maybe: that it may have, likewise.
        items: type of each element of a list, or of each value of an object.
        error: class of the error, which is a ValueError.
        way_out: the last clause of its message.
    """

    type: type | None = dict
    keys: Keys = dataclasses.field(default_factory=dict)
    maybe: Keys = dataclasses.field(default_factory=dict)
    items: type | None = None
    error: type[ValueError] = JsonError
    way_out: str = ""

    def fail(self, place: Any, what: str, cause: BaseException | None = None) -> None:
        """Raise the error for a place, which is a file or a line of one."""
        out = f": {self.way_out}" if self.way_out else ""
        raise self.error(f"{place} {what}{out}") from cause


ANY = Kind(None)
OBJECT = Kind(dict)
RECORDS = Kind(list, items=dict)
"""A list of objects."""


def parse(
    text: str | bytes,
    place: Any,
    kind: Kind = OBJECT,
    unreadable: str = "cannot be read as JSON",
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """Return a value of JSON text.

    Args:
        text: UTF-8 where it is bytes.
        place: what the message names: a file, or a line of one.
        kind: what is expected.
        unreadable: what the message says of text that is no JSON.
        pairs: makes an object of its names and values; None = the last of two of one name counts.

    Raises:
        ValueError: of the kind's class; it is no JSON, or something else than was expected.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(
            text,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=pairs,
        )
    except UnicodeDecodeError as error:
        kind.fail(place, f"is not UTF-8 text: {error.reason} at byte {error.start}", error)
    except RecursionError as error:
        kind.fail(place, "is nested too deeply to be read as JSON", error)
    except ValueError as error:
        kind.fail(place, f"{unreadable}: {error}", error)
    return check(value, place, kind)


def check(value: Any, place: Any, kind: Kind) -> Any:
    """Return a value that is what was expected.

    Raises:
        ValueError: of the kind's class; the message says what was expected and what was found.
    """
    if _is_deeper(value, MOST_DEPTH):
        kind.fail(place, f"is nested more than {MOST_DEPTH} deep, which is not what we write")
    if kind.type is not None and not is_a(value, kind.type):
        kind.fail(place, f"holds {describe(value)}, where {WORDS[kind.type]} was expected")
    for key, wanted in {**kind.maybe, **kind.keys}.items():
        if key not in value and key in kind.maybe:
            continue
        if key not in value:
            kind.fail(place, f"has no {key!r}, where {WORDS[wanted]} was expected")
        if not is_a(value[key], wanted):
            found = describe(value[key])
            kind.fail(place, f"has {found} as its {key!r}, where {WORDS[wanted]} was expected")
    if kind.items is not None:
        entries = value.items() if isinstance(value, dict) else enumerate(value, start=1)
        for name, entry in entries:
            if not is_a(entry, kind.items):
                wanted = WORDS[kind.items]
                kind.fail(
                    place, f"holds {describe(entry)} at {name!r}, where {wanted} was expected"
                )
    return value


def read_json(path: str | os.PathLike, kind: Kind = OBJECT) -> Any:
    """Return the value in a JSON file; a seal is checked and taken off.

    Args:
        path: on a disk or in a bucket.
        kind: what is expected.

    Raises:
        ValueError: of the kind's class; it is not there, its digest is another one, or it holds
            something else than was expected.
        AwayError: the system failed to read it.
    """
    return _unsealed(read_text(path, kind), path, kind)[0]


def read_sealed(path: str | os.PathLike, kind: Kind = OBJECT) -> tuple[Any, bool]:
    """Return what `read_json` does, and whether there was a seal: older files have none."""
    return _unsealed(read_text(path, kind), path, kind)


def read_lines(path: str | os.PathLike, kind: Kind = OBJECT) -> Iterator[Any]:
    """Yield the values of a file with one on each line; a half-written last line is left out.

    Where one line has a digest, all must have one.

    Raises:
        ValueError: see `read_json`; the message names the line too.
    """
    path = open_path(path)
    text, first = read_text(path, kind), None
    *lines, last = text.split("\n")
    if last and is_json(last):  # a torn object is never JSON, so this one is whole
        lines.append(last)
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        value = parse(line, place, kind, "is not JSON")
        has_digest = isinstance(value, dict) and DIGEST in value
        first = has_digest if first is None else first
        if has_digest != first:
            kind.fail(place, "has lost its digest, or gained one: the file was damaged")
        if has_digest:
            _check_digest(value, place, kind)
        yield value


def read_text(path: str | os.PathLike, kind: Kind = OBJECT) -> str:
    """Return the text of a file, see `read_json` for the errors."""
    path = open_path(path)
    try:
        # No stat beforehand: what is no plain file, as a pipe, has no size that holds.
        with open_to_read(path) as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        is_bucket = is_remote(path) and not isinstance(error, FileNotFoundError)
        if is_bucket or is_away(error):
            raise away(path, error) from error
        kind.fail(path, f"cannot be read: {error.strerror or error}", error)
    except Exception as error:  # clients of buckets have errors of their own
        raise away(path, error) from error
    if len(content) > MOST_BYTES:
        kind.fail(path, f"has more than {MOST_BYTES:,} bytes, which nothing that we write has")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        kind.fail(path, f"is not UTF-8 text: {error.reason} at byte {error.start}", error)
        raise  # not reached; for who reads types


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with its seal."""
    marked = {SEALED: 1, **value}
    return {**marked, DIGEST: digest_of(marked)}


def with_digest(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with its digest alone, for one line among others that have theirs."""
    return {**value, DIGEST: digest_of(value)}


def write_sealed(path: str | os.PathLike, value: Mapping[str, Any]) -> None:
    """Write a sealed object as a JSON file, whole or not at all."""
    write_json(path, sealed(value))


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    replace_file(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def digest_of(value: Any) -> int:
    """Return 48 bits of SHA-256 over a value: however it is spelled, and exact in any reader."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def is_json(text: str) -> bool:
    """Return whether a text is JSON of any kind."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def is_a(value: Any, kind: type) -> bool:
    """Return whether a value is of a type of `WORDS`."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def describe(value: Any) -> str:
    """Return a few words for a value that was not expected."""
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return f"{WORDS[type(value)]} of {len(value)}" if value else f"an empty {_word(value)}"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _word(value: Any) -> str:
    return "object" if isinstance(value, dict) else "list"


def _unsealed(text: str, path: Any, kind: Kind) -> tuple[Any, bool]:
    value = parse(text, path, Kind(None, error=kind.error, way_out=kind.way_out))
    is_sealed = isinstance(value, dict) and bool({SEALED, DIGEST} & value.keys())
    if is_sealed:
        if not {SEALED, DIGEST} <= value.keys():
            kind.fail(path, "was damaged: a part of its seal is missing")
        _check_digest(value, path, kind)
        del value[SEALED]
    return check(value, path, kind), is_sealed


def _check_digest(value: dict[str, Any], place: Any, kind: Kind) -> None:
    """Take the digest off, and refuse a value of another one."""
    stated = value.pop(DIGEST)
    if stated != digest_of(value):
        kind.fail(place, f"was damaged or changed: its digest is {digest_of(value)}, not {stated}")


def _is_deeper(value: Any, depth: int) -> bool:
    layer = [value]
    for _ in range(depth + 1):
        layer = [
            entry
            for found in layer
            if isinstance(found, dict | list)
            for entry in (found.values() if isinstance(found, dict) else found)
        ]
        if not layer:
            return False
    return True


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"{text[:12]}... is a whole number of more than {MOST_DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
