"""The code that makes the rows of a configuration, and what it is measured to be worth."""

import itertools
from typing import Any

import jax
from ml_collections import ConfigDict

from latent_jax.contracts import Code
from latent_jax.data import Corpus
from latent_jax.data.packing import RowLayout
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.tokenizers import bytes_per_token
from latent_jax.registration import file_of, shown
from latent_jax.tokenizers import Tokenizer

SAMPLE_BYTES, SAMPLE_EXAMPLES = 1 << 20, 4096
"""Of the training split, on which the bytes of a position are measured."""


def make_row_code(config: ConfigDict, tokenizer: Tokenizer) -> Code:
    """Return the code that makes the rows of a configuration; for text, its tokenizer.

    Raises:
        ValueError: a value of the configuration makes no code, or the family's `row_code` and
            `row_layout` have other arrays.
    """
    method = parse(config.method)
    known = family(method.family)
    code = known.row_code(method, config, tokenizer)
    if code is tokenizer:
        return code
    of = f"the family {known.name} in {file_of(type(known))}"
    if not hasattr(code, "encode_example"):
        raise ValueError(f"{of}: row_code must return a Code of contracts.py; got {shown(code)}")
    said, made = row_layout(config), RowLayout.of(code, config.row_length)
    if _arrays(said) != _arrays(made):
        raise ValueError(
            f"{of}: row_layout says {_arrays(said)}, and the code {code.name} of row_code makes "
            f"{_arrays(made)}: they are one thing"
        )
    return code


def row_layout(config: ConfigDict) -> RowLayout:
    """Return the arrays of a row of a configuration; no tokenizer is made, so padding may differ.

    Args:
        config: with its row length solved.
    """
    method = parse(config.method)
    return family(method.family).row_layout(method, config)


def config_batch_spec(config: ConfigDict, batch_size: int = 0) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shapes and dtypes of a global batch of a configuration.

    Args:
        config: with its row length solved.
        batch_size: rows; 0 = those of the configuration.
    """
    return row_layout(config).batch_spec(batch_size or config.batch_size)


def bytes_per_position(code: Code, tokenizer: Tokenizer, corpus: Corpus) -> float:
    """Return the raw bytes that a position of a row stands for, on the first training documents.

    For text that is `bytes_per_token`. Examples that do not fit into a row have no position.

    Raises:
        ValueError: none of the documents fits.
    """
    if code is tokenizer:
        return bytes_per_token(tokenizer, corpus)
    documents = itertools.islice(corpus.documents("train", SAMPLE_BYTES), SAMPLE_EXAMPLES)
    n_bytes = n_positions = n_read = 0
    for document in documents:
        amounts = code.encode_example(document).amounts["bytes"]
        n_bytes, n_positions = n_bytes + int(amounts.sum()), n_positions + len(amounts)
        n_read += 1
    if not n_bytes:
        raise ValueError(
            f"none of the first {n_read} training documents fits into a row of {code.name}, of "
            f"{code.row_length} positions: make its parts longer"
        )
    return n_bytes / n_positions


def _arrays(layout: RowLayout) -> dict[str, Any]:
    fields = {name: (spec.dtype, spec.shape) for name, spec in layout.fields.items()}
    return {"fields": fields, "amounts": set(layout.amounts)}
