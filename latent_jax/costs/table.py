"""The records of `records.program_costs` as tables for people."""

import math
from collections.abc import Sequence

from ml_collections import ConfigDict

from latent_jax.costs.collectives import COLLECTIVES
from latent_jax.costs.records import Record, identity, program_costs
from latent_jax.costs.target import make_target, stay_on_cpu
from latent_jax.reports.columns import Column
from latent_jax.reports.tables import kept_records, text_table, write_table

MEMORY = (
    "program",
    Column("n_parameters", "parameters\nM", ",.3f", 1e-6),
    Column("argument_bytes", "arguments\nMB", ",.2f", 1e-6),
    Column("own_output_bytes", "outputs\nMB", ",.2f", 1e-6),
    Column("temporary_bytes", "temporaries\nMB", ",.2f", 1e-6),
    Column("code_bytes", "code\nMB", ",.2f", 1e-6),
    Column("peak_bytes", "peak\nMB", ",.2f", 1e-6),
    Column("chip_memory_bytes", "the chip\nhas, MB", ",.0f", 1e-6),
    Column("fits", "fits"),
)
WORK = (
    "program",
    Column("xla_flops", "XLA\nGFLOPs", ",.3f", 1e-9),
    Column("ledger_flops", "ledger\nGFLOPs", ",.3f", 1e-9),
    Column("xla_over_ledger", "XLA over\nledger", ".3f"),
    Column("compile_seconds", "compiled\nin s", ",.0f"),
    Column("kernels", "kernels"),
)
COLLECTIVE = (
    "program",
    Column("kind", "collective"),
    Column("count", "times", ",d"),
    Column("bytes", "arrays\nMB", ",.3f", 1e-6),
)
BOUND = (
    "program",
    Column("flops_bound_ms", "FLOPs\nms", ".4f"),
    Column("traffic_bytes", "main memory\nMB", ",.2f", 1e-6),
    Column("memory_bound_ms", "\nms", ".4f"),
    Column("link_bytes", "links\nMB", ",.2f", 1e-6),
    Column("link_bound_ms", "\nms", ".4f"),
    Column("bound_ms", "at least\nms", ".4f"),
    Column("bound_by", "bound by"),
)

MEMORY_NOTE = (
    "Peak is the sum of the four before it; outputs that take the place of arguments do not count."
)
WORK_NOTE = (
    "XLA also counts element-wise work. The evaluation of a latent method decodes twice, and the "
    "ledger counts one forward pass."
)
COLLECTIVE_NOTE = (
    "Collectives in a branch, such as those of the restart of dead codes, run in some steps only, "
    "and are in no bound."
)
BOUND_NOTE = "By peaks of data sheets: a bound, not a prediction."


def tables(records: Sequence[Record]) -> str:
    """Return the records of a target as text: four tables."""
    first = records[0]
    parts = [
        f"{first['method']} on {first['n_devices']} x {first['chip']} ({first['topology']}), "
        f"{_strategy(first)}: {first['batch_size']} x {first['row_length']} of "
        f"{first['vocab_size']:,} ids a step, {first['assumed_bytes_per_token']:g} bytes per id "
        "(assumed)"
    ]
    if "fits" not in first:
        parts.append(
            f"There is no compiler for {first['topology']} here, so the programs are only lowered: "
            "temporaries, memory traffic and collectives are not known."
        )
    for title, rows, columns, note in (
        ("Memory of one device", records, MEMORY, MEMORY_NOTE),
        ("FLOPs of a step on all devices", records, WORK, WORK_NOTE),
        ("Collectives of a step on one device", _by_kind(records), COLLECTIVE, COLLECTIVE_NOTE),
        ("The least time of a step", records, BOUND, BOUND_NOTE),
    ):
        known = [column for column in columns if _is_known(column, rows)]
        if len(known) > 1:
            parts.append(f"{title}\n\n{text_table(rows, known)}\n\n{note}")
    return "\n\n".join(parts)


def _strategy(record: Record) -> str:
    """Return the strategy, with the devices that a model is split over under "tensor"."""
    if record["strategy"] != "tensor":
        return record["strategy"]
    return f"tensor, model_parallel={record['model_parallel']}"


def _by_kind(records: Sequence[Record]) -> list[Record]:
    """Return a row for each program and kind of collective that it has."""
    names = {kind.replace("-", "_"): kind for kind in COLLECTIVES}
    names["branch_collective"] = "in a branch, of any kind"
    return [
        {
            "program": record["program"],
            "kind": kind,
            "count": record[f"{name}_count"],
            "bytes": record[f"{name}_bytes"],
        }
        for record in records
        for name, kind in names.items()
        if record.get(f"{name}_count")
    ]


def _is_known(column: str | Column, records: Sequence[Record]) -> bool:
    """Return whether there is anything to show in a column."""
    key = column if isinstance(column, str) else column.key
    return any(record.get(key) not in (None, "") for record in records)


def compile_and_print(
    config: ConfigDict,
    topology: str,
    *,
    n_devices: int,
    cuda_chip: str | None,
    bytes_per_token: float,
    programs: Sequence[str],
    json_path: str | None = None,
    append: bool = False,
) -> None:
    """Print `tables` of a config on a topology, and keep the records if a path is given.

    Args:
        config: as `configs.common.default` makes it.
        topology: "cuda" or a slice, such as "v5e:4x4"; see `target.make_target`.
        n_devices: number of devices of "cuda".
        cuda_chip: the chip of "cuda", whose data sheet is used; None = the default of
            `make_target`.
        bytes_per_token: raw bytes per id, for methods whose ids are not bytes.
        programs: some of `lowering.PROGRAMS`.
        json_path: file for the records.
        append: keep the records that the file has, and do not compile their programs again.

    Raises:
        ValueError: the topology or chip is unknown, the config does not fit the topology, or the
            file holds something else.
    """
    if not (math.isfinite(bytes_per_token) and bytes_per_token > 0):
        raise ValueError(f"bytes_per_token must be more than 0; got {bytes_per_token}")
    earlier = kept_records(json_path, append)
    stay_on_cpu()
    target = make_target(topology, n_devices, cuda_chip)
    known: set[str] = set()
    if earlier:
        own = identity(config, target, bytes_per_token).items()
        known = {record["program"] for record in earlier if own <= record.items()}
    programs = [program for program in programs if program not in known]
    if not programs:
        print(f"{json_path} has {' and '.join(sorted(known))} of {config.name or config.method}")
        return
    records = program_costs(config, target, bytes_per_token, programs)
    print(tables(records))
    if json_path:
        write_table([*earlier, *records], json_path)
