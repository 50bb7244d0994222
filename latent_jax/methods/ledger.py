"""The cost of a method at a size: parameters, and FLOPs per raw byte by component.

The paper's own count (Lester et al. 2024, section 3.8) is stated beside ours. It takes two FLOPs
per token for each parameter outside of embeddings, and leaves out attention scores and the head.
Ours counts every matmul, and agrees with the compiler's count.
"""

from typing import Any

import jax

from latent_jax.contracts import FieldSpec
from latent_jax.data.packing import RowLayout
from latent_jax.training.decay import trace_init

_COUNTED: dict[tuple, dict[str, int]] = {}
"""Counts by what decides them: a sweep has many tasks of one model, and tracing it takes time."""


def count_parameters(task: Any, row_length: int) -> dict[str, int]:
    """Return how many parameters a task has; no array is computed.

    Args:
        task: see `latent_jax.contracts.Task`.
        row_length: ids per row.

    Returns:
        "n_parameters", all of them, and "n_embedding_parameters", the tables with one row per id or
        position, which a tied head shares.
    """
    config = getattr(task, "model_config", None)
    if config is None:
        return _count(task, row_length)
    key = type(task), config, row_length
    if key not in _COUNTED:
        _COUNTED[key] = _count(task, row_length)
    return dict(_COUNTED[key])


def _count(task: Any, row_length: int) -> dict[str, int]:
    # Only shapes of rows matter to a model, and fields of several values at a position have none.
    layout = RowLayout(row_length, dict.fromkeys(task.fields, FieldSpec()), ("bytes",))
    variables, _ = trace_init(task, layout.batch_spec(1))
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    tables = [leaf.size for path, leaf in leaves if "embedding" in jax.tree_util.keystr(path)]
    return {
        "n_parameters": sum(leaf.size for _, leaf in leaves),
        "n_embedding_parameters": sum(tables),
    }


def ledger(task: Any, row_length: int, bytes_per_token: float) -> dict[str, float]:
    """Return one flat record: parameters, and forward FLOPs per raw byte by component.

    Args:
        task: see `latent_jax.contracts.Task`.
        row_length: ids per row.
        bytes_per_token: raw bytes per id.

    Returns:
        The counts of `count_parameters`; "COMPONENT_flops_per_byte" for each component of the
        model, and for the tokenizer's own model; their sum, "inference_flops_per_byte";
        "train_flops_per_byte"; "paper_flops_per_byte".
    """
    counts = count_parameters(task, row_length)
    tokenizer = task.tokenizer_flops_per_byte
    tokenizer_parameters = tokenizer / 2.0
    return {
        **counts,
        **{f"{part}_flops_per_byte": flops for part, flops in task.component_flops.items()},
        "tokenizer_flops_per_byte": tokenizer,
        "inference_flops_per_byte": task.flops_per_byte + tokenizer,
        "train_flops_per_byte": task.train_flops_per_byte,
        "paper_flops_per_byte": paper_flops_per_byte(
            counts["n_parameters"] - counts["n_embedding_parameters"],
            bytes_per_token,
            tokenizer_parameters,
        ),
    }


def paper_flops_per_byte(
    n_parameters: float, bytes_per_token: float, m1_parameters: float = 0.0
) -> float:
    """Return inference FLOPs per raw byte as Lester et al. 2024 count them, 2 N / ratio + 2 N_M1.

    Their tables 15 to 17 use the nominal sizes, 25, 113, 403 and 2,000 million, and 3 million for
    M1.

    Args:
        n_parameters: N, outside of embeddings.
        bytes_per_token: the token compression ratio.
        m1_parameters: of M1, which reads every byte; 0 for a method without one.
    """
    return 2.0 * n_parameters / bytes_per_token + 2.0 * m1_parameters
