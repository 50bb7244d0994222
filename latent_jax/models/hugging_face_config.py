"""Conversion of a `GPTConfig` to the config.json of Hugging Face's transformers, and back.

`GPTConfig` can describe three of their architectures. GPT2LMHeadModel: learned positions, layer
norm, a plain feed-forward part, biases. LlamaForCausalLM with tied embeddings: rotary positions,
RMS norm, a gated feed-forward part, any number of heads of keys and values. Qwen2ForCausalLM with
tied embeddings: the same, with a bias on queries, keys and values only. Heads that are not tied and
angles that are scaled (rope_scaling) are refused.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from latent_jax.models.gpt import GPTConfig

ACTIVATIONS = {"gelu": "gelu_new", "gelu_exact": "gelu", "relu": "relu", "silu": "silu"}
"""Our name of an activation -> their name."""


@dataclasses.dataclass(frozen=True)
class Form:
    """One of their architectures.

    Attributes:
        name: their class.
        words: the `GPTConfig` fields, with their values, that the architecture requires.
        epsilon: their key of `norm_epsilon`, and its default.
        required: key of their config -> (required value, default where the key is missing).
        top: our module name -> their module name, outside of the blocks.
        layer: their prefix of the modules of a block; {} stands for the block's number.
        block: our module name -> their module name, within a block.
        is_linear: True if kernels are [outputs, inputs], as in torch.nn.Linear; else they are
            [inputs, outputs].
    """

    name: str
    words: Mapping[str, Any]
    epsilon: tuple[str, float]
    required: Mapping[str, tuple[Any, Any]]
    top: Mapping[str, str]
    layer: str
    block: Mapping[str, str]
    is_linear: bool


_ROTARY = Form(
    name="LlamaForCausalLM",
    words={"positions": "rotary", "norm": "rms", "gated": True, "qkv_bias": False},
    epsilon=("rms_norm_eps", 1e-6),
    required={
        # key: (required value, default where the key is missing)
        "tie_word_embeddings": (True, False),
        "rope_scaling": (None, None),
    },
    top={"token_embedding": "model.embed_tokens", "stack/final_norm": "model.norm"},
    layer="model.layers.{}.",
    block={
        "attention_norm": "input_layernorm",
        "attention/query": "self_attn.q_proj",
        "attention/key": "self_attn.k_proj",
        "attention/value": "self_attn.v_proj",
        "attention/out": "self_attn.o_proj",
        "feed_forward_norm": "post_attention_layernorm",
        "feed_forward/gate": "mlp.gate_proj",
        "feed_forward/up": "mlp.up_proj",
        "feed_forward/down": "mlp.down_proj",
    },
    is_linear=True,
)

FORMS = {
    "gpt2": Form(
        name="GPT2LMHeadModel",
        words={"positions": "learned", "norm": "layer", "gated": False, "use_bias": True},
        epsilon=("layer_norm_epsilon", 1e-5),
        required={
            "scale_attn_weights": (True, True),
            "scale_attn_by_inverse_layer_idx": (False, False),
            "tie_word_embeddings": (True, True),
        },
        top={
            "token_embedding": "transformer.wte",
            "position_embedding": "transformer.wpe",
            "stack/final_norm": "transformer.ln_f",
        },
        layer="transformer.h.{}.",
        block={
            "attention_norm": "ln_1",
            "attention/query_key_value": "attn.c_attn",
            "attention/out": "attn.c_proj",
            "feed_forward_norm": "ln_2",
            "feed_forward/up": "mlp.c_fc",
            "feed_forward/down": "mlp.c_proj",
        },
        is_linear=False,
    ),
    "llama": _ROTARY,
    "qwen2": dataclasses.replace(
        _ROTARY,
        name="Qwen2ForCausalLM",
        words={**_ROTARY.words, "use_bias": False, "qkv_bias": True},
        required={**_ROTARY.required, "use_sliding_window": (False, False)},
    ),
}
"""Their `model_type` -> architecture."""


def model_type(config: GPTConfig) -> str:
    """Return the key of `FORMS` of a network's architecture.

    Raises:
        ValueError: it has none; the message shows the fields that decide.
    """
    for kind, form in FORMS.items():
        grouped = kind == "gpt2" and config.key_value_heads != config.n_heads
        if not grouped and all(getattr(config, k) == v for k, v in form.words.items()):
            return kind
    fields = ("positions", "norm", "gated", "use_bias", "qkv_bias")
    words = {k: getattr(config, k) for k in fields}
    known = "; ".join(f"{kind} has {dict(form.words)}" for kind, form in FORMS.items())
    raise ValueError(
        f"transformers has no model with {words} and n_kv_heads={config.n_kv_heads}: {known}, and "
        "gpt2 as many heads of keys as of queries"
    )


def their_words(kind: str, config: GPTConfig, separator_id: int | None) -> dict[str, Any]:
    """Return the content of their config.json; see `hugging_face.to_hugging_face`."""
    form = FORMS[kind]
    shared = {
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "torch_dtype": "float32",
        "architectures": [form.name],
        form.epsilon[0]: config.norm_epsilon,
        **{key: value for key, (value, _) in form.required.items()},
    }
    if kind == "gpt2":
        return shared | {
            "n_positions": config.max_length,
            "n_embd": config.d_model,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_inner": config.hidden_size,
            "activation_function": ACTIVATIONS[config.activation],
            "embd_pdrop": config.dropout,
            "resid_pdrop": config.dropout,
            "attn_pdrop": 0.0,
        }
    biases = {"attention_bias": config.use_bias, "mlp_bias": config.use_bias}
    return shared | {
        "max_position_embeddings": config.max_length,
        "hidden_size": config.d_model,
        "intermediate_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_size,
        "hidden_act": ACTIVATIONS[config.activation],
        "rope_theta": config.rope_theta,
        **(biases if kind == "llama" else {}),
    }


def our_config(kind: str, words: Mapping[str, Any]) -> GPTConfig:
    """Return the `GPTConfig` of their config.json.

    Raises:
        ValueError: a value describes a network that this project does not have.
    """
    form = FORMS[kind]
    required = dict(form.required)
    if kind != "gpt2":
        head_size = words["hidden_size"] // words["num_attention_heads"]
        required["head_dim"] = (head_size, head_size)
    if kind == "llama":
        required["mlp_bias"] = (words.get("attention_bias", False), False)
    for key, (value, absent) in required.items():
        found = words.get(key, absent)
        if found is None and key == "head_dim":
            continue
        if found != value:
            raise ValueError(f"{key}={found} in a {kind}: this network has {value} only")
    theirs = "activation_function" if kind == "gpt2" else "hidden_act"
    known = {word: ours for ours, word in ACTIVATIONS.items()}
    activation = words.get(theirs, "gelu_new" if kind == "gpt2" else "silu")
    if activation not in known:
        raise ValueError(f"{theirs}={activation!r} is not known; {', '.join(known)} are")
    if kind == "gpt2":
        shape = {
            "max_length": words["n_positions"],
            "n_layers": words["n_layer"],
            "d_model": words["n_embd"],
            "n_heads": words["n_head"],
            "d_ff": words.get("n_inner") or 0,
        }
    else:
        # Since version 5 of transformers, the options of the angles are in a section of their own.
        rope = {**words, **(words.get("rope_parameters") or {})}
        if rope.get("rope_type", "default") != "default":
            raise ValueError(
                f"rope_type={rope['rope_type']!r} scales angles; only 'default', unscaled, is read"
            )
        n_heads = words["num_attention_heads"]
        n_groups = words.get("num_key_value_heads") or n_heads
        shape = {
            "max_length": words["max_position_embeddings"],
            "n_layers": words["num_hidden_layers"],
            "d_model": words["hidden_size"],
            "n_heads": n_heads,
            "n_kv_heads": 0 if n_groups == n_heads else n_groups,
            "d_ff": words["intermediate_size"],
            "rope_theta": float(rope.get("rope_theta", 10_000.0)),
        }
        if kind == "llama":
            shape["use_bias"] = words.get("attention_bias", False)
    if shape["d_ff"] == 4 * shape["d_model"]:
        shape["d_ff"] = 0
    return GPTConfig(
        vocab_size=words["vocab_size"],
        activation=known[activation],
        norm_epsilon=words.get(*form.epsilon),
        **{**form.words, **shape},
    )
