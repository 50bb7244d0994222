"""Published tokenizers as they are found: the keys of a GGUF, or Hugging Face's tokenizer.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers as hf

from latent_jax.json_files import Kind, check, read_json
from latent_jax.tokenizers.pretrained_bpe import (
    RULES,
    SEPARATOR,
    PretrainedBPE,
    Vocabulary,
    pairs,
)

NORMAL, UNUSED = 1, 5
"""llama.cpp's types of a token of text, and of an id without one; other types are marks here."""

MOST_IDS = 1 << 24

TOKENIZER_JSON, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"

_ADDED = Kind(keys={"id": int, "content": str})
_MODEL = Kind(keys={"vocab": dict, "merges": list})


def from_gguf_words(words: Mapping[str, Any]) -> PretrainedBPE:
    """Return the tokenizer that the keys of a GGUF describe.

    Args:
        words: `GGUF.words`.

    Raises:
        ValueError: a key is missing or of another kind of tokenizer; the message names it.
    """
    prefix = "tokenizer.ggml."
    model = words.get(f"{prefix}model")
    if model != "gpt2":
        raise ValueError(f"{prefix}model is {model!r}; only 'gpt2', byte-level BPE, is read")
    tokens, merges = (_texts(words, prefix + key) for key in ("tokens", "merges"))
    kinds = words.get(f"{prefix}token_type")
    if not isinstance(kinds, np.ndarray) or kinds.shape != (len(tokens),):
        raise ValueError(f"{prefix}token_type has not one number for each of {len(tokens)} tokens")
    tokens = ["" if kind == UNUSED else t for t, kind in zip(tokens, kinds.tolist(), strict=True)]
    eos = words.get(f"{prefix}eos_token_id", -1)
    is_id = isinstance(eos, int) and not isinstance(eos, bool)
    template = words.get("tokenizer.chat_template", "")
    return PretrainedBPE(
        Vocabulary(
            str(words.get(f"{prefix}pre")),
            tuple(tokens),
            frozenset(np.flatnonzero(kinds != NORMAL).tolist()),
            pairs(merges),
            tokens.index(SEPARATOR) if SEPARATOR in tokens else eos if is_id else -1,
            template if isinstance(template, str) else "",
        )
    )


def _texts(words: Mapping[str, Any], key: str) -> list[str]:
    value = words.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"the key {key} is no list of texts")
    return value


def from_tokenizer_json(path: str | Path, vocab_size: int = 0) -> PretrainedBPE:
    """Return the tokenizer of a tokenizer.json.

    The chat template and the end of a text come from the tokenizer_config.json (or the
    chat_template.jinja) beside it, where there is one.

    Args:
        path: of the file.
        vocab_size: rows of the model's table, which may have more rows than there are tokens; 0 =
            as many as there are tokens.

    Raises:
        ValueError: the file cannot be read, or holds another kind of tokenizer; the message names
            it.
    """
    path = Path(path)
    whole = read_json(path)
    try:
        return PretrainedBPE(_vocabulary(path, whole, vocab_size))
    except ValueError as error:
        raise ValueError(f"{path} is no tokenizer that can be read: {error}") from error


def _vocabulary(path: Path, whole: Mapping[str, Any], vocab_size: int) -> Vocabulary:
    model = check(whole.get("model"), "its model", _MODEL)
    _check_model(model, whole.get("normalizer"))
    ids = dict(check(model["vocab"], "its vocab", Kind(items=int)))
    added = check(whole.get("added_tokens", []), "its added_tokens", Kind(list, items=dict))
    marks = {check(token, "an added token", _ADDED)["content"]: token["id"] for token in added}
    ids |= marks
    size = max(ids.values(), default=-1) + 1
    if min(ids.values(), default=-1) < 0 or size > MOST_IDS or len(set(ids.values())) < len(ids):
        raise ValueError("its ids are not different numbers from 0 on")
    if vocab_size and size > vocab_size:
        raise ValueError(f"it has ids up to {size - 1}, and the model has {vocab_size} rows")
    tokens = [""] * max(size, vocab_size)
    for token, id_ in ids.items():
        tokens[id_] = token
    unused = {i for i, token in enumerate(tokens) if not token}
    words = path.with_name(TOKENIZER_CONFIG)
    said = read_json(words) if words.exists() else {}
    eos = said.get("eos_token")
    eos = eos.get("content") if isinstance(eos, dict) else eos
    end = SEPARATOR if SEPARATOR in marks else eos
    if not isinstance(end, str) or end not in marks:
        raise ValueError(f"no added token ends a text: neither {SEPARATOR} nor eos_token")
    return Vocabulary(
        _rule(whole.get("pre_tokenizer")),
        tuple(tokens),
        frozenset({*marks.values(), *unused}),
        pairs(model["merges"]),
        marks[end],
        _template(path, said),
    )


def _check_model(model: Mapping[str, Any], normalizer: Any) -> None:
    """Raise ValueError where the file asks for what `PretrainedBPE` does not do."""
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise ValueError(f"its model is {kind!r}; only 'BPE' is read")
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise ValueError(f"its {key} is {model[key]!r}; byte-level BPE has none")
    for key in ("byte_fallback", "ignore_merges"):
        if model.get(key):
            raise ValueError(f"it asks for {key}, which is not done here")
    # NFC is left out, because it is not lossless; see the top of `pretrained_bpe`.
    if normalizer is not None and normalizer != {"type": "NFC"}:
        raise ValueError(f"its normalizer is {json.dumps(normalizer)[:80]}; only NFC is known")


def _rule(found: Any) -> str:
    """Return the name of a rule by the library's description of it."""
    for name, rule in RULES.items():
        made = hf.Tokenizer(hf.models.BPE())
        made.pre_tokenizer = rule.make()
        if _plain(json.loads(made.to_str())["pre_tokenizer"]) == _plain(found):
            return name
    raise ValueError(
        f"its pre_tokenizer is {json.dumps(found)[:200]}; those of {', '.join(RULES)} are known"
    )


def _plain(rule: Any) -> Any:
    """Return a description without what does not change ids."""
    if isinstance(rule, dict):
        return {key: _plain(value) for key, value in rule.items() if key != "trim_offsets"}
    return [_plain(item) for item in rule] if isinstance(rule, list) else rule


def _template(path: Path, said: Mapping[str, Any]) -> str:
    beside = path.with_name(CHAT_TEMPLATE)
    if beside.exists():
        return beside.read_text("utf-8")
    template = said.get("chat_template", "")
    return template if isinstance(template, str) else ""
