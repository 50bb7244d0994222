"""Random access to the documents of one split, for Grain."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from latent_jax.contracts import Document
from latent_jax.data.documents import CorpusError


class SplitRecords:
    """Random access to the documents of one split, as `grain.MapDataset.source` requires.

    The object pickles as a path and opens its files when a document is first read, so that every
    worker process opens its own.
    """

    def __init__(self, folder: Path, split: str, n_documents: int):
        """Point at a split of the TFDS dataset in `folder` that must hold `n_documents`."""
        self._folder, self._split, self._n_documents = folder, split, n_documents
        self._examples: Any = None
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[Path, str, int]:
        """Return what to pickle."""
        return self._folder, self._split, self._n_documents

    def __setstate__(self, state: tuple[Path, str, int]) -> None:
        """Restore from `__getstate__`."""
        self.__init__(*state)

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._n_documents

    def __getitem__(self, index: int) -> Document:
        """Return one document.

        Raises:
            IndexError: there is no such document.
            CorpusError: the files are missing or damaged.
        """
        if not 0 <= index < self._n_documents:
            raise IndexError(f"Document {index} of {self._n_documents} in split {self._split!r}.")
        try:
            example = self._opened()[index]
        except Exception as error:  # TFDS and array_record share no class for damaged files
            raise CorpusError(
                f"The corpus in {self._folder} is damaged ({error}): delete the folder to have it "
                "built again."
            ) from error
        return Document(example["key"].decode("utf-8", "surrogatepass"), example["text"])

    def __iter__(self) -> Iterator[Document]:
        """Yield every document in the order in which they are stored."""
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        """Name the split and its folder; Grain prints this in its messages."""
        return f"SplitRecords(split={self._split!r}, folder={str(self._folder)!r})"

    def _opened(self) -> Any:
        with self._lock:
            if self._examples is None:
                builder = tfds.builder_from_directory(self._folder)
                self._examples = builder.as_data_source(split=self._split)
        return self._examples
