"""The literature names of methods, parsed: `Bytes`, `BPE[v=32000]`, `EqualInfoAC[b=16,v=65k]`,
`Latent[conv1d,c=2,k=512]`.

A name is the one string that every command accepts and prints. Numbers may be written with k and M
as in the literature: 1k, 2k, 4k, 8k, 16k, 32k and 65k are powers of two (65k = 65,536), every other
k is a thousand. Where an option is no count, decimals such as 4.5 are numbers too.
"""

import dataclasses
import decimal
import re
from collections.abc import Iterable, Mapping
from typing import Any

from latent_jax.methods import registry
from latent_jax.methods.family import Family, MethodName, Option
from latent_jax.nearest import nearest, short
from latent_jax.registration import file_of, shown

LONGEST = 200
"""Characters of a name: more are a mistake, or from a stranger."""

_BINARY = {"1k": 1024, "2k": 2048, "4k": 4096, "8k": 8192, "16k": 16384, "32k": 32768, "65k": 65536}


def parse(name: str) -> MethodName:
    """Parse a literature name.

    Raises:
        ValueError: for an unknown family or option (with the nearest known one), a missing option,
            a value that its option cannot have, or options that do not go together.
    """
    if len(name) > LONGEST:
        raise ValueError(
            f"{short(name)!r} is not a method: it has {len(name):,} characters, and a name has at "
            f"most {LONGEST}"
        )
    match = re.fullmatch(r"\s*(\w+)\s*(?:\[(.*)\])?\s*", name)
    if not match:
        raise ValueError(
            f"{short(name)!r} is not a method; write a name such as {registry.examples()}"
        )
    family = registry.family(match[1])
    stated = _stated(family, match[2] or "", short(name))
    usual = _usual(family, stated)
    missing = [key for key in family.options if key not in stated and key not in usual]
    if missing:
        raise ValueError(
            f"{short(name)!r} lacks {_listed(family, missing)}; write a name such as "
            f"{family.example}"
        )
    options = {key: stated.get(key, usual.get(key)) for key in family.options}
    method = MethodName(family.name, options, _print(family, options))
    family.check(method)
    return method


def renewed(name: str) -> str:
    """Return a name with older names of options replaced by those of today.

    Run folders hold such names; a command that states one is told the new one. What is no name
    comes back as it is.
    """
    match = re.match(r"\s*(\w+)\s*\[", name)
    known = registry.families().get(match[1]) if match else None
    for old, new in (known.renamed if known else {}).items():
        name = re.sub(rf"([\[,]\s*){old}(\s*=)", rf"\g<1>{new}\g<2>", name)
    return name


def with_options(method: MethodName, **options: Any) -> MethodName:
    """Return a method with some options changed; they are not checked."""
    changed = {**method.options, **options}
    text = _print(registry.family(method.family), changed)
    return dataclasses.replace(method, options=changed, text=text)


def _stated(family: Family, body: str, name: str) -> dict[str, Any]:
    """Return the options that a name states."""
    options: dict[str, Any] = {}
    positional = [key for key, option in family.options.items() if option.is_positional]
    for part in (part.strip() for part in body.split(",")) if body.strip() else ():
        if not part:
            raise ValueError(f"{name!r} has a comma without an option: leave the comma out")
        key, equals, value = (word.strip() for word in part.partition("="))
        if key in family.options and not value:
            raise ValueError(
                f"option {key!r} has no value in {name!r}; write a name such as {family.example}"
            )
        if not equals:
            key, value = (positional[0] if positional else ""), part
        if key in options:
            raise ValueError(f"option {key!r} stands twice in {name!r}")
        if key in family.renamed:
            raise ValueError(
                f"option {key!r} of {family.name} is called {family.renamed[key]!r} now: write "
                f"{family.renamed[key]}={short(value)} in {name!r}"
            )
        if key not in family.options:
            raise ValueError(
                f"unknown option {short(part)!r} in {name!r}"
                f"{nearest(key or part, family.options)}; {family.name} takes "
                f"{_listed(family, family.options) or 'none'}"
            )
        if key in positional:
            positional.remove(key)
        option = family.options[key]
        try:
            is_word = option.words or value in option.also
            options[key] = value if is_word else _number(value, option)
            option.check(key, options[key])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return options


def _usual(family: Family, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a family, which are words and numbers of its options."""
    usual = family.defaults(stated)
    fits = isinstance(usual, Mapping) and all(
        key in family.options and isinstance(value, int | float | str)
        for key, value in usual.items()
    )
    if not fits:
        raise ValueError(
            f"defaults() of the family {family.name} in {file_of(type(family))} must map names of "
            f"its options to words and numbers; got {shown(usual)}"
        )
    return dict(usual)


def _listed(family: Family, keys: Iterable[str]) -> str:
    return ", ".join(f"{key} ({family.options[key].meaning})" for key in keys)


def _print(family: Family, options: Mapping[str, Any]) -> str:
    """Return the name, without options that have their defaults."""
    usual = family.defaults(options)
    parts = [
        f"{_shown(options[key])}" if option.is_positional else f"{key}={_shown(options[key])}"
        for key, option in family.options.items()
        if options[key] != usual.get(key, 0)
    ]
    return f"{family.name}[{','.join(parts)}]" if parts else family.name


def _shown(value: int | float | str) -> str:
    """Return a value as names have it: a fraction without an exponent."""
    return f"{decimal.Decimal(repr(value)):f}" if isinstance(value, float) else str(value)


def _number(text: str, option: Option) -> int | float:
    """Return the number of a text; 0 is none unless an option may be so low."""
    if text in _BINARY:
        return _BINARY[text]
    if not option.is_whole and re.fullmatch(r"[0-9]+\.[0-9]+", text):
        number = float(text)
        return int(number) if number.is_integer() else number
    match = re.fullmatch(r"([0-9]+)(k|M)?", text)
    number = int(match[1]) * {None: 1, "k": 1000, "M": 1_000_000}[match[2]] if match else 0
    if not match or number < min(option.numbers.low, 1):
        such = "whole number such as 512 or 65k" if option.is_whole else "number such as 4 or 4.5"
        such += "".join(f", and is not {word}" for word in option.also)
        raise ValueError(f"{short(text)!r} is not a positive {such}")
    return number
