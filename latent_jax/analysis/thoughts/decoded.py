"""Thoughts as words: the tokens that lie nearest to them.

Fifty's post-mortem found tokens without relation to the problem, which recur, and many of other
languages. A random direction also has nearest tokens, so each number stands beside that of states
of the text, and scripts beside those of the vocabulary.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.tokenizers import Tokenizer

NEAREST = 5

SCRIPTS = ("cjk", "arabic", "cyrillic", "thai", "latin", "other")
"""Of the first letter of a token; "other" is also a token without a letter."""

_WORDS = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"), "cjk"),
    **{name.upper(): name for name in ("arabic", "cyrillic", "thai", "latin")},
}


def nearest(table_VD: jax.Array, x: jax.Array, *, by_cosine: bool) -> jax.Array:
    """Return the tokens whose embeddings are nearest to vectors, int32[..., 5], the nearest first.

    Args:
        table_VD: the embeddings.
        x: vectors, [..., D].
        by_cosine: whether lengths do not count; else the order is that of the tied head's logits.
    """
    table_VD, x = table_VD.astype(jnp.float32), x.astype(jnp.float32)
    if by_cosine:  # the length of x changes no order
        length_V1 = jnp.linalg.norm(table_VD, axis=-1, keepdims=True)
        table_VD = table_VD / jnp.maximum(length_V1, 1e-12)
    scores = jnp.einsum("...D,VD->...V", x, table_VD)
    return jax.lax.top_k(scores, min(NEAREST, table_VD.shape[0]))[1].astype(jnp.int32)


class Words:
    """What the tokens of a vocabulary look like.

    Attributes:
        is_number_V: bool, tokens with a digit.
        script_V: int64, index in `SCRIPTS`.
    """

    def __init__(self, tokenizer: Tokenizer):
        """Decode every token alone."""
        self._texts = tokenizer.decode_batch([[number] for number in range(tokenizer.vocab_size)])
        scripts = [script_of(text) for text in self._texts]
        self.is_number_V = np.array([any(map(str.isdigit, _text(t))) for t in self._texts])
        self.script_V = np.array([SCRIPTS.index(script) for script in scripts])

    def text(self, ids: Sequence[int]) -> bytes:
        """Return the text of tokens that are decoded one by one."""
        return b"".join(self._texts[number] for number in ids)

    def shares(self, ids: np.ndarray) -> dict[str, float]:
        """Return the shares of numbers and of scripts among tokens."""
        ids = ids.reshape(-1)
        count = np.bincount(self.script_V[ids], minlength=len(SCRIPTS)) / max(len(ids), 1)
        return {
            "number_share": float(self.is_number_V[ids].mean()),
            **{f"{name}_share": float(n) for name, n in zip(SCRIPTS, count, strict=True)},
        }


def script_of(text: bytes) -> str:
    """Return the script of the first letter of a token's text, one of `SCRIPTS`."""
    for character in _text(text):
        if character.isalpha():
            return _WORDS.get(unicodedata.name(character, "").partition(" ")[0], "other")
    return "other"


def _text(text: bytes) -> str:
    """Return the whole characters of a token, which may begin and end within one."""
    return text.decode("utf-8", "ignore")


def recurrence(ids_N: np.ndarray) -> dict[str, float]:
    """Return how much the same tokens recur.

    Returns:
        "entropy_bits" of the tokens, and "most_frequent_share", the share of the five most frequent
        ones.
    """
    share = np.sort(np.unique(ids_N, return_counts=True)[1] / len(ids_N))[::-1]
    return {
        "entropy_bits": float(-(share * np.log2(share)).sum()) + 0.0,
        "most_frequent_share": float(share[:NEAREST].sum()),
    }


def decoded_record(
    words: Words,
    top_N5: np.ndarray,
    results_N: np.ndarray | None = None,
    other_results_N: np.ndarray | None = None,
    written_N: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the record of decoded vectors.

    Args:
        words: of the vocabulary.
        top_N5: the nearest tokens of each vector.
        results_N: the first token of the result behind each vector.
        other_results_N: the same of another problem: what chance would give.
        written_N: the written token that each vector stands for.

    Returns:
        `recurrence` of the nearest tokens, `Words.shares` of the five nearest, and as far as they
        are known "result_in_five_share", "other_result_in_five_share" and "written_first_share",
        where the nearest token is the written one.
    """
    record = {
        "n_vectors": len(top_N5),
        **recurrence(top_N5[:, 0]),
        **words.shares(top_N5),
    }
    for name, ids_N in (("result", results_N), ("other_result", other_results_N)):
        if ids_N is not None and len(ids_N):
            is_in_N = (top_N5 == ids_N[:, None]).any(axis=1)
            record[f"{name}_in_five_share"] = float(is_in_N.mean())
    if written_N is not None and len(written_N):
        record["written_first_share"] = float((top_N5[:, 0] == written_N).mean())
    return record
