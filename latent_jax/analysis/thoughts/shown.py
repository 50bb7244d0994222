"""The tables that the analysis of thoughts prints, one for each part."""

from collections.abc import Mapping
from typing import Any

from latent_jax.analysis.codes import Records
from latent_jax.analysis.thoughts.beside import PROBES, probe_columns, probe_rows
from latent_jax.reports.columns import Column, with_interval
from latent_jax.reports.tables import text_table

_RUN = Column("name", "run")

_COLUMNS = {
    "intervention": (
        Column("way", "thoughts"),
        Column("block", "block\n0 = all", "d"),
        Column("n_results", "results", ",d"),
        Column("nats_per_token", "nats per\nresult token", ".3f"),
        *with_interval("added_nats_per_token", "more than\nown", format="+.3f"),
        Column("is_used", "used"),
        *with_interval("capped_nats_per_token", "capped at\nuniform", format="+.3f"),
        Column("right_share", "right\n%", ".1f", 100.0),
        Column("own_right_share", "own\nright %", ".1f", 100.0),
        *with_interval("lost_right_share", "lost,\n% of all", format="+.1f", scale=100.0),
    ),
    "gain": (
        Column("row_flops_with", "FLOPs of a row\nwith thoughts", ".3g"),
        Column("row_flops_without", "without", ".3g"),
        Column("text_weight", "weight of results\nin the text", ".3g"),
        Column("saved_nats_per_token", "nats that a result\ntoken saves", "+.3f"),
        *with_interval("gain_nats_per_megaflop", "for a million\nFLOPs more", format="+.4f"),
    ),
    "geometry": (
        Column("slot", "slot\n0 = all", "d"),
        Column("n_thoughts", "thoughts", ",d"),
        Column("norm_ratio", "norm over\nembeddings'", ".2f"),
        Column("problems_cosine", "cosine of\ntwo problems", ".3f"),
        Column("slots_cosine", "cosine of\ntwo slots", ".3f"),
        Column("effective_rank", "effective\nrank", ".1f"),
    ),
    "decoded": (
        Column("what", "vectors"),
        Column("by", "nearest by"),
        Column("slot", "slot", "d"),
        Column("entropy_bits", "entropy\nbits", ".2f"),
        Column("most_frequent_share", "five most\nfrequent %", ".1f", 100.0),
        Column("written_first_share", "nearest is\nwritten %", ".1f", 100.0),
        Column("result_in_five_share", "result in\nfive %", ".1f", 100.0),
        Column("other_result_in_five_share", "another's\nresult %", ".1f", 100.0),
        Column("digit_in_five_share", "its first\ndigit %", ".1f", 100.0),
        Column("other_digit_in_five_share", "another's\ndigit %", ".1f", 100.0),
        Column("number_share", "numbers\n%", ".1f", 100.0),
        Column("latin_share", "Latin\n%", ".1f", 100.0),
        Column("cjk_share", "CJK\n%", ".1f", 100.0),
        Column("arabic_share", "Arabic\n%", ".1f", 100.0),
        Column("cyrillic_share", "Cyrillic\n%", ".1f", 100.0),
        Column("thai_share", "Thai\n%", ".1f", 100.0),
        Column("other_share", "other\n%", ".1f", 100.0),
    ),
    "attention": (
        Column("layer", "layer", "d"),
        Column("thoughts_key_share", "thoughts'\nshare of keys %", ".1f", 100.0),
        Column("thoughts_mass_share", "mass on\nthoughts %", ".1f", 100.0),
        Column("thoughts_mass_ratio", "mass over\nshare", ".2f"),
        Column("best_head", "head that\nreads most", "d"),
        Column("best_mass_ratio", "its mass\nover share", ".2f"),
        Column("start_mass_ratio", "start mark\nover share", ".2f"),
    ),
    "problem": (
        Column("text_before", "text before"),
        Column("block", "block", "d"),
        Column("slot", "slot", "d"),
        Column("stands_for", "stands\nfor"),
        Column("by_cosine", "thought,\nby cosine"),
        Column("by_logits", "state before,\nby logits"),
        Column("step_there", "next\nstep"),
        Column("step_said", "said"),
        Column("step_said_swapped", "behind\nanother's"),
    ),
}

_TITLES = {
    "intervention": "Results behind exchanged thoughts; used: those of another cost more",
    "gain": "What thoughts save for the FLOPs that they add",
    "geometry": "Where thoughts lie",
    "decoded": "Nearest tokens: recurrence of the first, shares among the five nearest",
    "attention": "Attention from where results are predicted, mean over heads",
    "problem": "One problem, slot by slot",
}


def show_parts(records: Records) -> str:
    """Return a table for each part.

    Runs stand one below the other, and probes of all runs side by side.
    """
    runs = list(dict.fromkeys(record["run"] for record in records))
    tables = []
    for part, columns in _COLUMNS.items():
        own = [record for record in records if record["part"] == part]
        if part == "intervention":  # all blocks first
            own.sort(key=lambda r: (runs.index(r["run"]), r["block"]))
        elif part == "attention":
            own = by_layer(own)
        if not own:
            continue
        known = [column for column in columns if any(column.key in record for record in own)]
        if len(runs) > 1:
            names = {record["name"] for record in own}
            is_told = len(names) == len(runs)
            known = [_RUN if is_told else Column("run", "run"), *known]
        title = "\n".join([_TITLES[part], *notes_of(own)])
        tables.append(f"{title}\n\n{text_table(own, known)}")
    if rows := probe_rows(records):
        tables.append(f"{PROBES}\n\n{text_table(rows, probe_columns(records))}")
    n = sorted({(record["name"], record["n_problems"]) for record in records})
    said = "; ".join(f"{name}: {count:,} held-out problems" for name, count in n)
    return "\n\n".join([said, *tables])


def notes_of(records: Records) -> list[str]:
    """Return what records say in words, each once."""
    return list(dict.fromkeys(record["note"] for record in records if record.get("note")))


def by_layer(records: Records) -> list[dict[str, Any]]:
    """Return a record for each layer of each run: the mean over heads, and the head that reads the
    most of thoughts.
    """
    layers: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for record in records:
        layers.setdefault((record["run"], record["layer"]), []).append(record)
    found = []
    for heads in layers.values():
        best = max(heads, key=lambda head: head["thoughts_mass_share"])
        means = {
            key: sum(head[key] for head in heads) / len(heads)
            for key in heads[0]
            if "_share" in key or "_ratio" in key
            if heads[0][key] is not None
        }
        more = {"best_head": best["head"], "best_mass_ratio": best["thoughts_mass_ratio"]}
        found.append({**heads[0], **means, **more})
    return found
