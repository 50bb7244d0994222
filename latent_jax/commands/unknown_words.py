"""Unknown words of what runs write, beside those of held-out text."""

from collections.abc import Sequence
from typing import Any

from latent_jax.contracts import Written
from latent_jax.data import Corpus
from latent_jax.generation.unknown_words import Marked, mark, words_of
from latent_jax.generation.written import END

WORD_COLUMNS = ("n_words", "unknown_words_share")

KNOWN_BYTES = 100_000_000
"""Training text whose words are known, at most."""

HELD_OUT_BYTES = 1_000_000
"""Held-out text whose words are looked up beside those of the runs, at most."""


def known_words(corpus: Corpus) -> frozenset[str]:
    """Return the words of a corpus's training text, of its first `KNOWN_BYTES`."""
    texts = (document.text for document in corpus.documents("train", KNOWN_BYTES))
    return frozenset(words_of(texts))


def marked_words(one: Written, known: frozenset[str]) -> Marked:
    """Return what a run wrote with its unknown words in brackets."""
    return mark(one.kept, one.text, known, is_cut=one.stop != END)


def word_shares(texts: Sequence[Marked]) -> dict[str, Any]:
    """Return how many words texts have, and the share that is unknown; {} without texts."""
    if not texts:
        return {}
    n_words = sum(text.n_words for text in texts)
    n_unknown = sum(text.n_unknown for text in texts)
    return {"n_words": n_words, "unknown_words_share": n_unknown / max(n_words, 1)}


def held_out_record(corpus: Corpus, known: frozenset[str]) -> dict[str, Any]:
    """Return the record of the corpus's validation text, of its first `HELD_OUT_BYTES`."""
    documents = corpus.documents("validation", HELD_OUT_BYTES)
    texts = [mark(b"", document.text, known, is_cut=False) for document in documents]
    return {"name": "held-out text", **word_shares(texts)}
