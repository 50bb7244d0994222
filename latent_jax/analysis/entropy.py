"""The entropy of text in every code: n-gram estimates, and the bits of a trained model."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from latent_jax.analysis.codes import Code, Records, Tables, encode_texts
from latent_jax.analysis.kneser_ney import KneserNey
from latent_jax.analysis.ngrams import conditional_entropy, count_ngrams
from latent_jax.analysis.options import TextOptions, option
from latent_jax.reports import panels, style
from latent_jax.reports.page.analyses import METHOD, figure_id, grouped, has, is_number, ordered
from latent_jax.reports.page.charts import Axis, bars, lines
from latent_jax.reports.page.parts import Figure
from latent_jax.reports.tables import text_table

COLUMNS = (
    *("text", "method", "run", "model", "n_samples", "n_contexts"),
    *(f"{estimate}_bits_per_token" for estimate in ("plug_in", "miller_madow", "held_out")),
    *(f"{estimate}_bits_per_byte" for estimate in ("plug_in", "miller_madow", "held_out")),
    *("reconstruction_bits_per_byte", "held_out_bits_per_character"),
)

SUMMARY_COLUMNS = (
    *("text", "method", "run", "seed", "beta", "lm_gradient", "train_bytes", "bytes_per_token"),
    *("n_samples", "n_contexts", "uniform_bits_per_byte"),
    *("plug_in_bits_per_byte", "miller_madow_bits_per_byte", "held_out_bits_per_byte"),
    *("held_out_bits_per_character", "best_n", "best_bits_per_byte"),
    *("language_model_bits_per_byte", "reconstruction_bits_per_byte", "paper_bits_per_character"),
)

ORIGIN = ("text", "method", "run")
"""Keys that identify the code of a record."""

RUN_WORDS = ("seed", "beta", "lm_gradient")

LANGUAGE_MODEL = "language model"

SUMMARY_N = 4
"""The n of Fifty 2025, "Language, Entropy, and Language Modeling"."""

FIFTY_2025 = tuple(
    {"text": "OpenWebText", "method": method, "paper_bits_per_character": bits}
    for method, bits in (("English", 1.8), ("latent language, c=2", 3.0))
)
"""The 4-gram entropies that the blog states, shown below the measured ones."""


@dataclasses.dataclass(frozen=True)
class EntropyOptions(TextOptions):
    """Options of the analysis `entropy`."""

    n: int = option(6, "The longest n-grams.", lower_bound=1)
    summary: str | None = option(None, "Also write the records of the second table to this file.")

    def __post_init__(self) -> None:
        """Check that the second table can be made if a file is named for it."""
        if self.summary and self.n < SUMMARY_N:
            raise ValueError(
                f"--summary is about {SUMMARY_N}-grams: set --n to {SUMMARY_N} or more"
            )


def measure(
    options: EntropyOptions,
    code: Code,
    train: Sequence[bytes],
    validation: Sequence[bytes],
    metrics: Mapping[str, Any] | None = None,
) -> Tables:
    """Return records of "entropy": one for each n = 1, ..., `options.n`, and a trained model's.

    The plug-in and Miller-Madow estimates are of the training text, per n-gram that lies inside one
    text, and per byte of the last ids of these n-grams. "Held out" is the cross-entropy of the
    n-gram model of the training text (`KneserNey`) on the validation text, over all of its ids and
    bytes. Characters are code points.

    Args:
        options: `n` is the length of the longest n-grams.
        code: any.
        train: texts to count n-grams in.
        validation: texts to score.
        metrics: of a language model over the code on the validation text, with "bits_per_byte" and
            "n_bytes"; None if there is no such model.

    Raises:
        ValueError: no training text has `options.n` ids.
    """
    counted, scored = encode_texts(code, train), encode_texts(code, validation)
    tables = count_ngrams([coded.ids for coded in counted], code.n_ids, options.n)
    held_out_nats = KneserNey(tables).nats([coded.ids for coded in scored])
    n_bytes, n_characters = sum(map(len, validation)), count_characters(validation)
    n_tokens = sum(len(coded.ids) for coded in scored)
    shared = {
        "method": code.name,
        "n_ids": code.n_ids,
        "train_bytes": sum(map(len, train)),
        "n_bytes": n_bytes,
        "n_tokens": n_tokens,
        "bytes_per_token": n_bytes / n_tokens,
        "bytes_per_character": n_bytes / n_characters,
        "uniform_bits_per_byte": float(np.log2(code.n_ids) * n_tokens / n_bytes),
    }
    records = []
    held_out_bits = held_out_nats.sum(axis=1) / np.log(2)
    for estimate, bits in zip(map(conditional_entropy, tables), held_out_bits, strict=True):
        ngram_bytes = sum(int(coded.byte_lengths[estimate.n - 1 :].sum()) for coded in counted)
        record = {
            **shared,
            "model": f"{estimate.n}-gram",
            **{key: n for key, n in estimate._asdict().items() if not key.endswith("_nats")},
        }
        for name in ("plug_in", "miller_madow"):
            per_token = getattr(estimate, f"{name}_nats") / np.log(2)
            record[f"{name}_bits_per_token"] = float(per_token)
            record[f"{name}_bits_per_byte"] = float(per_token * estimate.n_samples / ngram_bytes)
        record["held_out_bits_per_token"] = float(bits / n_tokens)
        record["held_out_bits_per_byte"] = float(bits / n_bytes)
        record["held_out_bits_per_character"] = float(bits / n_characters)
        records.append(record)
    if metrics is not None:
        records.append(_language_model_record(shared, metrics))
    return {"entropy": records}


def _language_model_record(shared: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a run's own language model on the validation text.

    For latents, the bits are those of the model over the codes; the bits of the reconstruction
    given the codes stand beside them.
    """
    bits = metrics.get("language_model_bits_per_byte", metrics["bits_per_byte"])
    kept = ("method", "n_ids", "n_tokens", "bytes_per_token", "bytes_per_character")
    record = {
        **{key: shared[key] for key in kept},
        "n_bytes": metrics["n_bytes"],
        "model": LANGUAGE_MODEL,
        "held_out_bits_per_token": bits * shared["bytes_per_token"],
        "held_out_bits_per_byte": bits,
        "held_out_bits_per_character": bits * shared["bytes_per_character"],
    }
    if "reconstruction_bits_per_byte" in metrics:
        record["reconstruction_bits_per_byte"] = metrics["reconstruction_bits_per_byte"]
    return record


def summarize(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one record for each text and code: n = 4, the best n, and the language model."""
    rows: dict[tuple[str | None, ...], dict[str, Any]] = {}
    for record in records:
        key = tuple(record.get(name) for name in ORIGIN)
        told = (*ORIGIN, *RUN_WORDS)
        row = rows.setdefault(key, {name: record[name] for name in told if name in record})
        if record["model"] == LANGUAGE_MODEL:
            row["language_model_bits_per_byte"] = record["held_out_bits_per_byte"]
            if "reconstruction_bits_per_byte" in record:
                row["reconstruction_bits_per_byte"] = record["reconstruction_bits_per_byte"]
            continue
        if record["held_out_bits_per_byte"] < row.get("best_bits_per_byte", np.inf):
            row["best_n"] = record["n"]
            row["best_bits_per_byte"] = record["held_out_bits_per_byte"]
        if record["n"] == SUMMARY_N:
            kept = (*SUMMARY_COLUMNS, "n_bytes")
            row.update({name: record[name] for name in kept if name in record})
    return [*rows.values(), *map(dict, FIFTY_2025)]


def count_characters(texts: Sequence[bytes]) -> int:
    """Return how many code points UTF-8 texts have: all bytes except continuation bytes."""
    return sum(int(((np.frombuffer(text, np.uint8) & 0xC0) != 0x80).sum()) for text in texts)


def show(tables: Tables) -> str:
    """Return the table of all estimates, and the summary of n = 4 if there is one."""
    parts = [text_table(tables["entropy"], _known(tables["entropy"], COLUMNS))]
    if rows := tables.get("summary"):
        parts.append(f"{SUMMARY_N}-grams, and what Fifty 2025 states of its own:")
        parts.append(text_table(rows, _known(rows, SUMMARY_COLUMNS)))
    return "\n\n".join(parts)


def _known(records: Records, columns: Sequence[str]) -> list[str]:
    return [column for column in columns if any(column in record for record in records)]


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw held-out bits per byte against n, a panel for each text, a line for each code.

    Trained language models, whose records have no "n", are points right of the last n.
    """
    records = tables["entropy"]
    has_models = any(record.get("n") is None for record in records)
    texts = list(dict.fromkeys(record["text"] for record in records))
    codes = list(dict.fromkeys(record["method"] for record in records))
    highest = max(record["held_out_bits_per_byte"] for record in records)
    with style.house_style():
        figure, all_axes = panels.spaced_panels(
            "Entropy of text in every code",
            "Bits per raw byte of held-out text. n-grams: modified Kneser-Ney"
            + ("; diamonds: a trained language model" if has_models else ""),
            texts,
        )
        for axes, text in zip(all_axes, texts, strict=True):
            axes.set(xlabel="n", ylim=(0, 1.05 * highest))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            _draw_codes(axes, [record for record in records if record["text"] == text], codes)
        return [style.save(figure, folder / "entropy.png")]


def _draw_codes(axes: Axes, records: Records, codes: Sequence[str]) -> None:
    """Draw the lines of one text, and the points of language models."""
    key = "held_out_bits_per_byte"
    of_n = panels.lines_of([r for r in records if r.get("n")], "method", "n", key)
    ends = [
        (x, y, f"{style.short_name(code)} {y:.2f}", colour)
        for x, y, code, colour in panels.plot_lines(axes, of_n)
    ]
    at = max(x for x, *_ in ends) + 0.4
    for record in records:
        if not record.get("n"):
            bits, code = record[key], record["method"]
            colour = style.line_look(codes.index(code))["color"]
            axes.plot(at, bits, marker="D", markersize=4, color=colour)
            ends.append((at, bits, f"{style.short_name(code)}, model {bits:.2f}", colour))
    style.label_ends(axes, ends, size=7.5)


def ngram_page_figures(stem: str, records: Records) -> list[Figure]:
    """Return a page's figures of held-out bits per byte over n, one for each text.

    The list is empty if the records are of another kind.
    """
    key, figures = "held_out_bits_per_byte", []
    if not has(records, METHOD, "n", key):
        return figures
    for text, rows in grouped(records, "text").items():
        rows = ordered(rows, "n", key)
        best = min(rows, key=lambda row: row[key])
        title = f"{best[METHOD]} has the lowest n-gram entropy{_of(text)}, {best[key]:.2f}"
        figures.append(
            lines(
                figure_id(stem, text),
                f"{title} bits per byte",
                "A model of n-grams on held-out text, in bits for each raw byte; more context than "
                "the text supports makes it worse again.",
                rows,
                Axis("n", "n, tokens", format="d", ticks=sorted({row["n"] for row in rows})),
                Axis(key, "bits per byte", format=".2f"),
                METHOD,
            )
        )
    return figures


def summary_page_figures(stem: str, records: Records) -> list[Figure]:
    """Return a page's figures of the best bits per byte of each method, one for each text."""
    key, figures = "best_bits_per_byte", []
    # Counts of more text give fewer bits: only codes counted on equally much share a figure.
    named = [{**r, "text": _counted(r)} for r in records if is_number(r.get(key))]
    for text, rows in grouped(named, "text").items():
        rows = sorted(rows, key=lambda r: r[key])
        caption = "The best order of n-grams for each code, on held-out text."
        title = f"Entropy{_of(text)}, bits per byte"
        x = Axis(key, "bits per byte", format=".2f")
        figures.append(bars(figure_id(stem, text), title, caption, rows, METHOD, x))
    return figures


def _counted(record: Mapping[str, Any]) -> str:
    """Return the name of a record's text, with the MB that were counted, if known."""
    text, n_bytes = str(record.get("text") or ""), record.get("train_bytes")
    return f"{text}, {n_bytes / 1e6:.1f} MB counted".lstrip(", ") if n_bytes else text


def _of(text: str) -> str:
    return f" of {text}" if text else ""
