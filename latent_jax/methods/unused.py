"""Options that somebody has set and that the method, or what it is made of, does not read.

The sections "compressor" and "quantizer" have the options of all kinds, so that a kind can be
changed without another change, and "hierarchy" is of methods that cut into chunks. An option of
another kind is no error, because older run folders have some; but who sets one expects an effect.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from latent_jax.chunking.dynamic import routers
from latent_jax.chunking.fixed.registry import compressors, options_of
from latent_jax.methods.blt import needs_entropies
from latent_jax.methods.hierarchical_family import HierarchicalFamily
from latent_jax.methods.names import parse
from latent_jax.methods.registry import families, family
from latent_jax.quantizers import QUANTIZERS
from latent_jax.quantizers.base import kinds_that_read

OF_BLT = ("ngrams", "cross", "decoder_layers")
"""Keys of the section "hierarchy" that only BLT reads."""

OF_EXPERTS = ("expert_choices", "expert_slack", "balance_weight")
"""Keys of the section "hierarchy" that only methods with experts read."""


def unused_options(config: ConfigDict, changed: Mapping[str, Any]) -> list[str]:
    """Return a line on each changed option that the run does not read.

    Args:
        config: of the run.
        changed: dotted config keys of the run that somebody has set, and their values.
    """
    method = parse(config.method)
    chosen = {"compressor": method.options.get("compressor"), "quantizer": method.options.get("q")}
    lines = []
    for key, value in changed.items():
        section, _, option = key.partition(".")
        if section == "hierarchy":
            lines += _unread_of_hierarchy(config, key, value)
        if key == "inference_fit" and not config.inference_flops_per_byte:
            lines.append(
                f"{key}={value} has no effect: inference_flops_per_byte would read it, and it is 0"
            )
        if section not in chosen or chosen[section] in _readers(section, option):
            continue
        readers = " or ".join(_readers(section, option)) or "no kind"
        kind = chosen[section]
        here = f"the {section} of {method} is {kind}" if kind else f"{method} has no {section}"
        lines.append(f"{key}={value} has no effect: {readers} would read it, and {here}")
    return lines


def _unread_of_hierarchy(config: ConfigDict, key: str, value: Any) -> list[str]:
    """Return the line on an option of the section "hierarchy", if nothing reads it."""
    method, outer = parse(config.method), config.hierarchy.outer
    start, option = f"{key}={value} has no effect: ", key.partition(".")[2]
    known = family(method.family)
    if not isinstance(known, HierarchicalFamily):
        readers = [name for name, one in families().items() if isinstance(one, HierarchicalFamily)]
        return [f"{start}{' or '.join(readers)} would read it, and the method is {method}"]
    if option in OF_BLT and method.family != "BLT":
        return [f"{start}BLT would read it, and the method is {method}"]
    if option.startswith("entropy_") and not needs_entropies(method):
        return [
            f"{start}BLT with a router that reads entropies would read it, and here is {method}"
        ]
    if option in OF_EXPERTS and not method.options.get("experts"):
        return [f"{start}a method with experts would read it, and {method} has none"]
    outer = known.outer if outer == "auto" else outer
    kind = {"window": "attention", "heads": "attention", "state": "mamba"}.get(option, outer)
    # A joint decoder is made of attention, whatever the encoder is.
    is_joint = kind == "attention" and method.options.get("joint", 0)
    if kind != outer and not is_joint:
        return [f"{start}hierarchy.outer={kind} would read it, and here it is {outer}"]
    if option == "flops_per_byte" and method["n"] != "auto":
        return [f"{start}n=auto would read it, and here n is stated: {method}"]
    router = known.parts(method).router
    if option in ("group", "advantage", "policy_weight") and not routers()[router].by_reward:
        return [f"{start}router=policy would read it, and here it is {router}"]
    if option == "boundary_weight" and not routers()[router].learns:
        return [f"{start}a router that learns would read it, and {router} does not"]
    if option == "control_steps" and not known.parts(method).control:
        return [f"{start}control=1 would read it, and {method} holds no rate"]
    return []


def _readers(section: str, option: str) -> list[str]:
    """Return the kinds that read an option."""
    if section == "compressor":
        return [kind for kind, cls in compressors().items() if option in options_of(cls)]
    return [kind for kind in QUANTIZERS if kind in kinds_that_read(option)]


def of_run(changed: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the changed keys of one run of a config file with several, `runs.NAME.KEY`."""
    start = f"runs.{name}."
    return {key.removeprefix(start): v for key, v in changed.items() if key.startswith(start)}
