"""What analyses can be asked for: a frozen dataclass each, whose fields are flags of a command."""

import dataclasses
from typing import Any

SENTENCE = (
    "The three currently living species are: African savanna elephants, African forest elephants, "
    "and the Asian elephants."
)
"""Of Lester et al. 2024, table 7."""


def option(default: Any, help: str, **more: Any) -> Any:
    """Return a field of a dataclass of options: its name, default and help are those of a flag.

    Args:
        default: a text, an integer, None for a text that may be missing, () for several texts.
        help: a sentence.
        **more: `lower_bound` of an integer; `commas=True` for several texts in one flag, which is
            repeated otherwise.
    """
    return dataclasses.field(default=default, metadata={"help": help, **more})


def seed_option() -> Any:
    """Return the field of a seed."""
    return option(0, "Of everything that is drawn by chance.", lower_bound=0)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Of analyses that look at trained runs, on one text."""

    workdir: tuple[str, ...] = option((), "Run folder. May be repeated.")
    data: tuple[str, ...] = option((), "Text: paths, globs or folders between commas.", commas=True)
    text_field: str = option("text", "Field of .jsonl lines that is the text.")
    max_bytes: int = option(0, "Look at so many held-out bytes; 0 = all.", lower_bound=0)
    cut_bytes: int = option(
        0,
        "Cut documents into texts of so many bytes: M1 codes many at once. 0 = none.",
        lower_bound=0,
    )
    json: str | None = option(None, "Also write the unrounded records to this file.")
    out: str = option("", "Folder for pictures; empty makes none.")


@dataclasses.dataclass(frozen=True)
class CodeOptions(RunOptions):
    """Of analyses that look at any codes: tokenizers, and what runs read and write."""

    tokenizer: tuple[str, ...] = option((), "Literature name. May be repeated.")
    m1: str = option("", "Byte model of coders, a file; by default the shipped one.")
    train_bytes: int = option(
        0, "Tokenizers and n-grams learn from so many bytes; 0 = all.", lower_bound=0
    )


@dataclasses.dataclass(frozen=True)
class TextOptions(CodeOptions):
    """Of analyses that look at any codes, on several texts."""

    text: tuple[str, ...] = option((), "One of several texts, NAME=FILES. May be repeated.")


@dataclasses.dataclass(frozen=True)
class SentenceOptions(CodeOptions):
    """Of analyses that look at any codes, and at what they make of one sentence."""

    seed: int = seed_option()
    sentence: str = option(
        SENTENCE, "Decoded id by id (tokens), or put behind other words (stability)."
    )
