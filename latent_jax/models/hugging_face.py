"""Conversion of a GPT's parameters to tensors of Hugging Face's transformers, and back.

`hugging_face_config` lists the supported architectures. "Their" names, configs and tensors are
those of transformers, "our" ones are those of this project. transformers itself is not needed.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax.array_files import printable
from latent_jax.layers.block import by_layer
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.hugging_face_config import (
    FORMS,
    Form,
    model_type,
    our_config,
    their_words,
)

Arrays = dict[str, np.ndarray]

LEAVES = {"embedding": "weight", "kernel": "weight", "scale": "weight", "bias": "bias"}

BUFFERS = r"(\.attn\.(masked_)?bias|\.rotary_emb\.inv_freq)$"
"""Regular expression for the names of constants that older files hold beside the weights."""


def to_hugging_face(
    config: GPTConfig, params: Mapping[str, Any], separator_id: int | None = None
) -> tuple[dict[str, Any], Arrays]:
    """Return the content of their config.json, and their tensors by name, float32.

    Args:
        config: the config of the GPT.
        params: the "params" collection of the GPT.
        separator_id: the id before every row and after every document; it becomes their id of the
            beginning and of the end of a text. None: there is none.

    Raises:
        ValueError: transformers has no such network; see `model_type`.
    """
    kind = model_type(config)
    return their_words(kind, config, separator_id), _their_tensors(kind, config, params)


def from_hugging_face(
    words: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> tuple[GPTConfig, dict[str, Any]]:
    """Return the config of a GPT, with dropout 0, and its "params" collection in float32.

    Args:
        words: the content of their config.json.
        tensors: their tensors by name, of any float dtype.

    Raises:
        ValueError: this project has no such network, or a tensor is missing, unknown, or not of the
            shape that the config gives.
    """
    config = network(words)
    kind = words["model_type"]
    tensors = _named(kind, tensors)
    blank = _blank(config)
    _check(_their_shapes(kind, config, blank), tensors)
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


def network(words: Mapping[str, Any]) -> GPTConfig:
    """Return the config of the GPT that their config.json describes, with dropout 0.

    Raises:
        ValueError: this project has no such network, or a word lacks.
    """
    kind = words.get("model_type")
    if not isinstance(kind, str) or kind not in FORMS:
        raise ValueError(f"model_type {kind!r} is no network of latent_jax; {', '.join(FORMS)} are")
    try:
        return our_config(kind, words)
    except KeyError as error:
        raise ValueError(f"the config.json of this {kind} lacks {error}") from error
    except (AttributeError, TypeError, ZeroDivisionError) as error:
        raise ValueError(
            f"the config.json of this {kind} has a value that no network has: {error}"
        ) from error


def _their_tensors(kind: str, config: GPTConfig, params: Mapping[str, Any]) -> Arrays:
    form = FORMS[kind]
    tensors = {_name(form.top, path): x for path, x in _flat(_outside(params)).items()}
    for number, block in enumerate(by_layer(params["stack"]["blocks"])):
        prefix = form.layer.format(number)
        for path, x in _parted(kind, config, block).items():
            tensors[prefix + _name(form.block, path)] = _to_matrix(path, x, form)
    return {name: np.asarray(x, np.float32) for name, x in tensors.items()}


def _their_shapes(
    kind: str, config: GPTConfig, blank: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of `_their_tensors`.

    No array is made: the config may come from anybody, and is of another model than the file.
    """
    form = FORMS[kind]
    shapes = {_name(form.top, path): x.shape for path, x in _flat(_outside(blank)).items()}
    first = by_layer(blank["stack"]["blocks"])[0]
    for path, x in _parted(kind, config, first).items():
        shape = _matrix_shape(path, x.shape)
        shape = shape[::-1] if form.is_linear else shape
        for number in range(config.n_layers):
            shapes[form.layer.format(number) + _name(form.block, path)] = shape
    return shapes


def _outside(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters without those of the blocks."""
    return {**params, "stack": {k: v for k, v in params["stack"].items() if k != "blocks"}}


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(tree, sep="/")


def _name(modules: Mapping[str, str], path: str) -> str:
    module, leaf = path.rsplit("/", 1)
    return f"{modules[module]}.{LEAVES[leaf]}"


def _parted(kind: str, config: GPTConfig, block: Mapping[str, Any]) -> Arrays:
    """Return the leaves of a block by path, with their layout of queries, keys and values."""
    flat = _flat(block)
    for leaf in ("kernel", "bias") if config.has_qkv_bias else ("kernel",):
        if config.key_value_heads == config.n_heads:
            whole = np.asarray(flat.pop(f"attention/query_key_value/{leaf}"))  # [..., H, 3, d]
            if kind == "gpt2":
                flat[f"attention/query_key_value/{leaf}"] = np.moveaxis(whole, -2, -3)
                continue
            parts = np.moveaxis(whole, -2, 0)
        else:
            both = np.moveaxis(np.asarray(flat.pop(f"attention/key_value/{leaf}")), -2, 0)
            parts = (np.asarray(flat.pop(f"attention/query/{leaf}")), *both)
        for name, part in zip(("query", "key", "value"), parts, strict=True):
            flat[f"attention/{name}/{leaf}"] = part
    return flat


def _joined(kind: str, config: GPTConfig, parts: Arrays) -> dict[str, Any]:
    """Return the block with these leaves: the inverse of `_parted`."""
    flat = dict(parts)
    for leaf in ("kernel", "bias") if config.has_qkv_bias else ("kernel",):
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
    matrix = np.reshape(x, _matrix_shape(path, np.shape(x)))
    return matrix.T if form.is_linear else matrix


def _matrix_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return [inputs, outputs] of a kernel, and [n] of anything else."""
    if not path.endswith("kernel"):
        return (math.prod(shape),)
    n_outputs = shape[-1] if path == "attention/out/kernel" else math.prod(shape[1:])
    return math.prod(shape) // n_outputs, n_outputs


def _from_matrix(path: str, x: np.ndarray, shape: tuple[int, ...], form: Form) -> np.ndarray:
    if path.endswith("kernel") and form.is_linear:
        x = x.T
    return np.reshape(x, shape)


def _blank(config: GPTConfig) -> Any:
    """Return zeros in the shapes of the parameters; they are broadcast and take no memory."""
    ids = jnp.zeros((1, 1), jnp.int32)
    shapes = jax.eval_shape(GPT(config).init, jax.random.key(0), ids)["params"]
    return jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes)


def _named(kind: str, tensors: Mapping[str, np.ndarray]) -> Arrays:
    """Return the weights under the names of the whole model, without constants and the tied head.

    Raises:
        ValueError: the head differs from the embedding table.
    """
    named = {}
    for name, x in tensors.items():
        if kind == "gpt2" and not name.startswith(("transformer.", "lm_head.")):
            name = f"transformer.{name}"  # a file of GPT2Model, such as GPT-2's own
        if not re.search(BUFFERS, name):
            named[name] = x
    head = named.pop("lm_head.weight", None)
    table = named.get(_name(FORMS[kind].top, "token_embedding/embedding"))
    if head is not None and table is not None and not np.array_equal(head, table):
        raise ValueError("lm_head.weight is not the embedding table: heads are tied here")
    return named


def _check(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError at the first tensor that is missing, unknown or of another shape."""
    for name in expected.keys() - found.keys():
        raise ValueError(f"the tensor {name} is missing: the file is of another model")
    for name in found.keys() - expected.keys():
        raise ValueError(f"the tensor {printable(name)} is not known: the file is of another model")
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise ValueError(
                f"the tensor {name} is {list(found[name].shape)}; by its config.json it would be "
                f"{list(shape)}"
            )
