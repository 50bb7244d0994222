"""Published models as they lie on a disk: a .gguf of llama.cpp, or a folder of transformers.

A folder has config.json; model.safetensors, or the parts that model.safetensors.index.json names;
and a tokenizer in one of three forms: `tokenizer/` as this project saves it, tokenizer.json, or
GPT-2's vocab.json and merges.txt.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from latent_jax import tokenizers
from latent_jax.json_files import Kind, check, read_json
from latent_jax.models import safetensors
from latent_jax.models.gguf import open_gguf
from latent_jax.models.gguf_model import gguf_tensors, gguf_words
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.models.hugging_face import from_hugging_face, network
from latent_jax.tokenizers import bpe, published

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = "tokenizer"
"""Folder inside a folder, with the tokenizer as this project saves it."""
GGUF_SUFFIX = ".gguf"


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A published model of which only the config has been read.

    Attributes:
        source: its path.
        config: of the GPT, with dropout 0.
        words: as the config.json of transformers has them.
        read_tensors: function that returns the tensors under the names of transformers.
        read_tokenizer: function that returns the tokenizer.
    """

    source: str
    config: GPTConfig
    words: Mapping[str, Any]
    read_tensors: Callable[[], Mapping[str, np.ndarray]]
    read_tokenizer: Callable[[], tokenizers.Tokenizer]

    @property
    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Of the "params" collection, by path."""
        ids = jnp.zeros((1, 1), jnp.int32)
        shapes = jax.eval_shape(GPT(self.config).init, jax.random.key(0), ids)["params"]
        return flax.traverse_util.flatten_dict(shapes, sep="/")

    def params(self) -> dict[str, Any]:
        """Return the "params" collection in float32, on the host.

        Raises:
            ValueError: the weights are not those of the config; the message names the source.
        """
        try:
            return from_hugging_face(self.words, self.read_tensors())[1]
        except ValueError as error:
            raise ValueError(f"{self.source}: {error}") from error

    def tokenizer(self) -> tokenizers.Tokenizer:
        """Return the tokenizer, which has as many ids as the model.

        Raises:
            ValueError: there is none that can be read, or it is that of another model.
        """
        found = self.read_tokenizer()
        if found.vocab_size != self.config.vocab_size:
            raise ValueError(
                f"{self.source}: the model has {self.config.vocab_size} ids and the tokenizer "
                f"{found.name} {found.vocab_size}"
            )
        return found


def is_pretrained(path: str | Path) -> bool:
    """Return whether a path looks like one of a published model, not of a run of this project."""
    path = Path(path)
    if path.is_dir():
        return (path / CONFIG).exists() and not (path / "checkpoints").exists()
    return path.suffix == GGUF_SUFFIX


def open_pretrained(path: str | Path) -> Pretrained:
    """Return a published model; its weights and its tokenizer are read later.

    Raises:
        ValueError: there is none at the path, or this project has no such network; the message
            names the path.
    """
    path = Path(path)
    if path.is_dir():
        words = read_json(path / CONFIG)
        try:
            config = network(words)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return Pretrained(
            str(path),
            config,
            words,
            lambda: read_tensors(path),
            lambda: _folder_tokenizer(path, words),
        )
    if path.suffix != GGUF_SUFFIX:
        what = "is no" if path.exists() else "does not exist: name a"
        raise ValueError(
            f"{path} {what} published model: a {GGUF_SUFFIX} file, or a folder with {CONFIG} and "
            f"{WEIGHTS}"
        )
    file = open_gguf(path)
    words = gguf_words(file)
    try:
        config = network(words)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Pretrained(
        str(path),
        config,
        words,
        lambda: gguf_tensors(file),
        lambda: _named(path, lambda: published.from_gguf_words(file.words)),
    )


def read_tensors(folder: Path) -> Mapping[str, np.ndarray]:
    """Return all tensors of a folder by name, from one file or from those that an index names.

    Raises:
        ValueError: a file cannot be read or is no whole safetensors file, or two have one tensor.
    """
    if not (folder / INDEX).exists():
        return safetensors.read(folder / WEIGHTS)
    index = read_json(folder / INDEX, Kind(keys={"weight_map": dict}))["weight_map"]
    names = sorted(set(check(index, folder / INDEX, Kind(items=str)).values()))
    found: dict[str, np.ndarray] = {}
    for name in names:
        # The name alone: no path of an index leads out of its folder.
        part = safetensors.read(folder / Path(name).name)
        if twice := found.keys() & part.keys():
            raise ValueError(f"{folder / name} has {min(twice)}, and another part has it too")
        found |= part
    return found


def published_tokenizer(path: str | Path, vocab_size: int = 0) -> tokenizers.Tokenizer:
    """Return the tokenizer of a .gguf, a tokenizer.json, or a saved folder of `PretrainedBPE`.

    Args:
        path: of a file; in a saved folder, that of its vocabulary.json.
        vocab_size: rows of the model's table, see `published.from_tokenizer_json`.

    Raises:
        ValueError: there is none; the message names the path.
    """
    path = Path(path)
    if path.suffix == GGUF_SUFFIX:
        return _named(path, lambda: published.from_gguf_words(open_gguf(path).words))
    if path.name in tokenizers.PretrainedBPE.file_names:
        return tokenizers.PretrainedBPE.load(path.parent)
    return published.from_tokenizer_json(path, vocab_size)


def _folder_tokenizer(folder: Path, words: Mapping[str, Any]) -> tokenizers.Tokenizer:
    if (folder / TOKENIZER).is_dir():
        return tokenizers.load(folder / TOKENIZER)
    whole = folder / published.TOKENIZER_JSON
    vocab, merges = (folder / name for name in bpe.BPE.file_names)
    # SmolLM2 and Qwen2 have GPT-2's two files as well, and other rules of words than GPT-2.
    if whole.exists() and words.get("model_type") != "gpt2":
        return published.from_tokenizer_json(whole, words["vocab_size"])
    if vocab.exists() and merges.exists():
        return tokenizers.BPE.from_files(vocab, merges)
    raise ValueError(
        f"{folder} has no tokenizer that can be read: it needs {whole.name}, GPT-2's {vocab.name} "
        f"and {merges.name}, or the folder {TOKENIZER}/ that the export wrote"
    )


def _named(path: Path, make: Callable[[], tokenizers.Tokenizer]) -> tokenizers.Tokenizer:
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
