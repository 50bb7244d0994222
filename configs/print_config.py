"""Printing of a config: every key with its value, where it was set, and its comment.

Comments are read from the source code beside the defaults: `configs/common.py`, and the dataclasses
of its sections. So each comment is written only once.
"""

import ast
import dataclasses
import inspect
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Collection, Iterator
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from configs import common
from latent_jax.chunking.fixed.registry import compressors, options_of

DEFAULT, FILE, COMMAND_LINE = "default", "config file", "command line"


def print_config(config: ConfigDict, changed: Collection[str]) -> None:
    """Print one line for each key: key = value, where it was set, comment.

    Args:
        config: the result of a config file, with the changes of the command line.
        changed: dotted keys that the command line set.
    """
    rows = describe_config(config, changed)
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for words, origin, comment in rows:
        print(f"{words:{widths[0]}}  {origin:{widths[1]}}  {comment}".rstrip())


def describe_config(config: ConfigDict, changed: Collection[str]) -> list[tuple[str, str, str]]:
    """Return ("key = value", where it was set, comment) for each key; see `print_config`.

    A key that a config file sets to the default value counts as default. A config of several runs
    (`config.runs`) has each key once per run.
    """
    defaults, comments = dict(_flat(common.default())), read_comments()
    rows = []
    for key, value in _flat(config):
        known = re.sub(r"^runs\.[^.]+\.", "", key)
        if key in changed or known in changed:
            origin = COMMAND_LINE
        elif known in defaults and defaults[known] == value:
            origin = DEFAULT
        else:
            origin = FILE
        rows.append((f"{key} = {value!r}", origin, comments.get(known, "")))
    return rows


def read_comments() -> dict[str, str]:
    """Return dotted key -> comment, for every key of `configs.common.default`; "" without one."""
    comments = {}
    source = inspect.getsource(common)
    for statement in ast.walk(ast.parse(source)):
        if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
            continue
        root, _, key = ast.unparse(statement.targets[0]).partition(".")
        if root != "config":
            continue
        if key:
            comments[key] = _comment_of(statement, source)
        call = statement.value
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "_section":
            fields = _field_comments(getattr(common, ast.unparse(call.args[0])))
            comments |= {f"{key}.{name}".lstrip("."): text for name, text in fields.items()}
    for kind, dataclass in compressors().items():
        fields = _field_comments(dataclass)
        own = {name: f"{kind}: {fields[name]}" for name in options_of(dataclass)}
        comments |= {f"compressor.{name}": text for name, text in own.items()}
    return comments


def _field_comments(dataclass: type) -> dict[str, str]:
    """Return the comment of each field, or else its entry under "Attributes:" in the docstring."""
    comments = {}
    for base in reversed(dataclass.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        source = textwrap.dedent(inspect.getsource(base))
        described = _attributes(inspect.getdoc(base) or "")
        for statement in ast.parse(source).body[0].body:
            if isinstance(statement, ast.AnnAssign):
                name = statement.target.id
                comment = _comment_of(statement, source) or described.get(name, "")
                comments[name] = _with_words(comment, sys.modules[base.__module__])
    return comments


def _with_words(comment: str, module: ModuleType) -> str:
    """Return a comment with the words that a key may be in place of the constant that has them."""

    def words(match: re.Match) -> str:
        found = getattr(module, match[1], None)
        is_words = isinstance(found, Collection) and all(isinstance(word, str) for word in found)
        return " | ".join(found) if is_words else match[0]

    return re.sub(r"one of `?([A-Z][A-Z_]+)`?", words, comment)


def _comment_of(statement: ast.stmt, source: str) -> str:
    """Return the comment after the end of a statement, or else within it, or else above it."""
    comments = _comments_by_line(source)
    first, last = statement.lineno, statement.end_lineno
    if last in comments:
        return comments[last]
    within = [comments[line] for line in range(first, last) if line in comments]
    if within:
        return " ".join(within)
    lines, above = source.splitlines(), []
    line = first - 1
    while line in comments and lines[line - 1].lstrip().startswith("#"):
        above.insert(0, comments[line])
        line -= 1
    return " ".join(above)


def _comments_by_line(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _attributes(docstring: str) -> dict[str, str]:
    """Return name -> text of the entries under "Attributes:" in a docstring."""
    found = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", docstring, flags=re.MULTILINE)
    entries = re.split(r"^    (?=\w+: )", found[1], flags=re.MULTILINE) if found else []
    named = (entry.partition(": ") for entry in entries if entry.strip())
    return {name: " ".join(text.split()) for name, _, text in named}


def _flat(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, ConfigDict) and len(value):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
