"""A GPT of this project as a model of Hugging Face's transformers, and back: names and shapes.

Two of their architectures are networks that `GPTConfig` describes. GPT2LMHeadModel: learned
positions, layer norm, a plain feed-forward part, biases. LlamaForCausalLM with tied embeddings:
rotary positions, RMS norm, a gated feed-forward part, any number of heads of keys and values. Qwen2
is not: it has biases on queries, keys and values alone. NumPy only; transformers is not needed.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.layers.block import by_layer
from latent_jax.layers.norms import EPSILON
from latent_jax.models.gpt import GPT, GPTConfig

Arrays = dict[str, np.ndarray]

ACTIVATIONS = {"gelu": "gelu_new", "gelu_exact": "gelu", "relu": "relu", "silu": "silu"}
"""Their words for ours."""

LEAVES = {"embedding": "weight", "kernel": "weight", "scale": "weight", "bias": "bias"}

BUFFERS = r"(\.attn\.(masked_)?bias|\.rotary_emb\.inv_freq)$"
"""Regex of the names of constants that older files hold beside the weights."""


@dataclasses.dataclass(frozen=True)
class Form:
    """One of their architectures.

    Attributes:
        words: what a `GPTConfig` must say to be one.
        required: keys of their config that must have a value, and (key, what absence means).
        top: their names of modules outside of the blocks, by ours.
        layer: prefix of the modules of a block, with its number.
        block: their names of the modules of a block, by ours.
        is_linear: kernels are [outputs, inputs], as in torch.nn.Linear; else [inputs, outputs].
    """

    words: Mapping[str, Any]
    required: Mapping[str, tuple[Any, Any]]
    top: Mapping[str, str]
    layer: str
    block: Mapping[str, str]
    is_linear: bool


FORMS = {
    "gpt2": Form(
        words={"positions": "learned", "norm": "layer", "gated": False, "use_bias": True},
        required={
            # key: (what it must be, what it is where the file does not say)
            "layer_norm_epsilon": (EPSILON, 1e-5),
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
    "llama": Form(
        words={"positions": "rotary", "norm": "rms", "gated": True},
        required={
            "rms_norm_eps": (EPSILON, 1e-6),
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
    ),
}
"""By their word `model_type`."""


def model_type(config: GPTConfig) -> str:
    """Return the key of `FORMS` that a network is.

    Raises:
        ValueError: it is none; the message says in what.
    """
    for kind, form in FORMS.items():
        grouped = kind == "gpt2" and config.key_value_heads != config.n_heads
        if not grouped and all(getattr(config, k) == v for k, v in form.words.items()):
            return kind
    words = {k: getattr(config, k) for k in ("positions", "norm", "gated", "use_bias")}
    known = "; ".join(f"{kind} has {dict(form.words)}" for kind, form in FORMS.items())
    raise ValueError(
        f"transformers has no model with {words} and n_kv_heads={config.n_kv_heads}: {known}, and "
        "gpt2 as many heads of keys as of queries"
    )


def to_hugging_face(
    config: GPTConfig, params: Mapping[str, Any], separator_id: int | None = None
) -> tuple[dict[str, Any], Arrays]:
    """Return what stands in their config.json, and their tensors by name, float32.

    Args:
        config: of the GPT.
        params: its "params" collection.
        separator_id: the id before every row and after every document, which is their beginning and
            end of a text; None: there is none.

    Raises:
        ValueError: see `model_type`.
    """
    kind = model_type(config)
    return _their_words(kind, config, separator_id), _their_tensors(kind, config, params)


def from_hugging_face(
    words: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> tuple[GPTConfig, dict[str, Any]]:
    """Return the GPT, without dropout, and its "params" collection in float32: the way back.

    Args:
        words: their config.json.
        tensors: by name, of any float dtype.

    Raises:
        ValueError: their network is none of ours, or a tensor is missing, unknown or has another
            shape than the config says.
    """
    kind = words.get("model_type")
    if kind not in FORMS:
        raise ValueError(f"model_type {kind!r} is no network of latent_jax; {', '.join(FORMS)} are")
    try:
        config = _our_config(kind, words)
    except KeyError as error:
        raise ValueError(f"the config.json of this {kind} lacks {error}") from error
    blank = _blank(config)
    tensors = _named(kind, tensors)
    expected = _their_tensors(kind, config, blank)
    _check(expected, tensors)
    form, flat = FORMS[kind], {}
    for path in _flat(_outside(blank)):
        flat[path] = tensors[_name(form.top, path)]
    layers = []
    for number, block in enumerate(by_layer(blank["stack"]["blocks"])):
        parts = {
            path: _from_matrix(
                path, tensors[form.layer.format(number) + _name(form.block, path)], x.shape, form
            )
            for path, x in _parted(kind, config, block).items()
        }
        layers.append(_joined(kind, config, parts))
    params = flax.traverse_util.unflatten_dict(flat, sep="/")
    params["stack"]["blocks"] = jax.tree.map(lambda *leaves: np.stack(leaves), *layers)
    return config, jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)


def _their_words(kind: str, config: GPTConfig, separator_id: int | None) -> dict[str, Any]:
    shared = {
        "model_type": kind,
        "vocab_size": config.vocab_size,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "torch_dtype": "float32",
        **{key: value for key, (value, _) in FORMS[kind].required.items()},
    }
    if kind == "gpt2":
        return shared | {
            "architectures": ["GPT2LMHeadModel"],
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
    return shared | {
        "architectures": ["LlamaForCausalLM"],
        "max_position_embeddings": config.max_length,
        "hidden_size": config.d_model,
        "intermediate_size": config.hidden_size,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_size,
        "hidden_act": ACTIVATIONS[config.activation],
        "rope_theta": config.rope_theta,
        "attention_bias": config.use_bias,
        "mlp_bias": config.use_bias,
    }


def _our_config(kind: str, words: Mapping[str, Any]) -> GPTConfig:
    """Return the config of their network.

    Raises:
        ValueError: a word says that it is none of ours.
    """
    required = dict(FORMS[kind].required)
    if kind == "llama":
        head_size = words["hidden_size"] // words["num_attention_heads"]
        required["head_dim"] = (head_size, head_size)
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
        # From version 5 of transformers the angles have a section of their own.
        rope = {**words, **(words.get("rope_parameters") or {})}
        if rope.get("rope_type", "default") != "default":
            raise ValueError(f"rope_type={rope['rope_type']!r}: angles are scaled by none here")
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
            "use_bias": words.get("attention_bias", False),
        }
    if shape["d_ff"] == 4 * shape["d_model"]:
        shape["d_ff"] = 0
    return GPTConfig(
        vocab_size=words["vocab_size"],
        activation=known[activation],
        **{**FORMS[kind].words, **shape},
    )


def _their_tensors(kind: str, config: GPTConfig, params: Mapping[str, Any]) -> Arrays:
    form = FORMS[kind]
    tensors = {_name(form.top, path): x for path, x in _flat(_outside(params)).items()}
    for number, block in enumerate(by_layer(params["stack"]["blocks"])):
        prefix = form.layer.format(number)
        for path, x in _parted(kind, config, block).items():
            tensors[prefix + _name(form.block, path)] = _to_matrix(path, x, form)
    return {name: np.asarray(x, np.float32) for name, x in tensors.items()}


def _outside(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters without those of the blocks."""
    return {**params, "stack": {k: v for k, v in params["stack"].items() if k != "blocks"}}


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(tree, sep="/")


def _name(modules: Mapping[str, str], path: str) -> str:
    module, leaf = path.rsplit("/", 1)
    return f"{modules[module]}.{LEAVES[leaf]}"


def _parted(kind: str, config: GPTConfig, block: Mapping[str, Any]) -> Arrays:
    """Return the leaves of a block by path, with queries, keys and values as they have them."""
    flat = _flat(block)
    for leaf in ("kernel", "bias") if config.use_bias else ("kernel",):
        if config.key_value_heads == config.n_heads:
            # [..., H, 3, d]
            parts = np.moveaxis(np.asarray(flat.pop(f"attention/query_key_value/{leaf}")), -2, 0)
        else:
            both = np.moveaxis(np.asarray(flat.pop(f"attention/key_value/{leaf}")), -2, 0)
            parts = (np.asarray(flat.pop(f"attention/query/{leaf}")), *both)
        if kind == "gpt2":
            flat[f"attention/query_key_value/{leaf}"] = np.stack(parts, -3)  # [..., 3, H, d]
        else:
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                flat[f"attention/{name}/{leaf}"] = part
    return flat


def _joined(kind: str, config: GPTConfig, parts: Arrays) -> dict[str, Any]:
    """Return the block of such leaves: the inverse of `_parted`."""
    flat = dict(parts)
    for leaf in ("kernel", "bias") if config.use_bias else ("kernel",):
        if kind == "gpt2":
            three = np.moveaxis(flat.pop(f"attention/query_key_value/{leaf}"), -3, 0)
        else:
            three = [flat.pop(f"attention/{name}/{leaf}") for name in ("query", "key", "value")]
        if config.key_value_heads == config.n_heads:
            flat[f"attention/query_key_value/{leaf}"] = np.stack(three, -2)
        else:
            flat[f"attention/query/{leaf}"] = three[0]
            flat[f"attention/key_value/{leaf}"] = np.stack(three[1:], -2)
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def _to_matrix(path: str, x: np.ndarray, form: Form) -> np.ndarray:
    """Return a kernel as a matrix, and anything else as a vector."""
    if not path.endswith("kernel"):
        return np.reshape(x, -1)
    n_outputs = x.shape[-1] if path == "attention/out/kernel" else np.prod(x.shape[1:])
    matrix = np.reshape(x, (-1, int(n_outputs)))
    return matrix.T if form.is_linear else matrix


def _from_matrix(path: str, x: np.ndarray, shape: tuple[int, ...], form: Form) -> np.ndarray:
    if path.endswith("kernel") and form.is_linear:
        x = x.T
    return np.reshape(x, shape)


def _blank(config: GPTConfig) -> Any:
    """Return zeros in the shapes of the parameters, which take no memory."""
    ids = jnp.zeros((1, 1), jnp.int32)
    shapes = jax.eval_shape(GPT(config).init, jax.random.key(0), ids)["params"]
    return jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)


def _named(kind: str, tensors: Mapping[str, np.ndarray]) -> Arrays:
    """Return the weights under the names of the whole model, without constants and a tied head.

    Raises:
        ValueError: the head is not tied to the table.
    """
    named = {}
    for name, x in tensors.items():
        if kind == "gpt2" and not name.startswith(("transformer.", "lm_head.")):
            name = f"transformer.{name}"  # a file of GPT2Model alone, as of GPT-2 itself
        if not re.search(BUFFERS, name):
            named[name] = x
    head = named.pop("lm_head.weight", None)
    table = named.get(_name(FORMS[kind].top, "token_embedding/embedding"))
    if head is not None and table is not None and not np.array_equal(head, table):
        raise ValueError("lm_head.weight is not the embedding table: heads are tied here")
    return named


def _check(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError at the first tensor that is missing, unknown or of another shape."""
    for name in expected.keys() - found.keys():
        raise ValueError(f"the tensor {name} is missing: the file is of another model")
    for name in found.keys() - expected.keys():
        raise ValueError(f"the tensor {name} is not known: the file is of another model")
    for name, x in expected.items():
        if found[name].shape != x.shape:
            raise ValueError(
                f"the tensor {name} is {list(found[name].shape)}; by its config.json it would be "
                f"{list(x.shape)}"
            )
