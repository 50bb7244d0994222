"""The config that all kinds of source share."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from latent_jax.contracts import Source
from latent_jax.data.chains import Chains, ChainsConfig
from latent_jax.data.documents import CorpusError
from latent_jax.data.files import Files
from latent_jax.data.gsm8k import ProblemFiles, TfdsProblems
from latent_jax.data.python_docs import PythonDocs
from latent_jax.data.tfds_source import Tfds
from latent_jax.ranges import ByteCount, at_least, check_fields, one_of, within

SOURCES = ("python_docs", "files", "tfds", "encoded", "gsm8k", "chains")

PROBLEMS = ("gsm8k", "chains")
"""The sources whose documents are problems, see `data.problems`; all others hold text."""


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The source of text, its splits, and how it is read.

    With `held_out` the validation split is other files, whole, and with `chains.n_held_out` other
    problems; nothing of the source is held out: validation_percent and test_percent, which choose
    documents by the hash of their keys, are then ignored. They have to stay at their defaults or be
    0, so that a share that somebody asked for is never ignored.

    Raises:
        CorpusError: an option is unknown or out of range, or two do not go together.
    """

    # "python_docs" (embedded default), "files" or "tfds"; "encoded" reads the one folder of `files`
    # that launch/prepare.py encode wrote; "gsm8k" reads problems, from `files` or else from TFDS;
    # "chains" makes problems, see the section chains
    source: Annotated[str, one_of(SOURCES)] = "python_docs"
    # files: paths, folders, glob patterns; .txt, .jsonl, also .gz .xz .zst; .parquet
    files: tuple[str, ...] | str = ()
    # files: several sets in shares of raw bytes, in place of `files`, each NAME=SHARE:FILES:
    # ("wiki=0.7:enwiki/*.jsonl.xz", "novels=0.3:novels/*.txt"); each is also scored by itself
    mixture: tuple[str, ...] | str = ()
    # files that are the whole validation split, such as GSM8K's official test file; then nothing of
    # the source itself is held out
    held_out: tuple[str, ...] | str = ()
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
    # the section chains; not shown, because it matters to one source only
    chains: ChainsConfig = dataclasses.field(default_factory=ChainsConfig, repr=False)

    def __post_init__(self):
        """Check the fields; raises CorpusError (a ValueError)."""
        try:
            check_fields(self, "data.")
        except ValueError as error:
            raise CorpusError(str(error)) from error
        if not self.cache_dir.strip():
            raise CorpusError("data.cache_dir is empty: name the folder that keeps built corpora")
        for name in ("files", "mixture", "held_out"):
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
        self._check_held_out()
        if self.validation_percent + self.test_percent >= 100:
            raise CorpusError(
                f"data.validation_percent={self.validation_percent} and "
                f"data.test_percent={self.test_percent} leave nothing "
                "to train on: their sum is below 100."
            )

    def _check_held_out(self) -> None:
        """Raise CorpusError where `held_out` and another key do not go together."""
        if self.held_out and (self.mixture or self.source == "chains"):
            beside = "data.mixture" if self.mixture else "data.source='chains'"
            raise CorpusError(
                f"data.held_out={self.held_out} goes with one set of texts or problems, not with "
                f"{beside}: leave it empty, and set data.validation_percent"
            )
        asked = ""
        if self.held_out:
            asked, empty = f"data.held_out={self.held_out}", "data.held_out empty"
        elif self.source == "chains" and self.chains.n_held_out:
            asked, empty = f"chains.n_held_out={self.chains.n_held_out}", "chains.n_held_out at 0"
        if not asked:
            return
        for name in ("validation_percent", "test_percent"):
            value, usual = getattr(self, name), getattr(DataConfig, name)
            if value not in (0, usual):
                raise CorpusError(
                    f"{asked} is the whole validation split and there is no other, so "
                    f"data.{name}={value} has no effect: leave it at {usual}, or leave {empty}"
                )


def data_config(config: Mapping[str, Any]) -> DataConfig:
    """Return the config of the data of a whole configuration: its sections data and chains.

    Args:
        config: as `configs.common.default` makes it; a run from before there were chains has no
            such section.

    Raises:
        CorpusError: see `DataConfig`.
    """
    return DataConfig(**config["data"], chains=ChainsConfig(**config.get("chains", {})))


def make_source(config: DataConfig) -> Source:
    """Return the source of a config.

    Raises:
        CorpusError: the source cannot be found.
    """
    if config.source == "python_docs":
        return PythonDocs()
    if config.source == "files":
        return Files(config.files, config.text_field)
    if config.source == "chains":
        return Chains(config.chains)
    if config.source == "gsm8k" and config.files:
        return ProblemFiles(config.files)
    if config.source == "gsm8k":
        return TfdsProblems(config.tfds_name, config.tfds_split, config.tfds_data_dir)
    return Tfds(config.tfds_name, config.tfds_split, config.tfds_data_dir, config.text_field)


def make_held_out(config: DataConfig) -> Source | None:
    """Return the source of the whole validation split; None where a hash of keys chooses it.

    Raises:
        CorpusError: the files cannot be found.
    """
    if config.source == "chains" and config.chains.n_held_out:
        return Chains(config.chains, held_out=True)
    if not config.held_out:
        return None
    if config.source in PROBLEMS:
        return ProblemFiles(config.held_out)
    return Files(config.held_out, config.text_field)
