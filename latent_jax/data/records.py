"""Random access to the documents of one split, for Grain."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent_jax.contracts import Document
from latent_jax.data.dataset import features, files_of
from latent_jax.data.documents import CorpusError
from latent_jax.data.record_files import RecordFiles

DELETE = "delete the folder to have it built again"


class SplitRecords:
    """Random access to the documents of one split, as `grain.MapDataset.source` requires.

    The object pickles as a path and opens its files when a document is first read, so that every
    worker process opens its own.
    """

    def __init__(self, folder: Path, split: str, n_documents: int):
        """Point at a split of the TFDS dataset in `folder` that must hold `n_documents`."""
        self._folder, self._split, self._n_documents = folder, split, n_documents
        self._records: RecordFiles | None = None
        self._features: Any = None
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
        record = self._opened()[index]
        try:
            example = self._features.deserialize_example_np(record)
        except Exception as error:  # a parser of another's, of bytes of another's
            raise CorpusError(
                f"The corpus in {self._folder} is damaged ({error}): {DELETE}."
            ) from error
        return Document(example["key"].decode("utf-8", "surrogatepass"), example["text"])

    def __iter__(self) -> Iterator[Document]:
        """Yield every document in the order in which they are stored."""
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        """Name the split and its folder; Grain prints this in its messages."""
        return f"SplitRecords(split={self._split!r}, folder={str(self._folder)!r})"

    def _opened(self) -> RecordFiles:
        with self._lock:
            if self._records is None:
                records = RecordFiles(files_of(self._folder, self._split), DELETE)
                if len(records) != self._n_documents:
                    raise CorpusError(
                        f"The corpus in {self._folder} is damaged ({len(records)} documents in its "
                        f"split {self._split!r}, and {self._n_documents} were written): {DELETE}."
                    )
                # Ours, whatever features.json says: TFDS would import what that names.
                self._features, self._records = features(), records
        return self._records
