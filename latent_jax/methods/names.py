"""The literature names of methods: `Bytes`, `BPE[v=32000]`, `EqualInfoAC[b=16,v=65k]`,
`Latent[conv1d,c=2,k=512]`, parsed and printed.

A name is the one string that every command accepts and prints. Numbers may be written with k and M
as the literature does: powers of two where the field means them (65k = 65,536), thousands
otherwise.
"""

import dataclasses
import re

from latent_jax.nearest import check_word, nearest
from latent_jax.tokenizers.equal_info import RESETS, RULES, usual_rule

_BINARY = {"1k": 1024, "2k": 2048, "4k": 4096, "8k": 8192, "16k": 16384, "32k": 32768, "65k": 65536}

GRAMMAR = {
    "Bytes": ((), {}),
    "BPE": ((), {"v": int}),
    "SentencePiece": ((), {"v": int}),
    "GZip": ((), {"v": int, "header": str}),
    "StaticAC": ((), {"v": int, "p": int}),
    "AC": ((), {"v": int, "p": int}),
    "EqualInfoAC": ((), {"b": int, "v": int, "rule": str, "reset": str, "p": int}),
    "Latent": (("compressor",), {"c": int, "k": int, "q": str}),
}
"""Family -> (positional options, keyword options with their types)."""

DEFAULTS = {"q": "vq", "header": "yes", "reset": "every", "p": 14}
"""Options that a name may leave out. Continuous latents (q=none) have no codes to count, so k is
left out as well. The rule of EqualInfoAC depends on the others (`usual_rule`). What they mean
stands with the classes in `latent_jax.tokenizers`.
"""

WORDS = {
    "header": ("yes", "no"),
    "rule": ("likeliest", *RULES),
    "reset": tuple(RESETS),
}
"""Options whose value is one of a few words."""


@dataclasses.dataclass(frozen=True)
class MethodName:
    """A parsed name: family "Latent", options {"compressor": "conv1d", "c": 2, "k": 512}."""

    family: str
    options: dict

    def __getitem__(self, option):
        return self.options[option]

    def __str__(self):
        positional, keywords = GRAMMAR[self.family]
        parts = [str(self.options[name]) for name in positional]
        usual = {**DEFAULTS, "rule": _usual_rule(self.options)}
        parts += [
            f"{name}={self.options[name]}"
            for name in keywords
            if self.options[name] != usual.get(name, 0)
        ]
        return f"{self.family}[{','.join(parts)}]" if parts else self.family


def parse(name: str) -> MethodName:
    """Parse a literature name.

    Raises:
        ValueError: for an unknown family or option (with the nearest known one), a missing option,
            or a value that is not a number where one is due.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\[(.*)\])?\s*", name)
    if not match:
        raise ValueError(f"{name!r} is not a method; write a name such as {_examples()}")
    family, body = match.groups()
    if family not in GRAMMAR:
        raise ValueError(
            f"unknown method {family!r} in {name!r}{nearest(family, GRAMMAR)}; write {_examples()}"
        )
    positional, keywords = GRAMMAR[family]
    options, rest = {}, list(positional)
    for part in filter(None, (part.strip() for part in (body or "").split(","))):
        key, equals, value = part.partition("=")
        key, value = (
            (key.strip(), value.strip()) if equals else (rest.pop(0) if rest else None, part)
        )
        if key in options:
            raise ValueError(f"option {key!r} stands twice in {name!r}")
        if key not in keywords and key not in positional:
            known = [*positional, *keywords]
            raise ValueError(
                f"unknown option {part!r} in {name!r}{nearest(key or part, known)}; "
                f"{family} takes {', '.join(known) or 'none'}"
            )
        if key in rest:
            rest.remove(key)
        options[key] = _number(value, name) if keywords.get(key) is int else value
    for option, words in WORDS.items():
        if option in options:
            check_word(f"{option} in {name!r}", options[option], words)
    if options.get("q") == "none":
        if "k" in options:
            raise ValueError(f"{name!r} has continuous latents (q=none) and no codes: leave k out")
        options["k"] = 0
    for option in (*positional, *keywords):
        if option not in options and option != "rule":
            if option not in DEFAULTS:
                raise ValueError(f"{name!r} lacks {option}; write a name such as {_examples()}")
            options[option] = DEFAULTS[option]
    if "rule" in keywords:
        options.setdefault("rule", _usual_rule(options))
    return MethodName(family, options)


def _usual_rule(options):
    if "b" not in options:
        return ""
    return usual_rule(options["b"], options["v"], options["reset"])


def _number(text, name):
    if text in _BINARY:
        return _BINARY[text]
    match = re.fullmatch(r"(\d+)(k|M)?", text)
    if not match or int(match[1]) < 1:
        raise ValueError(f"{text!r} in {name!r} is not a positive whole number such as 512 or 65k")
    return int(match[1]) * {None: 1, "k": 1000, "M": 1_000_000}[match[2]]


def _examples():
    return (
        "Bytes, BPE[v=4096], SentencePiece[v=4096], GZip[v=256], StaticAC[v=256], AC[v=256], "
        "EqualInfoAC[b=16,v=65k] or Latent[conv1d,c=2,k=512]"
    )
