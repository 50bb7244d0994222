"""The page of a sweep: its verdicts, its tables, and its cells in figures."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from latent_jax.reports.latent_figures import CAPTION, PARTS, TITLE, bar_parts, short
from latent_jax.reports.page.charts import Axis, Look, bars, lines, palette_look
from latent_jax.reports.page.learning_curves import curve, curves_figure
from latent_jax.reports.page.parts import Figure, Section, Table, Verdicts
from latent_jax.reports.records import Run
from latent_jax.reports.scores import Scores
from latent_jax.reports.style import colour_of
from latent_jax.reports.sweep_figures import around, count
from latent_jax.reports.sweep_report import TITLES, sweep_tables
from latent_jax.reports.trial import SUPPORTED, UNTRIED, VERDICTS

Records = Sequence[Mapping[str, Any]]

SHORT = {"v=65536": "v=65k"}
COST = ("inference_flops_per_byte", "forward FLOPs per raw byte, M1 included")
LOG_TICKS = (0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8)
CELL_COLUMNS = (
    "method",
    "size",
    "seed",
    "group",
    "setting",
    "bits_per_byte",
    "uniform_bits_per_byte",
    "bytes_per_token",
    "bytes_per_chunk_1",
    "n_parameters",
    "bytes_seen",
    "train_flops",
    "inference_flops_per_byte",
    "seconds",
)


def sweep_summary(records: Records) -> tuple[str, list[tuple[str, str]]]:
    """Return the result of a sweep in a few sentences, and its key numbers with their labels."""
    scores = Scores(records)
    claims = Counter(row["verdict"] for row in sweep_tables(records).get("verdicts", ()))
    tried = sum(claims.values()) - claims[UNTRIED]
    budgets = ", ".join(sorted({record["budget"] for record in records}))
    sizes = scores.sizes or sorted({record["size"] for record in records})
    sentences = [_best_sentence(scores)] if scores.methods else []
    if tried:
        sentences.append(f"Claims: {_counted(claims)}.")
    sentences.append(f"Budget of each cell: {budgets}.")
    facts = [
        (str(len(records)), "cells trained"),
        (str(len({r["method"] for r in records})), "methods"),
        (", ".join(sizes), "sizes" if len(sizes) > 1 else "size"),
    ]
    if tried:
        facts.append((f"{claims[SUPPORTED]} of {tried}", "claims supported"))
    return " ".join(sentences), facts


def sweep_sections(records: Records, runs: Sequence[Run]) -> list[Section]:
    """Return the sections of a sweep.

    Args:
        records: the records of its cells.
        runs: the runs of the cells whose folders exist, for curves.
    """
    scores, tables = Scores(records), sweep_tables(records)
    verdicts = tables.pop("verdicts", None)
    sections = [_verdict_section(verdicts)] if verdicts else []
    figures = _figures(scores) if scores.methods else []
    if "latents" in tables and scores.methods:
        figures.append(_latent_bars(records))
    figures += _ablations(tables.get("ablations", ())) + _curves(runs)
    if figures:
        best = _best_sentence(scores).rstrip(".") if scores.methods else ""
        title = best or "What each change is worth"
        sections.append(Section("figures", "Figures", title, "", figures))
    parts = [
        Table(name, TITLES[name], _CAPTIONS[name], _shortened(rows), list(_keys(rows)))
        for name, rows in tables.items()
    ]
    columns = [
        key for key in CELL_COLUMNS if any(record.get(key) not in (None, "") for record in records)
    ]
    parts.append(Table("cells", "Every cell", _CAPTIONS["cells"], records, columns))
    text = (
        "Click a header to sort by it, again to reverse the order, and again for the original one."
    )
    sections.append(Section("results", "Results", "The sweep in numbers", text, parts))
    return sections


_CAPTIONS = {
    "main": "Of held-out text, means over seeds; uniform is a model that has learned nothing.",
    "baselines": "What tokens alone are worth before any network.",
    "seeds": "Above the best: on the seeds that both have, with half the width of a 95 % interval.",
    "latents": "Bits per byte are those of the language model over codes and of reconstruction; "
    "LM's choice is reconstruction from the codes that the language model finds likeliest.",
    "thoughts": "Nats per token of results, means over seeds, with what thoughts save and are used "
    "for.",
    "chunks": "Of held-out text, means over seeds, fewest bits first; a boundary that found "
    "no room was dropped.",
    "ablations": "Only methods of the same group are compared.",
    "isoflop": "A parabola in the logarithm is fitted at each budget.",
    "cells": "One row for each trained cell; the CSV holds every number of its record.",
}


def _shortened(rows: Records) -> list[dict[str, Any]]:
    """Return rows with short names of settings, which fit on a phone."""
    return [{**row, "method": short(row["method"])} for row in rows]


def _keys(rows: Records) -> dict[str, None]:
    return dict.fromkeys(key for row in rows for key in row)


def _verdict_section(rows: Records) -> Section:
    claims = Counter(row["verdict"] for row in rows)
    title = f"Claims: {_counted(claims)}"
    text = (
        "Claims and questions of papers, tested at every size, vocabulary and setting, on the "
        "differences between runs of the same seed. A claim is supported if all of these places "
        "support it, and refuted if one of them refutes it. A single seed decides nothing."
    )
    ordered = sorted(rows, key=lambda row: VERDICTS.index(row["verdict"]))
    return Section("verdicts", "Verdicts", title, text, [Verdicts(ordered)])


def _counted(claims: Counter) -> str:
    return ", ".join(f"{claims[verdict]} {verdict}" for verdict in VERDICTS[:3])


def _best_sentence(scores: Scores) -> str:
    """Return a sentence that names the method with the fewest bits per byte at each size."""
    best: dict[str, list[str]] = {}
    for size in scores.sizes:
        means = {m: scores.mean(m, size) for m in scores.methods}
        means = {m: value for m, value in means.items() if value is not None}
        winner = min(means, key=means.get)
        best.setdefault(winner, []).append(f"{means[winner]:.3f} at {size}")
    found = [f"{shorten(method)} ({', '.join(where)})" for method, where in best.items()]
    return f"Fewest bits per byte: {' and '.join(found)}."


def shorten(method: str) -> str:
    """Return a method's name as figures show it: "v=65k" for "v=65536"."""
    for long, brief in SHORT.items():
        method = method.replace(long, brief)
    return method


def look_of(method: str) -> Look:
    """Return the look of a method: the colour of its family, and dashes for tokens of 8 bits."""
    return Look(colour_of(method), (6, 3) if "v=256" in method else (1, 0))


def _figures(scores: Scores) -> list[Figure]:
    """Return figures of bits per byte against parameters, FLOPs, bytes per step, window width."""
    points = [
        {
            "method": _method_of(method),
            "size": size,
            "parameters_outside_of_embeddings": scores.mean(method, size, "n_parameters")
            - scores.mean(method, size, "n_embedding_parameters"),
            COST[0]: scores.mean(method, size, COST[0]),
            "bytes_per_token": scores.of_method(method, "bytes_per_token"),
            "bytes_per_step": scores.bytes_per_step(method, size),
            "uniform_bits_per_byte": scores.of_method(method, "uniform_bits_per_byte"),
            "bits_per_byte": scores.mean(method, size),
        }
        for method in scores.leading
        for size in scores.sizes
        if scores.sample(method, size)
    ]
    looks = {point["method"]: look_of(point["method"]) for point in points}
    bits = Axis("bits_per_byte", "bits per byte", format=".2f")
    # Levels of uniform models may lie far above, and a logarithm keeps the others apart.
    on_log = Axis("bits_per_byte", "bits per byte", is_log=True, format=".1f", ticks=LOG_TICKS)
    uniform = Axis("uniform_bits_per_byte", "uniform model")
    sizes = [point["parameters_outside_of_embeddings"] for point in points]
    equal = around([point[COST[0]] for point in points if point[COST[0]] is not None])
    axes = (
        (
            "bits_by_parameters",
            f"Over {' to '.join(dict.fromkeys(map(count, (min(sizes), max(sizes)))))} parameters",
            "Parameters outside of embeddings. Short dashes: tokens of 8 bits. Thin dashed levels: "
            "equal probability to all tokens.",
            Axis("parameters_outside_of_embeddings", "parameters", is_log=True),
        ),
        (
            "bits_by_flops",
            "Against cost",
            "M1, the byte model that drives a coder, is part of the cost. One dot for each size.",
            Axis(*COST, is_log=not equal, domain=equal),
        ),
        (
            "bits_by_bytes_per_step",
            _ahead(scores),
            "Right and low is good: few steps of the model, or of its network over chunks, and few "
            "bits. One dot for each size.",
            Axis("bytes_per_step", "raw bytes that one step reads", format="~f"),
        ),
    )
    figures = []
    for id_, title, caption, x in axes:
        drawn = [point for point in points if point[x.key] is not None]
        if drawn:
            is_first = id_ == "bits_by_parameters"
            y, levels = (on_log, uniform) if is_first else (bits, None)
            words = dict(looks=looks, levels=levels)
            figures.append(lines(id_, title, caption, drawn, x, y, "method", **words))
    return figures + _windows(points)


def _ahead(scores: Scores) -> str:
    ratios = {m: _bytes_per_step(scores, m) for m in scores.methods}
    most = max((m for m in ratios if ratios[m] is not None), key=ratios.get, default=None)
    if most is None:
        return "Against bytes per step"
    name = _method_of(most)
    return f"Against bytes per step: {name} has the most, {ratios[most]:.2f}"


def _bytes_per_step(scores: Scores, method: str) -> float | None:
    known = [scores.bytes_per_step(method, size) for size in scores.sizes]
    return max((ratio for ratio in known if ratio is not None), default=None)


def _method_of(label: str) -> str:
    """Return the short method name in a label, for a figure with one setting per method."""
    return shorten(label.partition(", ")[0])


def _windows(points: Records) -> list[Figure]:
    """Return the figure of bits per byte over window width; none for a single width."""
    rows = []
    for point in points:
        match = re.fullmatch(r"EqualInfoAC\[b=(\d+),v=(256|65k)\]", point["method"])
        if match:
            line = f"v={match[2]}, {point['size']}"
            rows.append({**point, "window_bits": int(match[1]), "line": line})
    if len({row["window_bits"] for row in rows}) < 2:
        return []
    rows.sort(key=lambda row: (row["line"], row["window_bits"]))
    widths = sorted({row["window_bits"] for row in rows})
    x = Axis("window_bits", "bits of a window", is_log=True, format=".0f", ticks=widths)
    y = Axis("bits_per_byte", "bits per byte", format=".2f")
    title = "Width of windows"
    return [lines("bits_by_window", title, "EqualInfoAC alone.", rows, x, y, "line")]


def _ablations(rows: Records) -> list[Figure]:
    """Return the figure of the bits per byte of all cells with a group; none without such cells."""
    if not rows:
        return []
    n_sizes = len({row["size"] for row in rows})
    drawn = [
        {
            **row,
            "cell": f"{row['group']}: {short(shorten(row['method']))}"
            + (f", {row['size']}" if n_sizes > 1 else ""),
        }
        for row in rows
    ]
    x = Axis("bits_per_byte", "bits per byte", format=".2f")
    title = "Ablations, bits per byte"
    caption = "The name before the colon is the group; only cells of one group are compared."
    groups = dict.fromkeys(row["group"] for row in rows)
    colours = {group: palette_look(i).colour for i, group in enumerate(groups)}
    return [bars("ablation_bars", title, caption, drawn, "cell", x, "group", colours)]


def _latent_bars(records: Records) -> Figure:
    x = Axis("bits_per_byte", "bits per byte", format=".2f")
    parts = bar_parts(records)
    return bars("latent_bars", TITLE, CAPTION, parts, "name", x, "part", PARTS)


def _curves(runs: Sequence[Run]) -> list[Figure]:
    """Return the curves of the largest size of each method, one seed each.

    Cells that are evaluated only at the end have no validation curve, so their training curve is
    drawn.
    """
    chosen = {run.method: run for run in sorted(runs, key=_extent)}
    by_name = {shorten(method): run for method, run in chosen.items()}
    title, caption = "Over the text read in training", "Of each method its largest size."
    scored = {name: run for name, run in by_name.items() if len(curve(run, "validation")[0]) > 1}
    if scored:
        return curves_figure(scored, title, f"Held-out text. {caption}", look_of)
    caption = f"Training batches, a running mean. {caption}"
    return curves_figure(by_name, title, caption, look_of, split="train")


def _extent(run: Run) -> tuple[float, float]:
    last = run.final()
    return last.get("train_flops", 0.0), last["bytes_seen"]
