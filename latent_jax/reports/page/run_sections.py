"""The page of a folder of runs: their comparison, over training and at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from latent_jax.reports.command import COLUMNS
from latent_jax.reports.curves import PARTS
from latent_jax.reports.page.charts import Axis, bars
from latent_jax.reports.page.learning_curves import curves_figure
from latent_jax.reports.page.parts import Figure, Section, Table
from latent_jax.reports.records import Run
from latent_jax.reports.results import run_record
from latent_jax.reports.style import PALETTE, bytes_unit

BITS = "bits_per_byte"
PART_NAMES = {
    "language_model_bits_per_byte": "language model over codes",
    "reconstruction_bits_per_byte": "reconstruction of the bytes",
    BITS: "whole code length",
}


def run_summary(runs: Sequence[Run]) -> tuple[str, list[tuple[str, str]]]:
    """Return the result of a comparison in a few sentences, and its key numbers with labels."""
    finals = named(runs)
    seen = max(run.final()["bytes_seen"] for run in runs)
    divisor, unit = bytes_unit(seen)
    sentences = [_best_sentence(finals)]
    latent = {n: r.final() for n, r in finals.items() if r.has("reconstruction_accuracy")}
    if latent:
        best = max(latent, key=lambda name: latent[name]["reconstruction_accuracy"])
        share = 100 * latent[best]["reconstruction_accuracy"]
        sentences.append(f"{best} restores most bytes from its codes: {share:.2f} %.")
    facts = [
        (str(len(runs)), "run" if len(runs) == 1 else "runs"),
        (f"{seen / divisor:.3g} {unit}", "of text read in training, at most"),
    ]
    if any(run.has("seconds") for run in runs):
        seconds = sum(run.final().get("seconds", 0.0) for run in runs)
        facts.append((f"{seconds / 60:,.0f} min", "of training"))
    return " ".join(sentences), facts


def run_sections(runs: Sequence[Run]) -> list[Section]:
    """Return the sections of runs: figures and results."""
    records = [run_record(run) for run in runs]
    known = {key for record in records for key in record}
    columns = [key for key in COLUMNS if key in known]
    if all(record["name"] == record["method"] for record in records):
        columns[0] = "method"
    table = Table(
        "runs",
        "The last evaluation of every run",
        "Held-out text; bits per byte of latents are the full code length, both parts added.",
        records,
        columns,
    )
    runs_by_name = named(runs)
    figures = [
        *curves_figure(
            runs_by_name,
            "Over the text read in training",
            "Bits per byte of held-out text; every method counts raw bytes alike.",
        ),
        _final_bars(runs_by_name),
        *_restored(runs_by_name),
    ]
    sections = [
        Section("figures", "Figures", _best_sentence(runs_by_name).rstrip("."), "", figures),
        Section(
            "results",
            "Results",
            "Every run in numbers",
            "Click a header to sort by it, again to reverse the order, and again for the original "
            "one.",
            [table],
        ),
    ]
    return sections


def named(runs: Sequence[Run]) -> dict[str, Run]:
    """Return unique name -> run; the folder's name is added where two runs share a name."""
    names = [run.name for run in runs]
    return {
        run.name if names.count(run.name) == 1 else f"{run.name} ({run.folder.name})": run
        for run in runs
    }


def _best_sentence(runs: Mapping[str, Run]) -> str:
    finals = {name: run.final()[BITS] for name, run in runs.items()}
    best = min(finals, key=finals.get)
    return f"{best} has the fewest bits per byte, {finals[best]:.3f}."


def _final_bars(runs: Mapping[str, Run]) -> Figure:
    """Return a figure with one bar per run, lowest first; bars of latent methods show parts."""
    rows: list[dict[str, Any]] = []
    for name, run in sorted(runs.items(), key=lambda item: item[1].final()[BITS]):
        final = run.final()
        keys = tuple(reversed(PARTS)) if all(run.has(part) for part in PARTS) else (BITS,)
        for order, key in enumerate(keys):
            rows.append(
                {"run": name, "part": PART_NAMES[key], BITS: final[key], "part_order": order}
            )
    shades = (PALETTE[0], PALETTE[5], PALETTE[6])
    used = {row["part"] for row in rows}
    colours = {
        part: colour
        for part, colour in zip(PART_NAMES.values(), shades, strict=True)
        if part in used
    }
    caption = "Lower is better."
    if len(colours) > 1:
        caption = "Lower is better. Latents pay for their codes and for what the codes leave open."
    x = Axis(BITS, "bits per byte", format=".2f")
    return bars("final_bits", "At the end", caption, rows, "run", x, "part", colours)


def _restored(runs: Mapping[str, Run]) -> list[Figure]:
    """Return the figure of bytes restored from codes; none if no run has codes."""
    key = "reconstruction_accuracy"
    rows = [
        {"run": name, "bytes_right_percent": 100 * run.final()[key]}
        for name, run in runs.items()
        if run.has(key)
    ]
    if not rows:
        return []
    rows.sort(key=lambda row: -row["bytes_right_percent"])
    x = Axis("bytes_right_percent", "bytes right, %", format="d", value_format=".2f")
    title = "Bytes restored from the codes"
    return [bars("restored", title, "Of held-out text, in percent.", rows, "run", x)]
