"""The split of each document: by the hash of its key, or by the files that are held out.

The hash of its key alone decides the split of a document, so it does not change when other
documents are added or removed. Where files are held out (`data.held_out`), they are the validation
split, there is no test split, and all other documents are trained on.
"""

import hashlib
from collections.abc import Iterator

from latent_jax.contracts import Document, Source
from latent_jax.data.documents import CorpusError
from latent_jax.data.sources import PROBLEMS, DataConfig


def split_of(key: str, validation_percent: float, test_percent: float) -> str:
    """Return the split of a document.

    The first 8 bytes of SHA-256 of the key, as a percentage of 2**64, decide: the lowest
    `test_percent` are "test", the next `validation_percent` "validation", the rest "train".
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    percent = int.from_bytes(digest[:8], "big") / 2**64 * 100
    if percent < test_percent:
        return "test"
    return "validation" if percent < test_percent + validation_percent else "train"


def with_splits(
    source: Source, held_out: Source | None, config: DataConfig
) -> Iterator[tuple[Document, str]]:
    """Yield every document that is not empty, and its split; held-out files come first.

    Args:
        source: of the text.
        held_out: of the whole validation split; None = the hash of a key decides.
        config: has the shares that are held out by hash.

    Raises:
        CorpusError: a source cannot be read, or the text of a document, or the question of a
            problem, is both held out and trained on.
    """
    if held_out is None:
        for document in _not_empty(source):
            yield document, split_of(document.key, config.validation_percent, config.test_percent)
        return
    known = {}
    for document in _not_empty(held_out):
        known[_identity(document, config)] = document.key
        yield document, "validation"
    for document in _not_empty(source):
        twin = known.get(_identity(document, config))
        if twin is not None:
            raise CorpusError(
                f"the document {_shown(twin)} of data.held_out is also among those to train on, as "
                f"{_shown(document.key)}: take it out of one of them."
            )
        yield document, "train"


def _not_empty(source: Source) -> Iterator[Document]:
    return (document for document in source.documents() if document.text)


def _identity(document: Document, config: DataConfig) -> bytes:
    """Return the hash of what a held-out document must not share with one that is trained on."""
    if config.source in PROBLEMS:  # the key of a problem is its question
        return hashlib.sha256(document.key.encode("utf-8", "surrogatepass")).digest()
    return hashlib.sha256(document.text).digest()


def _shown(key: str) -> str:
    return repr(key if len(key) <= 60 else f"{key[:57]}...")
