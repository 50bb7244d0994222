"""The kernels of other libraries that a lowered program calls, and how often."""

import collections
import re

_FUNCTION = re.compile(r"^  func\.func \w+ @(?P<name>[\w.$]+)\(")
_CALL = re.compile(r"\b(?:func\.)?call @(?P<name>[\w.$]+)\(")
_KERNEL = re.compile(r"stablehlo\.custom_call @(?P<name>[\w.$]+)\(")

PARTITIONED = "CustomSPMDPartitioning"
"""Name of the call that stands for a kernel of cuDNN in a program for several devices. The
compiler's partitioner later calls the kernel by its own name on each of them."""

_ANNOTATIONS = ("Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape")


NAMES = {
    PARTITIONED: "cuDNN attention, by way of the partitioner",
    "tpu_custom_call": "kernel in Pallas",
}
"""Names in tables for kernels whose own names say little."""


def describe_kernels(text: str) -> str:
    """Return the counts of `kernels` as one line for people."""
    return ", ".join(f"{n} x {NAMES.get(name, name)}" for name, n in kernels(text).items())


def kernels(text: str) -> collections.Counter[str]:
    """Return how often a step calls each custom kernel, by its name, such as "__cudnn$fmhaSoftmax".

    A function that is called several times counts as often; a loop's body counts once.

    Args:
        text: StableHLO, as `jax.stages.Lowered.as_text()` returns it.
    """
    calls: dict[str, list[str]] = {}
    custom: dict[str, list[str]] = {}
    current = ""
    for line in text.splitlines():
        if function := _FUNCTION.match(line):
            current = function["name"]
            calls[current], custom[current] = [], []
        elif kernel := _KERNEL.search(line):
            custom[current].append(kernel["name"])
        elif call := _CALL.search(line):
            calls[current].append(call["name"])

    counted: dict[str, collections.Counter[str]] = {}

    def count(name: str) -> collections.Counter[str]:
        if name not in counted:
            counted[name] = sum(map(count, calls[name]), collections.Counter(custom[name]))
        return counted[name]

    return collections.Counter({k: n for k, n in count("main").items() if k not in _ANNOTATIONS})
