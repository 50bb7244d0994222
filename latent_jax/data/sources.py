"""The config that all three kinds of source share."""

import dataclasses
from typing import Annotated

from latent_jax.contracts import Source
from latent_jax.data.documents import CorpusError
from latent_jax.data.files import Files
from latent_jax.data.python_docs import PythonDocs
from latent_jax.data.tfds_source import Tfds
from latent_jax.ranges import ByteCount, at_least, check_fields, one_of, within

SOURCES = ("python_docs", "files", "tfds", "encoded")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The source of text, its splits, and how it is read.

    Raises:
        CorpusError: an option is unknown or out of range.
    """

    # "python_docs" (embedded default), "files" or "tfds"; "encoded" reads the one folder of `files`
    # that launch/prepare.py encode wrote
    source: Annotated[str, one_of(SOURCES)] = "python_docs"
    # files: paths, folders, glob patterns; .txt, .jsonl, also .gz .xz .zst; .parquet
    files: tuple[str, ...] | str = ()
    # files: several sets in shares of raw bytes, in place of `files`, each NAME=SHARE:FILES:
    # ("wiki=0.7:enwiki/*.jsonl.xz", "novels=0.3:novels/*.txt"); each is also scored by itself
    mixture: tuple[str, ...] | str = ()
    text_field: str = "text"  # files (.jsonl, .parquet) and tfds: the field that holds the text
    tfds_name: str = ""  # tfds: "lm1b", "c4/en", "huggingface:openai__gsm8k/main"
    tfds_split: str = "train"  # tfds: the split to read, or a slice such as "train[:1%]"
    tfds_data_dir: str = ""  # tfds: folder of prepared datasets; empty = TFDS's own
    cache_dir: str = "~/.cache/latent_jax/corpora"  # where built corpora are kept
    # stop after the document that reaches so many raw bytes; 0 = read everything
    max_bytes: ByteCount = 0
    # share of document keys in the validation split; 0 = there is none, and nothing can be trained
    validation_percent: Annotated[float, within("[0, 100)")] = 5.0
    # share of document keys in the test split; 0 = there is none
    test_percent: Annotated[float, within("[0, 100)")] = 5.0
    # processes that tokenise and pack; 0 = a thread of the training process
    num_workers: Annotated[int, at_least(0, 4096)] = 0

    def __post_init__(self):
        """Check the fields; raises CorpusError (a ValueError)."""
        try:
            check_fields(self, "data.")
        except ValueError as error:
            raise CorpusError(str(error)) from error
        if not self.cache_dir.strip():
            raise CorpusError("data.cache_dir is empty: name the folder that keeps built corpora")
        for name in ("files", "mixture"):
            value = getattr(self, name)
            value = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, name, value)
        if self.mixture and (self.source != "files" or self.files):
            raise CorpusError(
                f"data.mixture names files of its own: set data.source=files and leave data.files "
                f"empty; they are {self.source!r} and {self.files}."
            )
        if self.source == "encoded":
            raise CorpusError(
                "data.source='encoded' holds rows, which only training reads: name text "
                "with --data, or a run of text."
            )
        if self.validation_percent + self.test_percent >= 100:
            raise CorpusError(
                f"data.validation_percent={self.validation_percent} and "
                f"data.test_percent={self.test_percent} leave nothing "
                "to train on: their sum is below 100."
            )


def make_source(config: DataConfig) -> Source:
    """Return the source of a config.

    Raises:
        CorpusError: the source cannot be found.
    """
    if config.source == "python_docs":
        return PythonDocs()
    if config.source == "files":
        return Files(config.files, config.text_field)
    return Tfds(config.tfds_name, config.tfds_split, config.tfds_data_dir, config.text_field)
