"""Loss per character over training, as Fifty 2025 plots it, beside the full code length.

The blog's main figure divides the cross-entropy of a BPE token by 4 and that of a latent code by C,
and draws the language model's term alone. This flatters a latent language, because half of its
message is missing: a code that says nothing costs nothing there, and the text is then all in the
reconstruction. It flatters a BPE whose tokens hold fewer than 4 bytes, as a small vocabulary's do.
The full code length is codes plus reconstruction, over the raw bytes counted in the text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latent_jax.reports.curves import fit_height, is_latent
from latent_jax.reports.records import Run, read_run
from latent_jax.reports.style import (
    QUIET,
    bytes_unit,
    family_of,
    few_ticks,
    house_style,
    label_ends,
    line_look,
    save,
    titles,
)

CHARACTERS = {"BPE": 4, "SentencePiece": 4, "Bytes": 1}
"""Characters of a token, by which the blog's way divides; a latent code's are C."""

BLOG, FULL, PART = "blog_nats_per_character", "nats_per_byte", "language_model_nats_per_byte"

PANELS = {
    BLOG: "The blog's way: LM term, nats per character",
    FULL: "In full: codes and reconstruction, nats per raw byte",
}


def character_records(folders: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return every training and validation record of every run, as loss per character.

    Runs stand in the order of the folders; of each, records of training come first.

    Returns:
        "name", "method", "split", "step", "bytes_seen"; "characters", by which the blog's way
        divides;
        "blog_nats_per_character"; "nats_per_byte" and "bits_per_byte", the full code length;
        for latents "language_model_nats_per_byte", its part without the reconstruction.

    Raises:
        RunFolderError: a folder is damaged or has no validation record yet.
        ValueError: a run is neither a latent language nor a model over subwords or bytes.
    """
    return [record for folder in folders for record in _records(read_run(folder))]


def _records(run: Run) -> list[dict[str, Any]]:
    run.final()  # raises if there is nothing to draw
    family = family_of(run.method)
    if not is_latent(run) and family not in CHARACTERS:
        raise ValueError(
            f"{run.folder}: {run.method} is neither a latent language nor one of "
            f"{', '.join(CHARACTERS)}; loss per character compares these"
        )
    records = []
    for at in (*run.split("train"), *run.split("validation")):
        record = {
            "name": run.name,
            "method": run.method,
            "split": at["split"],
            "step": at["step"],
            "bytes_seen": at["bytes_seen"],
            "bits_per_byte": at["bits_per_byte"],
            FULL: at["bits_per_byte"] * float(np.log(2)),
        }
        if is_latent(run):
            code_nats = at[PART] * at["bytes_per_latent"]
            # A little under C, because separators stand for no byte.
            characters = round(at["bytes_per_latent"])
            record |= {BLOG: code_nats / characters, PART: at[PART]}
        else:
            characters = CHARACTERS[family]
            record |= {BLOG: at["nats_per_token"] / characters}
            record |= {"bytes_per_token": at["bytes_per_token"]}
        records.append(record | {"characters": characters})
    return records


def last_records(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the last validation record of each run."""
    held_out = (record for record in records if record["split"] == "validation")
    return list({record["name"]: record for record in held_out}.values())


def write_per_character(records: Sequence[Mapping[str, Any]], path: str | Path) -> Path:
    """Draw the records of `character_records`: both measures, side by side on one scale.

    Returns:
        The path of the PNG.

    Raises:
        ValueError: there is no record, or two runs have the same name.
    """
    if not records:
        raise ValueError("there is no run to compare per character: name a folder with runs")
    with house_style():
        return save(_figure(records), path)


Curves = dict[str, dict[str, list[Mapping[str, Any]]]]
"""Name of a run -> split -> its records."""


def _curves(records: Sequence[Mapping[str, Any]]) -> Curves:
    curves: Curves = {}
    for record in records:
        splits = curves.setdefault(record["name"], {"train": [], "validation": []})
        points = splits[record["split"]]
        if points and points[-1]["step"] >= record["step"]:
            raise ValueError(f"two runs are called {record['name']!r}: give one another name")
        points.append(record)
    return curves


def _figure(records: Sequence[Mapping[str, Any]]) -> Figure:
    runs = _curves(records)
    figure = Figure(figsize=(11.6, 5.0))
    titles(
        figure,
        0.05,
        "Loss per character, and what it leaves out",
        "Dots: held-out text; thin: training. The left way does not pay for what codes leave open, "
        "and takes every subword for 4 characters",
    )
    left = figure.add_axes((0.05, 0.105, 0.285, 0.68))
    right = figure.add_axes((0.545, 0.105, 0.285, 0.68), sharey=left)
    for axes, (measure, title) in zip((left, right), PANELS.items(), strict=True):
        axes.set_title(title)
        _draw(axes, runs, measure)
    _fit_both(left, runs)
    for axes in (left, right):
        few_ticks(axes)
    for axes, measure in ((left, BLOG), (right, FULL)):
        label_ends(axes, _ends(runs, measure))
    return figure


def _fit_both(left: Axes, runs: Curves) -> None:
    """Choose the y limits, which both panels share.

    The left panel, whose losses are the smaller ones, says how much of the steep beginning is
    shown; every validation loss of the right one is.
    """
    fit_height(left)
    low, high = left.get_ylim()
    losses = [point[FULL] for splits in runs.values() for point in splits["validation"]]
    left.set_ylim(low, max(high, max(losses) + 0.05 * (max(losses) - low)))


def _draw(axes: Axes, runs: Curves, measure: str) -> None:
    """Draw one measure of all runs; the reconstruction is the shaded part of a full length."""
    scale, unit = _unit(runs)
    for index, splits in enumerate(runs.values()):
        look = line_look(index)
        xs, ys = _line(splits["train"], measure, scale)
        axes.plot(xs, ys, **look, linewidth=0.9, alpha=0.45)
        xs, ys = _line(splits["validation"], measure, scale)
        axes.plot(xs, ys, **look, marker="o", markersize=4)
        if measure == FULL and PART in splits["validation"][0]:
            _, part = _line(splits["validation"], PART, scale)
            axes.fill_between(xs, part, ys, color=look["color"], alpha=0.18, lw=0)
    axes.set_xlim(0, None)
    axes.set_xlabel(f"text read in training, {unit}", color=QUIET)


def _line(points: Sequence[Mapping[str, Any]], key: str, scale: float) -> tuple[Any, Any]:
    xs = np.array([point["bytes_seen"] for point in points]) / scale
    return xs, np.array([point[key] for point in points])


def _ends(runs: Curves, measure: str) -> list[tuple[float, float, str, str]]:
    """Return the names at the ends of the lines, with their last values, for `label_ends`."""
    scale, _ = _unit(runs)
    ends = []
    for index, (name, splits) in enumerate(runs.items()):
        last, colour = splits["validation"][-1], line_look(index)["color"]
        text = f"{name}\n{last[measure]:.2f}"
        if measure == FULL:
            text += f" nats = {last['bits_per_byte']:.2f} bits"
            if PART in last:
                text += f"\n{last[FULL] - last[PART]:.2f} nats reconstruction"
            else:
                text += f"\n{last['bytes_per_token']:.2f} bytes per token"
        ends.append((last["bytes_seen"] / scale, last[measure], text, colour))
    return ends


def _unit(runs: Curves) -> tuple[float, str]:
    points = (point for splits in runs.values() for point in splits["validation"])
    return bytes_unit(max(point["bytes_seen"] for point in points))
