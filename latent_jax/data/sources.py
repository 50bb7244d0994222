"""The config that all three kinds of source share."""

import dataclasses

from latent_jax.contracts import Source
from latent_jax.data.documents import CorpusError
from latent_jax.data.files import Files
from latent_jax.data.python_docs import PythonDocs
from latent_jax.data.tfds_source import Tfds
from latent_jax.nearest import check_word


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The source of text, its splits, and how it is read.

    Raises:
        CorpusError: an option is unknown or out of range.
    """

    # "python_docs" (embedded default), "files", "tfds", or "encoded": rows from launch/prepare.py
    # encode, in the one folder that `files` names
    source: str = "python_docs"
    files: tuple[
        str, ...
    ] = ()  # files: paths, folders, glob patterns; .txt, .jsonl, also .gz .xz .zst; .parquet
    # files: several sets of files instead of `files`, mixed in shares of raw bytes, each written
    # NAME=SHARE:FILES: ("wiki=0.7:enwiki/*.jsonl.xz", "novels=0.3:novels/*.txt"); each set is also
    # scored separately
    mixture: tuple[str, ...] = ()
    text_field: str = "text"  # files (.jsonl, .parquet) and tfds: the field that holds the text
    tfds_name: str = ""  # tfds: "lm1b", "c4/en", "huggingface:openai__gsm8k/main"
    tfds_split: str = "train"  # tfds: the split to read, or a slice such as "train[:1%]"
    tfds_data_dir: str = ""  # tfds: folder of prepared datasets; empty = TFDS's own
    cache_dir: str = "~/.cache/latent_jax/corpora"  # where built corpora are kept
    max_bytes: int = (
        0  # stop after the document in which the raw bytes reach this number; 0 = read everything
    )
    validation_percent: float = 5.0  # share of document keys in the validation split
    test_percent: float = 5.0  # share of document keys in the test split
    num_workers: int = 0  # processes that tokenize and pack; 0 = a thread of the training process

    def __post_init__(self):
        """Check all options."""
        object.__setattr__(
            self, "files", (self.files,) if isinstance(self.files, str) else tuple(self.files)
        )
        mixture = (self.mixture,) if isinstance(self.mixture, str) else tuple(self.mixture)
        object.__setattr__(self, "mixture", mixture)
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
        try:
            check_word("data.source", self.source, ("python_docs", "files", "tfds", "encoded"))
        except ValueError as error:
            raise CorpusError(str(error)) from error
        if (
            min(self.validation_percent, self.test_percent) < 0
            or self.validation_percent + self.test_percent >= 100
        ):
            raise CorpusError(
                f"data.validation_percent={self.validation_percent} and "
                f"data.test_percent={self.test_percent} leave nothing "
                "to train on, or are negative: both are >= 0 and their sum is below 100."
            )
        if min(self.max_bytes, self.num_workers) < 0:
            raise CorpusError(
                f"data.max_bytes={self.max_bytes} and data.num_workers={self.num_workers} must not "
                "be negative: "
                "0 means everything, and no worker process."
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
