"""Optimizer and learning-rate schedule (optax), and which parameters they touch.

AdamW: Loshchilov and Hutter 2019. Adafactor: Shazeer and Stern 2018, without its relative step size
and parameter scaling, so that both take the same schedule (Zhai et al. 2022, "Scaling Vision
Transformers", section 3.5).

Frozen parameters are cut out of the tree before it is differentiated: they cost no gradient, no
optimizer state, and do not enter the gradient's norm.
"""

import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from latent_jax.training.config import OptimizerConfig

PyTree = Any


def make_schedule(config: OptimizerConfig, total_steps: int) -> optax.Schedule:
    """Return the learning rate by step: linear warm-up, then cosine, constant or rsqrt decay.

    The first step already moves, by peak / (warmup_steps + 1): a rate of 0 would waste its batch.
    `rsqrt` is peak * sqrt(warmup_steps / step), the decay of Vaswani et al. 2017, section 5.3.

    Raises:
        ValueError: the warm-up is not shorter than the run, or rsqrt has no warm-up.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if warmup >= total_steps:
        raise ValueError(
            f"warmup_steps={warmup} leaves none of the {total_steps} steps of the run: "
            "lower warmup_steps or train longer"
        )
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, total_steps - warmup, config.final_fraction)
    elif config.schedule == "constant":
        after = optax.constant_schedule(peak)
    else:
        if warmup < 1:
            raise ValueError('schedule="rsqrt" needs warmup_steps >= 1, where its decay starts')

        def after(count):
            return peak / jnp.sqrt(1.0 + count / warmup)

    if not warmup:
        return after
    warm = optax.linear_schedule(peak / (warmup + 1), peak, warmup)
    return optax.join_schedules([warm, after], [warmup])


def make_optimizer(config: OptimizerConfig, total_steps: int) -> optax.GradientTransformation:
    """Return clipping, preconditioning, decoupled weight decay and the schedule, in this order."""
    parts = []
    if config.clip_norm > 0:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    if config.name == "adamw":
        parts.append(optax.scale_by_adam(config.b1, config.b2, config.epsilon))
    else:
        parts.append(optax.scale_by_factored_rms())
        parts.append(optax.clip_by_block_rms(1.0))
        if config.b1 > 0:
            parts.append(optax.ema(config.b1, debias=False))
    if config.weight_decay > 0:
        parts.append(
            optax.add_decayed_weights(
                config.weight_decay, mask=lambda params: decay_mask(params, config.no_weight_decay)
            )
        )
    parts.append(optax.scale_by_learning_rate(make_schedule(config, total_steps)))
    return optax.chain(*parts)


def decay_mask(params: PyTree, exceptions: Iterable[str]) -> PyTree:
    """Return a tree of bools: True for leaves of two axes or more whose path matches no exception.

    Names decide and not ranks alone, because a scanned stack gives every bias an axis of depth.
    """
    patterns = [re.compile(pattern) for pattern in exceptions]

    def decays(path, leaf):
        return leaf.ndim > 1 and not any(p.search(path_name(path)) for p in patterns)

    return jax.tree_util.tree_map_with_path(decays, params)


def frozen_mask(params: PyTree, frozen: Iterable[str]) -> PyTree:
    """Return a tree of bools, True where a regex matches the whole "params/..." path.

    Args:
        params: the collection "params"; abstract arrays do as well.
        frozen: regular expressions over "/"-joined paths that begin with "params/".

    Raises:
        ValueError: a regex matches no parameter (some that exist are named), or all are frozen.
    """
    frozen = tuple(frozen)
    names = ["params/" + path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern in frozen:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise ValueError(
                f"frozen pattern {pattern!r} matches no parameter path; the paths are "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            )
    flags = [any(re.fullmatch(pattern, name) for pattern in frozen) for name in names]
    if all(flags):
        raise ValueError(f"frozen={frozen} leaves no parameter to train; free at least one part")
    return jax.tree.unflatten(jax.tree.structure(params), flags)


def split_frozen(params: PyTree, mask: PyTree) -> tuple[PyTree, PyTree]:
    """Return (trained, frozen): the same tree twice, None where the leaf belongs to the other."""
    trained = jax.tree.map(lambda leaf, is_frozen: None if is_frozen else leaf, params, mask)
    frozen = jax.tree.map(lambda leaf, is_frozen: leaf if is_frozen else None, params, mask)
    return trained, frozen


def merge_frozen(trained: PyTree, frozen: PyTree) -> PyTree:
    """Undo `split_frozen`."""
    return jax.tree.map(
        lambda t, f: f if t is None else t, trained, frozen, is_leaf=lambda leaf: leaf is None
    )


def path_name(path: tuple) -> str:
    """Return a key path of `jax.tree_util` as "a/b/c"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
