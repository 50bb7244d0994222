"""The costs of a config's programs as flat records."""

import logging
import re
import time
import warnings
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from latent_jax.costs.collectives import collectives, totals
from latent_jax.costs.cudnn import traceable_cudnn
from latent_jax.costs.kernels import describe_kernels
from latent_jax.costs.lowering import (
    PROGRAMS,
    assumed_vocabulary,
    count_flops,
    ledger_flops,
    lower,
)
from latent_jax.costs.target import Target
from latent_jax.costs.traffic import memory_traffic_bytes
from latent_jax.methods.ledger import count_parameters
from latent_jax.methods.solve import solve_shape
from latent_jax.methods.tasks import make_task

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def program_costs(
    config: ConfigDict,
    target: Target,
    bytes_per_token: float,
    programs: Sequence[str] = PROGRAMS,
) -> list[Record]:
    """Return one flat record for each program of a config: its memory, work and collectives.

    Memory, bytes and collectives are those of one device; FLOPs are those of a step on all devices.
    Records of a target without a compiler lack temporaries, peak, memory traffic and collectives.

    Args:
        config: as `configs.common.default` makes it.
        target: from `make_target`.
        bytes_per_token: assumed raw bytes per id, for methods whose ids are not bytes.
        programs: some of `PROGRAMS`.

    Raises:
        ValueError: see `lowering.lower`.
    """
    vocabulary = assumed_vocabulary(config, bytes_per_token)
    made = lower(config, vocabulary, target, programs)
    xla_flops = count_flops(made.config, vocabulary, programs)
    ours = ledger_flops(made.task, made.config, vocabulary)
    records, told = [], identity(config, target, bytes_per_token)
    for program in programs:
        lowered = made.lowered[program]
        if target.compiles:
            logger.info("compiling %s", program)
        record = {
            **told,
            "program": program,
            "remat": made.config.model.remat,
            "vocab_size": vocabulary.size,
            "jax_version": jax.__version__,
            "argument_bytes": made.argument_bytes[program],
            "chip_memory_bytes": target.chip.memory_bytes,
            "xla_flops": xla_flops[program],
            "ledger_flops": ours[program],
            "xla_over_ledger": xla_flops[program] / ours[program],
            "kernels": describe_kernels(lowered.as_text()),
        }
        if target.compiles:
            record |= _compiled(lowered, target)
        records.append(record | _bound(record, target))
    return records


def identity(config: ConfigDict, target: Target, bytes_per_token: float) -> Record:
    """Return the keys that identify a config's programs on a target; nothing is lowered.

    The arguments are those of `program_costs`.
    """
    vocabulary = assumed_vocabulary(config, bytes_per_token)
    solved, training = solve_shape(config, vocabulary), config.training
    with traceable_cudnn():
        counts = count_parameters(make_task(solved, vocabulary, target.platform), solved.row_length)
    return {
        "name": config.name or config.method,
        "topology": target.topology,
        "n_devices": len(target.devices),
        "strategy": training.strategy,
        "model_parallel": training.model_parallel,
        "accumulation": training.accumulation,
        "batch_size": config.batch_size,
        "method": config.method,
        "chip": target.chip.name,
        "row_length": solved.row_length,
        "assumed_bytes_per_token": vocabulary.bytes_per_token,
        "n_parameters": counts["n_parameters"],
    }


def _compiled(lowered: jax.stages.Lowered, target: Target) -> Record:
    """Compile, and return the compiler's numbers for one device."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            # The compilation cache stores the program, but cannot load it without the chip.
            warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return {"fits": False, **_needed(str(error))}
    record = {"compile_seconds": time.perf_counter() - start}
    memory = compiled.memory_analysis()
    record |= {
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "shared_bytes": memory.alias_size_in_bytes,
        "own_output_bytes": memory.output_size_in_bytes - memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
    }
    parts = ("argument", "own_output", "temporary", "code")
    peak = sum(record[f"{part}_bytes"] for part in parts)
    text = compiled.as_text()
    return {
        **record,
        "peak_bytes": peak,
        "fits": peak <= target.chip.memory_bytes,
        "traffic_bytes": memory_traffic_bytes(text),
        **totals(collectives(text, len(target.devices))),
    }


def _needed(message: str) -> Record:
    """Return the bytes that a program that does not fit would need, if the compiler says them."""
    patterns = {
        "peak_bytes": r"Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm",
        "temporary_bytes": r"HLO temporaries \(([\d.]+)([KMGT])\) exceeds",
    }
    found = {key: re.search(pattern, message) for key, pattern in patterns.items()}
    return {
        key: float(match[1]) * 1024 ** (1 + "KMGT".index(match[2]))
        for key, match in found.items()
        if match
    }


def _bound(record: Record, target: Target) -> Record:
    """Return the least time of a step by FLOPs, memory and links (a roofline), and the longest."""
    chip = target.chip
    # The ledger's FLOPs are of matmuls, which no program can leave out.
    roofs = {"flops": 1e3 * record["ledger_flops"] / record["n_devices"] / chip.flops}
    if "link_bytes" in record:
        roofs["memory"] = 1e3 * record["traffic_bytes"] / chip.memory_bandwidth
        roofs["link"] = 1e3 * record["link_bytes"] / chip.link_bandwidth
    highest = max(roofs, key=roofs.get)
    times = {f"{name}_bound_ms": value for name, value in roofs.items()}
    return times | {"bound_ms": roofs[highest], "bound_by": highest}
