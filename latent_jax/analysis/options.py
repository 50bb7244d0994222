"""Options of the analyses: frozen dataclasses, whose fields are flags of `launch/analyze.py`."""

import dataclasses
from typing import Any

SENTENCE = (
    "The three currently living species are: African savanna elephants, African forest elephants, "
    "and the Asian elephants."
)
"""The sentence of Lester et al. 2024, table 7."""


def option(default: Any, help: str, **more: Any) -> Any:
    """Return a field of an options dataclass; its name, default and help become those of a flag.

    Args:
        default: a string, an integer, None for an optional string, or a tuple for several strings.
        help: a sentence.
        **more: `lower_bound` of an integer; `commas=True` if one flag takes several strings between
            commas. Without it the flag is repeated.
    """
    return dataclasses.field(default=default, metadata={"help": help, **more})


def seed_option() -> Any:
    """Return the field of a seed."""
    return option(0, "Seed of every random draw.", lower_bound=0)


def json_option() -> Any:
    """Return the field of the file that gets the records."""
    return option(None, "Also write the unrounded records to this file.")


def text_option() -> Any:
    """Return the field of several texts."""
    return option((), "One of several texts, NAME=FILES. May be repeated.")


def tokenizer_option() -> Any:
    """Return the field of several tokenizers."""
    return option((), "Literature name. May be repeated.")


def checkpoint_option() -> Any:
    """Return the field of the checkpoint of runs."""
    return option("best", "best, latest, or a step.")


def max_bytes_option() -> Any:
    """Return the field of how much text is analyzed."""
    return option(0, "Held-out bytes to analyze, about; 0 = all.", lower_bound=0)


def text_field_option() -> Any:
    """Return the field of the name that texts have in .jsonl files."""
    return option("text", "Field of .jsonl lines that is the text.")


def train_bytes_option() -> Any:
    """Return the field of how much text is learned from."""
    return option(0, "Bytes that tokenizers and n-grams learn from; 0 = all.", lower_bound=0)


@dataclasses.dataclass(frozen=True)
class ShownOptions:
    """Options of every analysis: of which runs, and where its records and pictures go."""

    workdir: tuple[str, ...] = option((), "Run folder. May be repeated.")
    json: str | None = json_option()
    out: str = option("", "Folder for pictures; empty makes none.")


@dataclasses.dataclass(frozen=True)
class NoisedTextOptions(ShownOptions):
    """Options of analyses of runs on text, as it is and with noise.

    Raises:
        ValueError: a whole number is below 0.
    """

    checkpoint: str = checkpoint_option()
    text: tuple[str, ...] = text_option()
    text_field: str = text_field_option()
    max_bytes: int = max_bytes_option()
    seed: int = seed_option()

    def __post_init__(self):
        """Check the whole numbers, also those of an analysis with more of them."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 0:
                raise ValueError(f"--{field.name}={value} is below 0")


@dataclasses.dataclass(frozen=True)
class ReasonerOptions(ShownOptions):
    """Options of analyses of reasoners, on held-out problems of their own."""

    checkpoint: str = checkpoint_option()
    max_problems: int = option(512, "Held-out problems to analyze; 0 = all.", lower_bound=0)


@dataclasses.dataclass(frozen=True)
class RunOptions(ShownOptions):
    """Options of analyses of trained runs, on one text."""

    data: tuple[str, ...] = option((), "Text: paths, globs or folders between commas.", commas=True)
    text_field: str = text_field_option()
    max_bytes: int = max_bytes_option()
    cut_bytes: int = option(
        0,
        "Cut documents into texts of so many bytes: M1 codes many at once. 0 = none.",
        lower_bound=0,
    )


@dataclasses.dataclass(frozen=True)
class CodeOptions(RunOptions):
    """Options of analyses of any codes: tokenizers and the codes of runs."""

    tokenizer: tuple[str, ...] = tokenizer_option()
    m1: str = option("", "File of the byte model of coders; by default the shipped one.")
    train_bytes: int = train_bytes_option()


@dataclasses.dataclass(frozen=True)
class TextOptions(CodeOptions):
    """Options of analyses of any codes, on several texts."""

    text: tuple[str, ...] = text_option()


@dataclasses.dataclass(frozen=True)
class SentenceOptions(CodeOptions):
    """Options of analyses of any codes, which also use one sentence."""

    seed: int = seed_option()
    sentence: str = option(
        SENTENCE, "Sentence to decode id by id (tokens), or to put after many words (stability)."
    )
