"""What -log p(x | z_hat) is when z_hat is the language model's choice, in every way to read it.

Fifty 2025 decodes "the most likely latent token output from the language model" with teacher
forcing, and reports about 0.07 for the input given these codes. The definition leaves open how many
codes are replaced at a time, which bytes are scored, and what the decoder reads. `reading_sums`
measures each reading on the same rows; `summarize` also says how often the model would have to be
right for 0.07.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from latent_jax.analysis.choices.decoder import decoder_trained_on_choices
from latent_jax.analysis.choices.readings import READINGS, reading_sums
from latent_jax.analysis.codes import Records, Tables, TrainedRun
from latent_jax.analysis.options import RunOptions, option, seed_option
from latent_jax.models.latent_lm import LatentLMConfig
from latent_jax.reports import style
from latent_jax.reports.tables import text_table
from latent_jax.tasks.latent_language import LatentLanguage

BLOG_NATS = 0.07
"""What Fifty 2025 reports for -log p(x | z_hat), presumably in nats per character."""

HELD_OUT = "held out"
"""The name of text that neither the run nor a decoder of this analysis was trained on."""

COLUMNS = (
    *("name", "split", "what", "scored_bytes", "choice_nats_per_byte", "language_model_accuracy"),
    *("needed_accuracy", "added_nats_per_code"),
)

_ROWS = 16
_MOST_LOGITS = 2**26
"""Logits of codes in a batch, so that a codebook of 65,536 takes fewer rows at a time."""


@dataclasses.dataclass(frozen=True)
class ChoicesOptions(RunOptions):
    """Options of the analysis `choices`."""

    seed: int = seed_option()
    places: int = option(
        8, "Codes of a row that are replaced one at a time (a decoding each).", lower_bound=1
    )
    decoder_steps: int = option(
        0,
        "Steps that a copy of the decoder is trained on the model's choices; 0 leaves it out.",
        lower_bound=0,
    )


def measure(
    options: ChoicesOptions, run: TrainedRun, texts: Mapping[str, Sequence[bytes]]
) -> Tables:
    """Return records of "choices", one for each reading and split; see `summarize`.

    Args:
        options: the seed, and how many codes are replaced one at a time.
        run: with discrete latents.
        texts: texts by what they are to the run: `HELD_OUT`, and other texts, such as its training
            split. A decoder that is trained on choices learns from the latter.

    Raises:
        ValueError: the run has no codes, or the texts of a split are shorter than a row.
    """
    task = run.task
    if not isinstance(task, LatentLanguage) or task.model_config.language_model is None:
        raise ValueError(f"{run.config.method} has no learned codes: name a run of Latent[...]")
    config, key = task.model_config, jax.random.key(options.seed)
    rows = {split: whole_rows(run, own) for split, own in texts.items()}
    decoder = None
    if options.decoder_steps:
        words = dict(steps=options.decoder_steps, seed=options.seed)
        (learned,) = (own for split, own in rows.items() if split != HELD_OUT)
        decoder = decoder_trained_on_choices(config, run.variables, learned, **words)
    records = []
    for split, ids_NT in rows.items():
        sums: dict[str, np.ndarray] = {}
        for number, ids_BT in enumerate(_batches(config, ids_NT)):
            own_key = jax.random.fold_in(key, number)
            words = (config, run.variables, ids_BT, own_key, options.places, decoder)
            for name, pair in reading_sums(*words).items():
                sums[name] = sums.get(name, 0.0) + np.array(pair)
        records += [{"split": split, **record} for record in summarize(sums, ids_NT.shape[1])]
    return {"choices": records}


def summarize(sums: Mapping[str, Sequence[float]], row_length: int) -> list[dict[str, Any]]:
    """Return a record for each reading that was measured.

    Args:
        sums: of `reading_sums`, added up.
        row_length: T, bytes of a row.

    Returns:
        "reading", "what", "scored_bytes", "choice_nats_per_byte", and "language_model_accuracy",
        the share of right choices. The reading "one" also has "needed_accuracy", the share at which
        it would cost `BLOG_NATS`, given what right and wrong choices cost; None if even right ones
        cost more. "one, whole row" has "added_nats_per_code", what one choice adds to its row.
    """
    sums = dict(sums)
    right, n_codes = sums.pop("accuracy")
    nats = {name: float(total / max(n, 1.0)) for name, (total, n) in sums.items()}
    more = {
        "one": {"needed_accuracy": _needed(nats["one, right"], nats["one, wrong"])},
        "one, whole row": {
            "added_nats_per_code": (nats["one, whole row"] - nats["own codes"]) * row_length
        },
    }
    return [
        {
            "reading": name,
            "what": what,
            "scored_bytes": int(sums[name][1]),
            "choice_nats_per_byte": nats[name],
            "language_model_accuracy": float(right / n_codes),
            **more.get(name, {}),
        }
        for name, what in READINGS.items()
        if name in sums
    ]


def _needed(right: float, wrong: float) -> float | None:
    """Return the share of right choices at which the mean of these costs is `BLOG_NATS`."""
    return (wrong - BLOG_NATS) / (wrong - right) if right <= BLOG_NATS < wrong else None


def whole_rows(run: TrainedRun, texts: Sequence[bytes]) -> np.ndarray:
    """Return texts as whole rows, int32[N, T]; a separator follows each text.

    Raises:
        ValueError: they fill no row.
    """
    length = run.config.row_length
    separator = np.array([run.tokenizer.separator_id], np.int32)
    ids = [part for text in texts for part in (run.tokenizer.encode(text), separator)]
    joined = np.concatenate(ids or [separator])
    rows = joined[: len(joined) // length * length].reshape(-1, length)
    if not len(rows):
        raise ValueError(f"the text fills no row of {length} bytes: name more with --data")
    return rows


def _batches(config: LatentLMConfig, ids_NT: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows, as many at a time as fit; all batches have one shape, and a rest is left out."""
    n_codes = -(-ids_NT.shape[1] // config.autoencoder.compressor.factor)
    size = max(1, min(_ROWS, _MOST_LOGITS // (n_codes * config.language_model.vocab_size)))
    size = min(size, len(ids_NT))
    for first in range(0, len(ids_NT) - size + 1, size):
        yield ids_NT[first : first + size]


def show(tables: Tables) -> str:
    """Return the table of all runs."""
    return text_table(tables["choices"], COLUMNS)


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw every reading of every run as dots on one logarithmic axis, beside the blog's number."""
    records = tables["choices"]
    readings = [name for name in READINGS if name in {record["reading"] for record in records}]
    with style.house_style():
        return [style.save(_figure(records, readings), folder / "choices.png")]


def _figure(records: Records, readings: Sequence[str]) -> Figure:
    names = list(dict.fromkeys(record["name"] for record in records))
    others = dict.fromkeys(r["split"] for r in records if r["split"] != HELD_OUT)
    others = [split if "text" in split else f"{split} text" for split in others]
    height = 1.75 + 0.33 * len(readings)
    figure = Figure(figsize=(10.6, height))
    style.titles(
        figure,
        0.02,
        "-log p(x | z_hat) by how it is read",
        f"Nats per byte; filled: held-out text, hollow: {' or '.join(others)}. The line is the "
        f"{BLOG_NATS} of Fifty 2025",
    )
    bottom, top = 0.62 / height, 1 - 0.95 / height
    axes = figure.add_axes((0.44, bottom, 0.36, top - bottom))
    axes.set_xscale("log")
    axes.axvline(BLOG_NATS, color=style.QUIET, linewidth=1.2, linestyle=(0, (4, 2)))
    for index, name in enumerate(names):
        colour = style.line_look(index)["color"]
        # Runs lie a little apart, so that equal values stay visible.
        shift = 0.22 * (index - (len(names) - 1) / 2)
        for record in records:
            if record["name"] != name or record["choice_nats_per_byte"] <= 0:
                continue
            fill = colour if record["split"] == HELD_OUT else "white"
            y = readings.index(record["reading"]) + shift
            look = dict(marker="o", markersize=5.5, color=colour, markerfacecolor=fill)
            axes.plot(record["choice_nats_per_byte"], y, linestyle="", **look)
        place = 1 - (0.9 + 0.3 * index) / height
        figure.text(0.82, place, name, color=colour, size=8.5, va="center")
    axes.set_yticks(range(len(readings)), [READINGS[name] for name in readings])
    axes.set_ylim(len(readings) - 0.5, -0.5)
    axes.tick_params(axis="y", labelcolor=style.INK)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("nats per byte, logarithmic")
    return figure
