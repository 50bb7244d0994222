"""Small models in the forms in which models are published: a .gguf and a folder of Hugging Face."""

import dataclasses
import json

import jax
import numpy as np

from latent_jax.models import safetensors
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.hugging_face import to_hugging_face
from tests.compiled import init
from tests.models.gguf_files import made
from tests.tokenizers.published_test import gguf_words, tokenizer_json

LLAMA = GPTConfig(
    vocab_size=31,
    max_length=256,
    n_layers=2,
    d_model=24,
    n_heads=6,
    n_kv_heads=2,
    d_ff=32,
    positions="rotary",
    rope_theta=500.0,
    norm="rms",
    norm_epsilon=1e-4,
    gated=True,
    activation="silu",
    use_bias=False,
)
NETWORKS = {
    "llama": LLAMA,
    "qwen2": dataclasses.replace(LLAMA, qkv_bias=True),
    "llama of whole heads": dataclasses.replace(LLAMA, n_kv_heads=0),
}
MODULES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""gguf-py's tensor_mapping.py, the other way round than the reader has it."""


def random_params(config, seed=1):
    """Return parameters of which none is at its initial constant."""
    shapes = jax.eval_shape(init, GPT(config), jax.random.key(0), np.zeros((1, 2), np.int32))
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: (0.2 * random.standard_normal(leaf.shape)).astype(np.float32),
        shapes["params"],
    )


def permute(weights, n_heads):
    """llama.cpp's convert_hf_to_gguf.py, LlamaModel.permute."""
    return (
        weights.reshape(n_heads, 2, weights.shape[0] // n_heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def gguf_content(config, params, vocabulary=None, changed=None, tensors=None):
    """Return a .gguf of F32 tensors; `changed` words and `tensors` replace those of the model."""
    theirs, named = to_hugging_face(config, params)
    kind = theirs["model_type"]
    words = {
        "general.architecture": kind,
        f"{kind}.block_count": config.n_layers,
        f"{kind}.context_length": config.max_length,
        f"{kind}.embedding_length": config.d_model,
        f"{kind}.feed_forward_length": config.hidden_size,
        f"{kind}.attention.head_count": config.n_heads,
        f"{kind}.attention.head_count_kv": config.key_value_heads,
        f"{kind}.rope.freq_base": config.rope_theta,
        f"{kind}.attention.layer_norm_rms_epsilon": config.norm_epsilon,
    }
    if vocabulary is not None:
        numbers = {k: v for k, v in gguf_words(vocabulary).items()}
        numbers["tokenizer.ggml.token_type"] = (
            ["i32"],
            numbers["tokenizer.ggml.token_type"].tolist(),
        )
        words |= numbers
    found = {}
    for name, x in named.items():
        module, leaf = name.rsplit(".", 1)
        if kind == "llama" and module.endswith(("q_proj", "k_proj")):
            is_query = module.endswith("q_proj")
            x = permute(x, config.n_heads if is_query else config.key_value_heads)
        if module.startswith("model.layers."):
            layer, module = module.removeprefix("model.layers.").split(".", 1)
            found[f"blk.{layer}.{MODULES[module]}.{leaf}"] = np.ascontiguousarray(x)
        else:
            found[f"{MODULES[module]}.{leaf}"] = np.ascontiguousarray(x)
    words = {k: v for k, v in (words | (changed or {})).items() if v is not None}
    found = {k: v for k, v in (found | (tensors or {})).items() if v is not None}
    return made(words, found)


def write_gguf(path, config, params, vocabulary=None, **changes):
    """Write `gguf_content`."""
    path.write_bytes(gguf_content(config, params, vocabulary, **changes))
    return path


def write_folder(folder, config, params, vocabulary=None, n_parts=1):
    """Write a folder of Hugging Face with its weights in one file or in parts."""
    folder.mkdir(exist_ok=True)
    words, tensors = to_hugging_face(config, params, 0)
    (folder / "config.json").write_text(json.dumps(words))
    if vocabulary is not None:
        tokenizer_json(vocabulary, folder)
    if n_parts == 1:
        (folder / "model.safetensors").write_bytes(safetensors.to_bytes(tensors))
        return folder
    names = sorted(tensors)
    parts = {f"model-{i}.safetensors": names[i::n_parts] for i in range(n_parts)}
    for part, inside in parts.items():
        (folder / part).write_bytes(safetensors.to_bytes({n: tensors[n] for n in inside}))
    index = {"weight_map": {n: part for part, inside in parts.items() for n in inside}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
