"""The data of a run: documents that are encoded while it trains, or rows encoded before."""

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax import tokenizers
from latent_jax.contracts import Code
from latent_jax.data import (
    Batch,
    Corpus,
    TrainBatches,
    data_config,
    evaluation_batches,
    open_corpus,
    train_batches,
)
from latent_jax.data.problem_rows import count_left_out
from latent_jax.data.rows import (
    TOKENIZER,
    Rows,
    evaluation_row_batches,
    open_rows,
    train_row_batches,
)
from latent_jax.methods.names import parse
from latent_jax.methods.row_codes import bytes_per_position, make_row_code
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.platform import Platform
from latent_jax.tokenizers import Tokenizer
from latent_jax.training import StartUp

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Documents:
    """A corpus that is encoded while the run trains.

    Attributes:
        corpus: the text, or problems.
        tokenizer: makes ids of text.
        code: makes rows of documents; for text, the tokenizer.
        bytes_per_token: raw bytes per position of a row, measured on the corpus.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    code: Code
    bytes_per_token: float

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the text; it does not depend on where the files lie."""
        return self.corpus.fingerprint

    def train(self, *, num_workers: int, **batches) -> TrainBatches:
        """Return training batches, see `latent_jax.data.train_batches`.

        Raises:
            ValueError: worker processes, which use the CPU only, would encode with a byte model
                whose codes this process makes on another platform.
        """
        platform = Platform.current().kind
        if num_workers and platform != "cpu" and self.tokenizer.flops_per_byte:
            raise ValueError(
                f"data.num_workers={num_workers}: {self.tokenizer.name} is driven by M1, whose "
                f"codes on {platform} differ from those on the CPU, which worker processes use: "
                "encode the text beforehand (launch/prepare.py encode), or set data.num_workers=0"
            )
        return train_batches(self.corpus, self.code, num_workers=num_workers, **batches)

    def evaluation(self, **batches) -> Iterator[Batch]:
        """Return evaluation batches, see `latent_jax.data.evaluation_batches`."""
        return evaluation_batches(self.corpus, self.code, **batches)

    @property
    def parts(self) -> dict[str, "Documents"]:
        """The corpora of a mixture, by name; {} if the corpus is no mixture."""
        return {
            name: dataclasses.replace(self, corpus=part) for name, part in self.corpus.parts.items()
        }


@dataclasses.dataclass(frozen=True)
class EncodedRows:
    """Rows that `launch/prepare.py encode` wrote.

    Attributes:
        rows: the folder, opened.
        tokenizer: the one that made them.
        bytes_per_token: raw bytes per id of the training split.
        parts: always {}: rows are of one corpus.
    """

    rows: Rows
    tokenizer: Tokenizer
    bytes_per_token: float
    parts: Mapping[str, "EncodedRows"] = dataclasses.field(default_factory=dict)

    @property
    def code(self) -> Code:
        """The tokenizer: only such rows are encoded beforehand."""
        return self.tokenizer

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the text and of how its rows were made."""
        return repr(sorted(self.rows.plan.items()))

    def train(self, *, row_length: int, num_workers: int, **batches) -> TrainBatches:
        """Return training batches, see `latent_jax.data.rows.train_row_batches`.

        `row_length` is that of the rows, and `num_workers` is ignored: nothing is left to encode.
        """
        del row_length, num_workers
        return train_row_batches(self.rows, **batches)

    def evaluation(self, *, row_length: int, **batches) -> Iterator[Batch]:
        """Return evaluation batches, see `latent_jax.data.rows.evaluation_row_batches`."""
        del row_length
        return evaluation_row_batches(self.rows, **batches)


Reading = Documents | EncodedRows

MOST_COUNTED = 10_000
"""Problems of a split that are tried, each takes a fraction of a millisecond."""


def log_left_out(reading: Reading) -> None:
    """Say how many problems do not fit into rows; nothing for text, which is never left out.

    Raises:
        ValueError: none of a split's fits.
    """
    if not hasattr(reading.code, "row_length"):
        return
    for split in ("train", "validation"):
        documents = reading.corpus.documents(split)
        left_out = count_left_out(reading.code, itertools.islice(documents, MOST_COUNTED))
        logger.info(
            "%s: %d of %s%d problems do not fit into a row and are left out",
            split,
            left_out.n,
            "the first " if left_out.of == MOST_COUNTED else "",
            left_out.of,
        )
        if left_out.n == left_out.of:
            raise ValueError(
                f"none of {left_out.of} problems of the {split} split fits into a row of "
                f"{reading.code.name}, of {reading.code.row_length} positions: make its parts "
                "longer"
            )


def open_reading(config: ConfigDict, startup: StartUp | None = None) -> Reading:
    """Open the data of a configuration, and train or load its tokenizer.

    Args:
        config: as `configs.common.default` makes it.
        startup: gets the seconds of the phases "corpus" and "tokenizer".

    Raises:
        ValueError: the text or the rows cannot be read, or were made for another method.
    """
    if config.data.source == "encoded":
        return _open_rows(config)
    method, files = parse(config.method), config.tokenizer
    startup = startup or StartUp()
    corpus = open_corpus(data_config(config))
    startup.mark("corpus")
    tokenizer = make_tokenizer(method, corpus, **files)
    code = make_row_code(config, tokenizer)
    reading = Documents(corpus, tokenizer, code, bytes_per_position(code, tokenizer, corpus))
    startup.mark("tokenizer")
    return reading


def _open_rows(config: ConfigDict) -> EncodedRows:
    folders: Any = config.data.files
    folders = [folders] if isinstance(folders, str) else list(folders)
    if len(folders) != 1:
        raise ValueError(
            f"data.source=encoded reads one folder that launch/prepare.py encode wrote; "
            f"data.files names {len(folders)}"
        )
    if config.context_bytes:
        raise ValueError(
            "context_bytes decides how long rows are, but the rows of data.source=encoded are made "
            "already: set row_length instead"
        )
    rows = open_rows(folders[0])
    asked = {"method": str(parse(config.method)), "row_length": config.row_length}
    for key, value in asked.items():
        if rows.plan[key] != value:
            raise ValueError(
                f"{rows.folder} was encoded with {key}={rows.plan[key]}, and the configuration "
                f"says {value}: set {key}={rows.plan[key]}, or encode the text again"
            )
    tokenizer = tokenizers.load(rows.folder / TOKENIZER)
    if tokenizer.fingerprint() != rows.plan["tokenizer"]:
        raise tokenizers.FingerprintError(
            f"the tokenizer in {rows.folder / TOKENIZER} is not the one that its rows were encoded "
            "with: restore it, or encode the text again"
        )
    if not rows.n_tokens.get("train"):
        raise ValueError(f"{rows.folder} holds no training rows: encode the train split too")
    return EncodedRows(rows, tokenizer, rows.n_bytes["train"] / rows.n_tokens["train"])
