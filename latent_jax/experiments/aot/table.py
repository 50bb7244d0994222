"""The records of `records.prove` as tables for people."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from latent_jax.experiments.aot.program import COLLECTIVES
from latent_jax.experiments.aot.records import Record, prove
from latent_jax.experiments.aot.target import make_target, stay_on_cpu
from latent_jax.reports.tables import Column, text_table, write_json

MEMORY = (
    "program",
    Column("n_parameters", "parameters\nM", ",.3f", 1e-6),
    Column("argument_bytes", "arguments\nMB", ",.2f", 1e-6),
    Column("temporary_bytes", "temporaries\nMB", ",.2f", 1e-6),
    Column("peak_bytes", "peak\nMB", ",.2f", 1e-6),
    Column("chip_memory_bytes", "the chip\nhas, MB", ",.0f", 1e-6),
    Column("fits", "fits"),
)
WORK = (
    "program",
    Column("xla_flops", "XLA\nGFLOPs", ",.3f", 1e-9),
    Column("ledger_flops", "ledger\nGFLOPs", ",.3f", 1e-9),
    Column("xla_over_ledger", "XLA over\nledger", ".3f"),
    Column("kernels", "kernels of other libraries"),
)
COLLECTIVE = (
    "program",
    *(
        column
        for kind in COLLECTIVES
        for column in (
            Column(f"{kind.replace('-', '_')}_count", f"{kind}\ntimes", ",d"),
            Column(f"{kind.replace('-', '_')}_bytes", "\nMB", ",.3f", 1e-6),
        )
    ),
    Column("link_bytes", "a device\nsends, MB", ",.3f", 1e-6),
    Column("branch_collective_count", "in branches\ntimes", ",d"),
    Column("branch_collective_bytes", "\nMB", ",.3f", 1e-6),
)
BOUND = (
    "program",
    Column("flops_ms", "FLOPs\nms", ".4f"),
    Column("accessed_bytes", "bytes moved\nMB", ",.1f", 1e-6),
    Column("memory_ms", "\nms", ".4f"),
    Column("link_ms", "links\nms", ".4f"),
    Column("bound_ms", "at least\nms", ".4f"),
    Column("bound_by", "bound by"),
)

TABLES = (
    ("Memory of one device", MEMORY),
    ("FLOPs of a step on all devices", WORK),
    ("Collectives of a step on one device", COLLECTIVE),
    ("The least time of a step by peaks of data sheets: a bound, not a prediction", BOUND),
)


def tables(records: Sequence[Record]) -> str:
    """Return what a target's compiler said as text: one table each of `TABLES`."""
    first = records[0]
    parts = [
        f"{first['method']} on {first['n_devices']} x {first['chip']} ({first['topology']}), "
        f"{first['strategy']}: {first['batch_size']} x {first['row_length']} of "
        f"{first['vocab_size']:,} ids a step, {first['assumed_bytes_per_token']:g} bytes per id "
        "(assumed)"
    ]
    if "temporary_bytes" not in first:
        parts.append(
            f"No compiler for {first['topology']} is at hand, so the programs are lowered only: "
            "temporaries, bytes moved and collectives are not known."
        )
    for title, columns in TABLES:
        known = [c for c in columns if _is_known(c, records)]
        if len(known) > 1:
            parts.append(f"{title}\n\n{text_table(records, known)}")
    return "\n\n".join(parts)


def _is_known(column: str | Column, records: Sequence[Record]) -> bool:
    """Return whether there is anything to show in a column."""
    key = column if isinstance(column, str) else column.key
    return any(record.get(key) not in (None, "") for record in records)


def compile_and_print(
    config: ConfigDict,
    topology: str,
    *,
    n_devices: int,
    cuda_chip: str,
    bytes_per_token: float,
    programs: Sequence[str],
    json_path: str | None = None,
) -> None:
    """Print `tables` of a config on a topology, and keep the records if a path is given.

    Args: see `target.make_target` and `records.prove`.
    """
    stay_on_cpu()
    target = make_target(topology, n_devices, cuda_chip)
    records = prove(config, target, bytes_per_token, programs)
    print(tables(records))
    if json_path:
        write_json(records, json_path)
