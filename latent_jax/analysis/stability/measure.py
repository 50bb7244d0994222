"""The stability of codes: under small changes of a text, and of the same words in other places."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.analysis.codes import Code, Tables, encode_texts
from latent_jax.analysis.contingency import agreement
from latent_jax.analysis.options import SentenceOptions, option
from latent_jax.analysis.stability.boundaries import (
    Places,
    alignment,
    space_places,
    token_places,
)
from latent_jax.analysis.stability.changes import (
    Changes,
    Distances,
    change_test,
    common_words,
    prefix_test,
)
from latent_jax.analysis.stability.consistency import word_table
from latent_jax.analysis.stability.figures import distances_figure, shares_figure
from latent_jax.analysis.tokens.token_map import map_tokens
from latent_jax.reports.style import house_style, save
from latent_jax.reports.tables import text_table, write_table

COLUMNS = {
    "One sentence behind other words, and one byte changed": (
        *("method", "prefix_distance_tokens", "prefix_distance_share"),
        *("sentence_distance_tokens", "sentence_distance_share"),
        *("changed_tokens", "changed_tokens_share", "stays_share"),
        *("travel_bytes_median", "back_bytes_median", "reaches_end_share"),
    ),
    "The same tokens, the same words, and where tokens end": (
        *("method", "same_text_probability", "same_ids_probability"),
        *(
            f"{chance}{place}_{side}_share"
            for place in ("space", "piece")
            for side in ("recall", "precision")
            for chance in ("", "random_")
        ),
    ),
}

N_COMMON_WORDS = 3000
"""Prefixes are drawn from so many common words, as in Lester et al. 2024, section 6.1."""


@dataclasses.dataclass(frozen=True)
class StabilityOptions(SentenceOptions):
    """Options of the analysis `stability`."""

    prefixes: int = option(500, "Words put before the sentence.", lower_bound=2)
    changes: int = option(200, "Bytes that are changed, one at a time.", lower_bound=1)
    pieces: str = option(
        "", "Tokenizer whose token boundaries are compared with; empty = spaces only."
    )

    def __post_init__(self) -> None:
        """Check that there are enough prefixes and changes."""
        if self.prefixes < 2 or self.changes < 1:
            raise ValueError(
                "give at least 2 prefixes and 1 change; got "
                f"prefixes={self.prefixes} and changes={self.changes}"
            )


def draw_prefixes(options: StabilityOptions, texts: Sequence[bytes]) -> list[bytes]:
    """Return the words to put before the sentence, drawn from the most common ones of texts."""
    return common_words(texts, N_COMMON_WORDS, options.prefixes, options.seed)


def find_places(texts: Sequence[bytes], reference: Code | None = None) -> dict[str, list[Places]]:
    """Return the places of spaces and, with a reference code, of its token boundaries."""
    places = {"space": [space_places(text) for text in texts]}
    if reference is not None:
        places["piece"] = [token_places(coded) for coded in encode_texts(reference, texts)]
    return places


def measure(
    options: StabilityOptions,
    code: Code,
    texts: Sequence[bytes],
    prefixes: Sequence[bytes],
    places: Mapping[str, Sequence[Places]],
) -> Tables:
    """Return how stable a code is on some texts.

    Args:
        options: the sentence after every prefix, the number of changed bytes, and the seed of their
            places and values.
        code: any.
        texts: held-out texts.
        prefixes: see `draw_prefixes`.
        places: see `find_places`.

    Returns:
        "stability" with one record, and "histograms" with one for each bin that is not empty.
    """
    coded = encode_texts(code, texts)
    distances = prefix_test(code, prefixes, options.sentence.encode())
    changes = change_test(code, texts, coded, options.changes, options.seed)
    record = {
        "method": code.name,
        "n_bytes": sum(map(len, texts)),
        "n_texts": len(texts),
        "n_prefixes": len(prefixes),
        "n_changes": options.changes,
        "seed": options.seed,
        **_prefix_scores(distances),
        **_change_scores(changes),
        "same_text_probability": agreement(map_tokens(texts, coded).table),
        "same_ids_probability": agreement(word_table(texts, coded)),
    }
    for name, own in places.items():
        for key, value in alignment(coded, own).items():
            chance, plain = "random_" * key.startswith("random_"), key.removeprefix("random_")
            record[f"{chance}{name}_{plain}"] = value
    record["pieces"] = options.pieces or None
    edges = np.arange(distances.whole.max() + 2)
    histograms = [
        *_histogram("prefix_distance_tokens", distances.whole, edges),
        *_histogram("travel_bytes", changes.travel_bytes, TRAVEL_EDGES),
    ]
    return {
        "stability": [record],
        "histograms": [{"method": code.name, **bin_} for bin_ in histograms],
    }


def _prefix_scores(distances: Distances) -> dict[str, float]:
    return {
        "prefix_distance_tokens": float(distances.whole.mean()),
        "prefix_distance_share": float(distances.whole.sum() / distances.n_whole.sum()),
        "sentence_distance_tokens": float(distances.sentence.mean()),
        "sentence_distance_share": float(distances.sentence.sum() / distances.n_sentence.sum()),
    }


def _change_scores(changes: Changes) -> dict[str, float]:
    stays = (changes.travel_bytes == 0) & (changes.back_bytes == 0)
    return {
        "changed_tokens": float(changes.changed_tokens.mean()),
        "changed_tokens_share": float(changes.changed_tokens.sum() / changes.n_tokens.sum()),
        "stays_share": float(stays.mean()),
        "travel_bytes_median": float(np.median(changes.travel_bytes)),
        "back_bytes_median": float(np.median(changes.back_bytes)),
        "left_bytes_median": float(np.median(changes.left_bytes)),
        "reaches_end_share": float(changes.reaches_end.mean()),
    }


TRAVEL_EDGES = np.array([0, 1, *(2**k for k in range(1, 21))])
"""Edges of the histogram of distances in bytes: 0, 1, 2 to 3, 4 to 7, ..."""


def _histogram(quantity: str, values: np.ndarray, edges: np.ndarray) -> list[dict[str, Any]]:
    """Return a record for each bin that is not empty; a bin includes its start, not its stop."""
    counts, _ = np.histogram(values, edges)
    return [
        {"quantity": quantity, "start": int(a), "stop": int(b), "share": float(n / len(values))}
        for a, b, n in zip(edges, edges[1:], counts, strict=False)
        if n
    ]


def show(tables: Tables) -> str:
    """Return both tables of all codes."""
    records = tables["stability"]
    known = {key for record in records for key in record}
    parts = []
    for title, columns in COLUMNS.items():
        parts += ["", title, "", text_table(records, [c for c in columns if c in known])]
    return "\n".join(parts)


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw both pictures, and write the histograms as JSON beside them."""
    records, histograms = tables["stability"], tables["histograms"]
    path = write_table(histograms, folder / "histograms.json")
    with house_style():
        distances = save(distances_figure(records, histograms), folder / "stability.png")
        return [path, distances, save(shares_figure(records), folder / "consistency.png")]
