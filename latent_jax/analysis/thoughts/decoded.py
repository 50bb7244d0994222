"""Thoughts as words: the tokens that lie nearest to them.

Fifty's post-mortem found tokens without relation to the problem, which recur, and many of other
languages. A random direction also has nearest tokens, so each number stands beside that of states
of the text, and scripts beside those of the vocabulary. A vocabulary without letters of other
scripts, such as bytes, has no shares of scripts.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.analysis.thoughts.probes import Stands
from latent_jax.tokenizers import Tokenizer

NEAREST = 5

SCRIPTS = ("cjk", "arabic", "cyrillic", "thai", "latin", "other")
"""Of the first letter of a token; "other" is also a token without a letter."""

FOREIGN = SCRIPTS[:4]
"""Those that the thoughts of a model of English were said to switch to."""

NO_SCRIPTS = (
    "no token of this vocabulary is a letter of another script: shares of scripts say nothing"
)

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
        digit_V: int64, the first digit in each token; -1 without one.
        script_V: int64, index in `SCRIPTS`.
        has_scripts: whether there is a token of a script of `FOREIGN`; bytes have none.
    """

    def __init__(self, tokenizer: Tokenizer):
        """Decode every token alone."""
        self._texts = tokenizer.decode_batch([[number] for number in range(tokenizer.vocab_size)])
        scripts = [script_of(text) for text in self._texts]
        self.digit_V = np.array([_first_digit(text) for text in self._texts])
        self.is_number_V = self.digit_V >= 0
        self.script_V = np.array([SCRIPTS.index(script) for script in scripts])
        self.has_scripts = any(script in FOREIGN for script in scripts)

    def text(self, ids: Sequence[int]) -> bytes:
        """Return the text of tokens that are decoded one by one."""
        return b"".join(self._texts[number] for number in ids)

    def shares(self, ids: np.ndarray) -> dict[str, float]:
        """Return the shares of numbers among tokens, and of scripts if `has_scripts`."""
        ids = ids.reshape(-1)
        shares = {"number_share": float(self.is_number_V[ids].mean())}
        if self.has_scripts:
            count = np.bincount(self.script_V[ids], minlength=len(SCRIPTS)) / len(ids)
            shares |= {f"{name}_share": float(n) for name, n in zip(SCRIPTS, count, strict=True)}
        return shares


def script_of(text: bytes) -> str:
    """Return the script of the first letter of a token's text, one of `SCRIPTS`."""
    for character in _text(text):
        if character.isalpha():
            return _WORDS.get(unicodedata.name(character, "").partition(" ")[0], "other")
    return "other"


def _first_digit(text: bytes) -> int:
    """Return the first digit of a token's text; -1 without one."""
    return next((unicodedata.digit(c) for c in _text(text) if c.isdigit()), -1)


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
        results_N: the first token of the result behind each vector; -1 where there is none.
        other_results_N: the same of another problem: what chance would give.
        written_N: the written token that each vector stands for; -1 where there is none.

    Returns:
        `recurrence` of the nearest tokens, `Words.shares` of the five nearest, and as far as they
        are known, where both results are: "result_in_five_share", whether the token is among the
        five nearest; "digit_in_five_share", whether a token with the same first digit is; both for
        the other result, "other_..."; and "written_first_share", where the nearest token is the
        written one.
    """
    record = {
        "n_vectors": len(top_N5),
        **recurrence(top_N5[:, 0]),
        **words.shares(top_N5),
    }
    if results_N is not None and other_results_N is not None:
        has_both_N = (results_N >= 0) & (other_results_N >= 0)
        for name, ids_N in (("", results_N), ("other_", other_results_N)):
            top_M5, ids_M = top_N5[has_both_N], ids_N[has_both_N]
            looks = (
                ("result", top_M5, ids_M),
                ("digit", words.digit_V[top_M5], words.digit_V[ids_M]),
            )
            for what, near_M5, wanted_M in looks:
                is_known_M = wanted_M >= 0
                if is_known_M.any():
                    is_in_M = (near_M5 == wanted_M[:, None]).any(axis=1)
                    record[f"{name}{what}_in_five_share"] = float(is_in_M[is_known_M].mean())
    if written_N is not None and (written_N >= 0).any():
        is_first_N = top_N5[:, 0] == written_N
        record["written_first_share"] = float(is_first_N[written_N >= 0].mean())
    return record


def decoded_records(
    words: Words, seen: Mapping[str, Any], is_used_PJK: np.ndarray, standing: Stands
) -> list[dict[str, Any]]:
    """Return records of what thoughts and states of the text decode to, and of the vocabulary.

    Args:
        words: of the vocabulary.
        seen: see `observe.observe_all`.
        is_used_PJK: bool, slots in use.
        standing: what slots stand for.
    """
    result_PJ, problems = seen["result_BJ"], seen["problems"]
    other_PJ = np.roll(result_PJ, -1, axis=0)
    written_PJK = np.where(standing.is_there, standing.token, -1)
    problem_M, block_M = np.nonzero(problems["breakpoints_BJ"] > 0)
    at_M = problems["breakpoints_BJ"][problem_M, block_M]
    records = []
    for way, what in (("cosine", "thoughts"), ("logits", "states before thoughts")):
        top_PJK5, text_PT5 = seen[f"thoughts_by_{way}"], seen[f"text_by_{way}"]
        for slot in np.nonzero(is_used_PJK.any(axis=(0, 1)))[0]:
            is_used_PJ = is_used_PJK[:, :, slot]
            known = (x[is_used_PJ] for x in (result_PJ, other_PJ, written_PJK[:, :, slot]))
            record = decoded_record(words, top_PJK5[:, :, slot][is_used_PJ], *known)
            records.append({"what": what, "by": way, "slot": int(slot) + 1, **record})
        # A block behind the last position of a row has no state in the text.
        is_in_M = at_M < text_PT5.shape[1]
        if is_in_M.any():
            place = problem_M[is_in_M], block_M[is_in_M]
            top_M5 = text_PT5[place[0], at_M[is_in_M]]
            record = decoded_record(words, top_M5, result_PJ[place], other_PJ[place])
            records.append({"what": "text at breakpoints", "by": way, **record})
        answers_M5 = text_PT5[problems["segment_BT"] > 0]
        records.append({"what": "text of answers", "by": way, **decoded_record(words, answers_M5)})
    everything = np.arange(len(words.script_V))
    vocabulary = {"n_vectors": len(everything), **words.shares(everything)}
    if not words.has_scripts:
        vocabulary["note"] = NO_SCRIPTS
    return [*records, {"what": "all tokens", **vocabulary}]
