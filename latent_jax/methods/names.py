"""The literature names of methods, parsed: `Bytes`, `BPE[v=32000]`, `EqualInfoAC[b=16,v=65k]`,
`Latent[conv1d,c=2,k=512]`.

A name is the one string that every command accepts and prints. Numbers may be written with k and M
as in the literature: 1k, 2k, 4k, 8k, 16k, 32k and 65k are powers of two (65k = 65,536), every other
k is a thousand.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from latent_jax.methods import registry
from latent_jax.methods.family import Family, MethodName
from latent_jax.nearest import check_word, nearest

_BINARY = {"1k": 1024, "2k": 2048, "4k": 4096, "8k": 8192, "16k": 16384, "32k": 32768, "65k": 65536}


def parse(name: str) -> MethodName:
    """Parse a literature name.

    Raises:
        ValueError: for an unknown family or option (with the nearest known one), a missing option,
            a value that should be a number and is none, or options that do not go together.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\[(.*)\])?\s*", name)
    if not match:
        raise ValueError(f"{name!r} is not a method; write a name such as {registry.examples()}")
    family = registry.family(match[1])
    stated = _stated(family, match[2] or "", name)
    usual = family.defaults(stated)
    missing = [key for key in family.options if key not in stated and key not in usual]
    if missing:
        raise ValueError(
            f"{name!r} lacks {_listed(family, missing)}; write a name such as {family.example}"
        )
    options = {key: stated.get(key, usual.get(key)) for key in family.options}
    method = MethodName(family.name, options, _print(family, options))
    family.check(method)
    return method


def with_options(method: MethodName, **options: Any) -> MethodName:
    """Return a method with some options changed; they are not checked."""
    changed = {**method.options, **options}
    text = _print(registry.family(method.family), changed)
    return dataclasses.replace(method, options=changed, text=text)


def _stated(family: Family, body: str, name: str) -> dict[str, Any]:
    """Return the options that a name states."""
    options: dict[str, Any] = {}
    positional = [key for key, option in family.options.items() if option.is_positional]
    for part in filter(None, (part.strip() for part in body.split(","))):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            key, value = (positional[0] if positional else ""), part
        if key in options:
            raise ValueError(f"option {key!r} stands twice in {name!r}")
        if key not in family.options:
            raise ValueError(
                f"unknown option {part!r} in {name!r}{nearest(key or part, family.options)}; "
                f"{family.name} takes {_listed(family, family.options) or 'none'}"
            )
        if key in positional:
            positional.remove(key)
        words = family.options[key].words
        if words:
            try:
                check_word(key, value, words)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        options[key] = value if words else _number(value, name)
    return options


def _listed(family: Family, keys: Iterable[str]) -> str:
    return ", ".join(f"{key} ({family.options[key].meaning})" for key in keys)


def _print(family: Family, options: Mapping[str, Any]) -> str:
    """Return the name, without options that have their defaults."""
    usual = family.defaults(options)
    parts = [
        f"{options[key]}" if option.is_positional else f"{key}={options[key]}"
        for key, option in family.options.items()
        if options[key] != usual.get(key, 0)
    ]
    return f"{family.name}[{','.join(parts)}]" if parts else family.name


def _number(text: str, name: str) -> int:
    if text in _BINARY:
        return _BINARY[text]
    match = re.fullmatch(r"(\d+)(k|M)?", text)
    if not match or int(match[1]) < 1:
        raise ValueError(f"{text!r} in {name!r} is not a positive whole number such as 512 or 65k")
    return int(match[1]) * {None: 1, "k": 1000, "M": 1_000_000}[match[2]]
