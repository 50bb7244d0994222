"""Optimizer and learning-rate schedule (optax), and which parameters they touch.

AdamW: Loshchilov and Hutter 2019. Adafactor: Shazeer and Stern 2018, without its relative step size
and parameter scaling, so that both take the same schedule (Zhai et al. 2022, "Scaling Vision
Transformers", section 3.5).

Frozen parameters are cut out of the tree before it is differentiated: they cost no gradient, no
optimizer state, and do not enter the gradient's norm.
"""

import functools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from latent_jax.training.config import OptimizerConfig

PyTree = Any


def make_schedule(
    config: OptimizerConfig, total_steps: int, extension_steps: int = 0
) -> optax.Schedule:
    """Return the learning rate by step: linear warm-up, then what `config.schedule` says.

    The first step already moves, by peak / (warmup_steps + 1): a rate of 0 would waste its batch.

    - `cosine` falls to `final_fraction` of the peak (Loshchilov and Hutter 2017, without restarts).
    - `constant` stays at the peak.
    - `rsqrt` is peak * sqrt(warmup_steps / step), the decay of Vaswani et al. 2017, section 5.3.
    - `wsd` (warm-up, stable, decay: Hu et al. 2024, MiniCPM, section 4) stays at the peak and falls
      in the last `decay_fraction` of all steps, to `final_fraction` of the peak and by the shape
      1 - sqrt, which Hägele et al. 2024, section 3, found the best.

    An extension makes a run longer than it was planned. A cosine keeps its rates up to the planned
    end and stays at the last one from there on. The other schedules are those of a run that was
    planned for all of `total_steps`; so under `wsd` a run that had decayed goes back to the peak.

    Args:
        config: of the optimizer.
        total_steps: of the run, its extension included.
        extension_steps: how many of them were added to the planned ones.

    Raises:
        ValueError: the warm-up is not shorter than the run, or leaves no place for the decay of
            wsd; rsqrt has no warm-up; or a cosine that is extended ends at 0.
    """
    peak, warmup, planned = config.learning_rate, config.warmup_steps, total_steps - extension_steps
    if warmup >= planned:
        raise ValueError(
            f"warmup_steps={warmup} leaves none of the {planned} steps of the run: "
            "lower warmup_steps or train longer"
        )
    parts, starts = [], []
    if warmup:
        parts.append(optax.linear_schedule(peak / (warmup + 1), peak, warmup))
        starts.append(warmup)
    if config.schedule == "cosine":
        if extension_steps and not config.final_fraction:
            raise ValueError(
                "an extension of schedule=cosine goes on at its last rate, and with "
                "final_fraction=0 that is 0: train anew with the larger budget, or use "
                "schedule=constant, rsqrt or wsd in runs that are to be extended"
            )
        parts.append(optax.cosine_decay_schedule(peak, planned - warmup, config.final_fraction))
    elif config.schedule == "constant":
        parts.append(optax.constant_schedule(peak))
    elif config.schedule == "rsqrt":
        if warmup < 1:
            raise ValueError('schedule="rsqrt" needs warmup_steps >= 1, where its decay starts')
        parts.append(lambda count: peak / jnp.sqrt(1.0 + count / warmup))
    else:
        stable = decay_start(config, total_steps)
        decay = total_steps - stable
        if warmup > stable:
            raise ValueError(
                f'schedule="wsd" warms up for {warmup} steps and decays for {decay}, which is more '
                f"than the {total_steps} steps of the run: lower warmup_steps or decay_fraction"
            )
        parts.append(optax.constant_schedule(peak))
        parts.append(_one_minus_sqrt(peak, config.final_fraction * peak, decay))
        starts.append(stable)
    return optax.join_schedules(parts, starts)


def decay_start(config: OptimizerConfig, total_steps: int) -> int | None:
    """Return the steps of a run before its decay under `wsd`; None under another schedule."""
    if config.schedule != "wsd":
        return None
    return total_steps - math.ceil(config.decay_fraction * total_steps)


def _one_minus_sqrt(first: float, last: float, steps: int) -> optax.Schedule:
    """Return a schedule that falls from `first` to `last` in so many steps, steeply at first."""
    return lambda count: last + (first - last) * (1.0 - jnp.sqrt(jnp.clip(count / steps, 0.0, 1.0)))


def make_optimizer(
    config: OptimizerConfig,
    total_steps: int,
    extension_steps: int = 0,
    declared: Mapping[str, bool] | None = None,
    rates: Mapping[str, optax.Schedule] | None = None,
) -> optax.GradientTransformation:
    """Return clipping, preconditioning, decoupled weight decay and the schedule, in this order.

    The other arguments and the errors are those of `make_schedule`.

    Args:
        config: of the optimizer.
        total_steps: of the run.
        extension_steps: those of them that were added.
        declared: which parameters decay, from `training.decay.declared_decay`; see `decay_mask`.
        rates: factors on the learning rate by step, of the parameters whose whole "params/..." path
            a regex matches; see `contracts.Task`.

    Raises:
        ValueError: see `make_schedule`; or a regex of `rates` matches no parameter.
    """
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
                config.weight_decay,
                mask=lambda params: decay_mask(params, declared or {}, config.no_weight_decay),
            )
        )
    schedule = make_schedule(config, total_steps, extension_steps)
    parts.append(optax.scale_by_learning_rate(schedule))
    for pattern, factor in (rates or {}).items():
        mask = functools.partial(path_mask, patterns=(pattern,), what="pattern of rates")
        parts.append(optax.masked(optax.scale_by_schedule(factor), mask))
    return optax.chain(*parts)


def decay_mask(
    params: PyTree, declared: Mapping[str, bool], exceptions: Iterable[str] = ()
) -> PyTree:
    """Return a tree of bools, True for the parameters that weight decay reaches.

    Args:
        params: the collection "params".
        declared: by "/"-joined path. What nobody has declared is decayed where it has two axes or
            more.
        exceptions: regexes searched in paths; what they find is not decayed.
    """
    patterns = [re.compile(pattern) for pattern in exceptions]

    def decays(path, leaf):
        name = path_name(path)
        is_declared = declared.get(name, leaf.ndim > 1)
        return is_declared and not any(pattern.search(name) for pattern in patterns)

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
    mask = path_mask(params, frozen, "frozen pattern")
    if all(jax.tree.leaves(mask)):
        raise ValueError(f"frozen={frozen} leaves no parameter to train; free at least one part")
    return mask


def path_mask(params: PyTree, patterns: tuple[str, ...], what: str) -> PyTree:
    """Return a tree of bools, True where a regex matches the whole "params/..." path.

    Args:
        params: the collection "params"; abstract arrays do as well.
        patterns: regular expressions over "/"-joined paths that begin with "params/".
        what: the message calls a pattern.

    Raises:
        ValueError: a regex matches no parameter; some that exist are named.
    """
    names = ["params/" + path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise ValueError(
                f"{what} {pattern!r} matches no parameter path; the paths are "
                f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
            )
    flags = [any(re.fullmatch(pattern, name) for pattern in patterns) for name in names]
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
