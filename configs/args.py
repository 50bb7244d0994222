"""The arguments of a config file: `configs/latent_lm.py:size=nano,c=4` becomes size="nano" and c=4.

A config file is a function of a few arguments, each of which may change many config keys. Any
single config key is set with --config.KEY=VALUE instead. An argument that the file does not take, a
value of another type, and an argument given twice are refused. The idea is `parse_arg` in
big_vision's `configs/common.py`.
"""

import math
import re

from ml_collections import ConfigDict

from latent_jax.nearest import nearest

RENAMED = {"boundaries": "router"}
"""Older name of an argument -> its name."""


def parse_args(argument_string: str, **defaults: bool | int | float | str) -> ConfigDict:
    """Parse the text after the colon of `--config FILE:key=value,key=value`.

    The type of a value is that of its default: a bool takes true or false, an int whole numbers, a
    float finite numbers, and a str any text that is not empty. Commas within square brackets are
    part of the value, which allows method names: `method=Latent[conv1d,c=2,k=512],size=nano`.

    Args:
        argument_string: the text that the user wrote; "" keeps every default.
        **defaults: the arguments that the config file takes, with their defaults.

    Returns:
        All arguments by name, locked, so that a misspelt name raises.

    Raises:
        ValueError: an argument is unknown, given twice, or has no valid value. The message names
            the argument; for an unknown one also the nearest known, and all with their defaults.
        TypeError: a default is not a bool, int, float or str.
    """
    values = dict(defaults)
    given = set()
    for part in _split(argument_string):
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"config argument {part.strip()!r} is not key=value{_known(defaults)}")
        if RENAMED.get(key) in defaults and key not in defaults:
            new = RENAMED[key]
            raise ValueError(f"config argument {key!r} is called {new!r} now: write {new}={text}")
        if key not in defaults:
            raise ValueError(
                f"unknown config argument {key!r}{nearest(key, defaults)}{_known(defaults)}"
            )
        if key in given:
            raise ValueError(f"config argument {key!r} is given twice in {argument_string!r}")
        given.add(key)
        values[key] = _convert(key, text, defaults[key])
    return ConfigDict(values).lock()


def _split(text):
    """Return the parts between the commas outside of square brackets; none for blank text."""
    if not text.strip():
        return []
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth != 0:
        raise ValueError(f"the square brackets in config arguments {text!r} do not match")
    return parts


def _convert(key, text, default):
    """Return `text` as a value of the type of `default`."""
    if isinstance(default, bool):
        values = {"true": True, "false": False}
        if text.lower() in values:
            return values[text.lower()]
        wanted = "true or false"
    elif isinstance(default, int):
        if re.fullmatch(r"[+-]?[0-9]+(_[0-9]+)*", text):
            return int(text)
        wanted = "a whole number"
    elif isinstance(default, float):
        # float() would also accept "nan" and "infinity".
        if re.fullmatch(r"[+-]?[0-9_.]+([eE][+-]?[0-9]+)?", text):
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if math.isfinite(value):
                return value
        wanted = "a finite number"
    elif isinstance(default, str):
        if text:
            return text
        wanted = "text; leave the argument out for its default"
    else:
        raise TypeError(
            f"the default of config argument {key!r} must be bool, int, float or str, "
            f"not {type(default).__name__}"
        )
    raise ValueError(
        f"config argument {key}={text!r} must be {wanted} (its default is {_show(default)})"
    )


def _known(defaults):
    """Return the end of a message: the arguments that the config file takes, with defaults."""
    if not defaults:
        return "; this config takes no arguments"
    return "; arguments and their defaults: " + ", ".join(
        f"{key}={_show(value)}" for key, value in defaults.items()
    )


def _show(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
