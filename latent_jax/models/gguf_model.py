"""GGUF files of Llama and Qwen2 in the words and tensors of Hugging Face's transformers.

Keys and tensors of a file are given the names that transformers has for them, and
`hugging_face.from_hugging_face` does the rest. llama.cpp writes them (convert_hf_to_gguf.py:
LlamaModel, Qwen2Model). Architecture "llama" alone has its queries and keys permuted: the two
halves of a head are interleaved, so that its rotation of positions turns neighbours.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from latent_jax.models.gguf import GGUF, GGUFError

ARCHITECTURE = "general.architecture"
PERMUTED = {"llama": True, "qwen2": False}
"""Architecture -> whether queries and keys are permuted; it is the model_type of transformers."""

KEYS = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "num_attention_heads": "attention.head_count",
    "num_hidden_layers": "block_count",
}
"""Their word -> key of a whole number, after the architecture and a dot."""

TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Module of a file, outside of blocks and inside -> theirs."""


def gguf_words(file: GGUF) -> dict[str, Any]:
    """Return what the config.json of transformers would say of a file; no tensor is read for it.

    Raises:
        ValueError: this project has no such network; the message names the file and the key.
    """
    try:
        return _words(file)
    except ValueError as error:
        raise GGUFError(f"{file.path}: {error}") from error


def gguf_tensors(file: GGUF) -> dict[str, np.ndarray]:
    """Return all tensors in float32 under the names of transformers, in its order of outputs.

    Args:
        file: of which `gguf_words` gives words.
    """
    words = gguf_words(file)
    n_heads = {"attn_q": words["num_attention_heads"], "attn_k": words["num_key_value_heads"]}
    is_permuted = PERMUTED[words["model_type"]]
    found = {}
    for name in file.tensors:
        module, _, leaf = name.rpartition(".")
        layer, _, part = module.removeprefix("blk.").partition(".")
        x = file.read(name)
        if is_permuted and part in n_heads:
            x = _unpermuted(name, x, n_heads[part])
        if module in TOP:
            name = f"{TOP[module]}.{leaf}"
        elif module.startswith("blk.") and part in BLOCK:
            name = f"model.layers.{layer}.{BLOCK[part]}.{leaf}"
        found[name] = x  # an unknown name stays, and is refused by `from_hugging_face`
    return found


def _words(file: GGUF) -> dict[str, Any]:
    kind = file.words.get(ARCHITECTURE)
    if not isinstance(kind, str) or kind not in PERMUTED:
        raise ValueError(f"{ARCHITECTURE} is {kind!r}; {', '.join(PERMUTED)} are read")
    words = {word: _number(file.words, f"{kind}.{key}", int) for word, key in KEYS.items()}
    n_heads = words["num_attention_heads"]
    groups = _number(file.words, f"{kind}.attention.head_count_kv", int, n_heads)
    if words["hidden_size"] % n_heads:
        raise ValueError(f"{kind}.attention.head_count={n_heads} does not divide the width")
    head_size = words["hidden_size"] // n_heads
    for key in ("rope.dimension_count", "attention.key_length", "attention.value_length"):
        size = _number(file.words, f"{kind}.{key}", int, head_size)
        if size != head_size:
            raise ValueError(f"{kind}.{key}={size}, and a head is {head_size} wide: not read")
    scaling = file.words.get(f"{kind}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file.tensors:
        raise ValueError("angles are scaled (rope.scaling or rope_freqs): only plain ones are read")
    if "token_embd.weight" not in file.tensors:
        raise ValueError("the tensor token_embd.weight is missing: it is no language model")
    return words | {
        "model_type": kind,
        "num_key_value_heads": groups,
        "rms_norm_eps": _number(file.words, f"{kind}.attention.layer_norm_rms_epsilon", float),
        "rope_theta": _number(file.words, f"{kind}.rope.freq_base", float, 10_000.0),
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": True,  # `from_hugging_face` refuses another head
    }


def _number(words: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    """Return a number above 0."""
    value = words.get(key, default)
    if value is None:
        raise ValueError(f"the key {key} is missing")
    if isinstance(value, bool) or not isinstance(value, kind) or not value > 0:
        name = {int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"{key} is {str(value)[:40]}; it must be {name} above 0")
    return value


def _unpermuted(name: str, x: np.ndarray, n_heads: int) -> np.ndarray:
    """Return outputs of heads in the order of transformers, from llama.cpp's.

    Args:
        name: of the tensor, for the message.
        x: [H d, ...], of which the rows 2 i and 2 i + 1 of a head become its rows i and i + d / 2.
        n_heads: H.
    """
    if x.shape[0] % (2 * n_heads):
        raise GGUFError(f"{name} has {x.shape[0]} outputs for {n_heads} heads of an even width")
    heads = x.reshape(n_heads, -1, 2, *x.shape[1:])
    return np.swapaxes(heads, 1, 2).reshape(x.shape)
