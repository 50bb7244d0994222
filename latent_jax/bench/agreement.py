"""A check that this chip computes the right numbers: its kernels against plain XLA in float32.

Tests on a CPU compare its implementations with each other, but see only that a GPU's kernels are
called. The results of a kernel can be checked only on a chip that runs it.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from latent_jax.layers.attention import attend
from latent_jax.platform import Platform
from latent_jax.reports.tables import keep_each, text_table
from latent_jax.tasks.heads import cross_entropy

LIMIT = {"float32": 1e-4, "bfloat16": 2e-2}
"""Largest relative error, |a - b| / |b|, of a result or a gradient in each dtype."""

COLUMNS = ("function", "implementation", "dtype", "error", "gradient_error", "agrees")

Function = Callable[..., jax.Array]


def agreement(platform: Platform | None = None) -> Iterator[dict[str, Any]]:
    """Yield one flat record for each function: the error of its kernel against XLA in float32.

    Args:
        platform: its choice of kernels is checked, which this process must be able to run; None =
            the platform of this process.
    """
    platform = platform or Platform.current()
    for function, word, compute, reference, arrays in (*_attention(platform), *_heads(platform)):
        low = [x.astype(platform.dtype) for x in arrays]
        ours = _with_gradients(compute, low)
        # The reference gets the rounded inputs, so that only the kernel differs.
        exact = _with_gradients(reference, [x.astype(jnp.float32) for x in low])
        errors = [float(_relative(a, b)) for a, b in zip(ours, exact, strict=True)]
        yield {
            "function": function,
            "implementation": word,
            "dtype": platform.dtype,
            "device": jax.devices()[0].device_kind,
            "error": errors[0],
            "gradient_error": max(errors[1:]),
            "agrees": max(errors) <= LIMIT[platform.dtype],
        }


def agreement_and_print(json_path: str | None = None) -> None:
    """Print `agreement` as a table, and keep the records if a path is given.

    Raises:
        ValueError: a function's error is above `LIMIT`.
    """
    records = keep_each(agreement(), json_path)
    print(text_table(records, COLUMNS))
    wrong = [record["function"] for record in records if not record["agrees"]]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)}: the results differ from XLA's in float32 on "
            f"{records[0]['device']}; set model.attention_implementation=xla or head=whole, and "
            "report it"
        )


def _attention(platform: Platform) -> Iterator[tuple]:
    """Yield cases of attention in every form that models use, at even, odd and short lengths."""
    shape = {"causal": (512, 64), "lengths": (512, 64), "odd": (127, 64), "short": (16, 64)}
    shape |= {"relative": (256, 64), "relative and lengths": (256, 64), "narrow heads": (128, 16)}
    keys = jax.random.split(jax.random.key(0), 4)
    for name, (length, head_size) in shape.items():
        arrays = [jax.random.normal(key, (4, length, 4, head_size)) for key in keys[:3]]
        if "relative" in name:
            arrays.append(jax.random.normal(keys[3], (4, length, length)))
        words: dict[str, Any] = {"causal": "lengths" not in name}
        if "lengths" in name:
            words["lengths_B"] = jnp.array([length, length // 2, 1, 0], jnp.int32)
        compute = functools.partial(_attend, words=words)
        word = platform.attention
        yield f"attention, {name}", word, *_both(compute, word, "xla"), arrays


def _attend(q, k, v, bias=None, *, word, words):
    """Attend, without the last row: it may have length 0, and its result then has no meaning."""
    bias_HTS = None if bias is None else bias.astype(jnp.float32)
    return attend(q, k, v, bias_HTS=bias_HTS, implementation=word, **words)[:3]


def _heads(platform: Platform) -> Iterator[tuple]:
    """Yield cases of cross-entropy over few and over many ids, with the z-loss."""
    for n_ids in (257, 65_537):
        keys = jax.random.split(jax.random.key(n_ids), 3)
        x = jax.random.normal(keys[0], (2, 64, 128))
        table = 0.3 * jax.random.normal(keys[1], (n_ids, 128))
        compute = functools.partial(
            _score,
            ids=jax.random.randint(keys[2], (2, 64), 0, n_ids),
            weights=jnp.ones((2, 64)).at[0, :9].set(0.0),
        )
        word = platform.head(n_ids)
        yield f"cross-entropy over {n_ids:,} ids", word, *_both(compute, word, "whole"), (x, table)


def _score(x, table, *, word, ids, weights):
    return cross_entropy(word, x, table.astype(jnp.float32), ids, weights, 1e-4)[0][None]


def _both(compute: Function, ours: str, reference: str) -> tuple[Function, Function]:
    return functools.partial(compute, word=ours), functools.partial(compute, word=reference)


def _with_gradients(compute: Function, arrays: list[jax.Array]) -> list[jax.Array]:
    """Return the result, and the gradients of a weighted sum of it, all cast to float32."""

    @jax.jit
    def run(arrays):
        out, backward = jax.vjp(compute, *arrays)
        weights = jax.random.normal(jax.random.key(9), out.shape).astype(out.dtype)
        return [out, *backward(weights)]

    with jax.default_matmul_precision("highest"):
        return [x.astype(jnp.float32) for x in run(arrays)]


@jax.jit
def _relative(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.linalg.norm((a - b).ravel()) / jnp.linalg.norm(b.ravel())
