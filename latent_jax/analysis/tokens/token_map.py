"""The bytes that each id covers in real text, and how much they vary.

Lester et al. 2024, section 6.1 and appendix D.8: a token of equal-information windows stands for
one text only if it is a whole window; within a window the text depends on the tokens before it. An
id covers the bytes whose last bit of information it holds (`Tokenizer.byte_lengths`), so an id of
an arithmetic code may cover nothing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from matplotlib.figure import Figure

from latent_jax.analysis.codes import Coded, Records
from latent_jax.analysis.contingency import (
    Contingency,
    agreement,
    conditional_entropy_bits,
    contingency,
    entropy_bits,
    row_sums,
    single_column_share,
    transposed,
)
from latent_jax.reports.panels import name_rows
from latent_jax.reports.style import INK, PALETTE, titles
from latent_jax.spelling import printable, quoted


@dataclasses.dataclass(frozen=True)
class TokenMap:
    """Occurrences of ids in texts.

    Attributes:
        ids: int64[N], all ids of all texts.
        positions: int64[N], the place of each in its window, 0 if a window is one id.
        labels: int64[N], the index into `spellings` of the byte string that each covers.
        spellings: the different byte strings that are covered.
    """

    ids: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    spellings: tuple[bytes, ...]

    def at(self, position: int) -> Self:
        """Return the occurrences at one place of windows."""
        chosen = self.positions == position
        return dataclasses.replace(
            self,
            ids=self.ids[chosen],
            positions=self.positions[chosen],
            labels=self.labels[chosen],
        )

    @property
    def table(self) -> Contingency:
        """Counts of ids (rows) by spellings (columns)."""
        return contingency(self.ids, self.labels)

    def texts_of(self, id_: int) -> list[tuple[bytes, int]]:
        """Return the byte strings that an id covers with their counts, the most frequent first."""
        labels, counts = np.unique(self.labels[self.ids == id_], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [(self.spellings[labels[i]], int(counts[i])) for i in order]


def map_tokens(texts: Sequence[bytes], coded: Sequence[Coded], window_tokens: int = 1) -> TokenMap:
    """Return what each id of each text covers.

    Args:
        texts: documents.
        coded: the texts in a code.
        window_tokens: of the code; each text begins with a window.

    Raises:
        ValueError: byte lengths do not add up to a text.
    """
    for text, code in zip(texts, coded, strict=True):
        if (total := int(code.byte_lengths.sum(dtype=np.int64))) != len(text):
            raise ValueError(f"ids that cover {total} bytes are not those of {len(text)} bytes")
    none = [np.zeros(0, np.int64)]
    lengths = np.concatenate([c.byte_lengths for c in coded] or none).astype(np.int64)
    labels, spellings = label_spans(b"".join(texts), np.cumsum(lengths) - lengths, lengths)
    return TokenMap(
        ids=np.concatenate([c.ids for c in coded] or none).astype(np.int64),
        positions=np.concatenate([np.arange(len(c.ids)) % window_tokens for c in coded] or none),
        labels=labels,
        spellings=spellings,
    )


def label_spans(
    text: bytes, starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, tuple[bytes, ...]]:
    """Number the different byte strings among spans of a text.

    Args:
        text: any.
        starts: int64[N].
        lengths: int64[N].

    Returns:
        int64[N], the number of each span's bytes, and the byte strings by number.
    """
    joined = np.frombuffer(text, np.uint8)
    labels = np.zeros(len(starts), np.int64)
    spellings: list[bytes] = []
    order = np.argsort(lengths, kind="stable")
    cuts = np.flatnonzero(np.diff(lengths[order])) + 1
    # Strings of one length are fixed-width keys, which sort without a loop over them.
    for group in np.split(order, cuts) if len(order) else []:
        length = int(lengths[group[0]])
        if length == 0:
            first, inverse = np.zeros(1, np.int64), np.zeros(len(group), np.int64)
        else:
            width = -(-length // 8) * 8 if length <= 8 else length
            rows = np.zeros((len(group), width), np.uint8)
            rows[:, :length] = joined[starts[group, None] + np.arange(length)]
            keys = rows.view(np.uint64 if width == 8 else f"V{width}").reshape(-1)
            _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        labels[group] = len(spellings) + inverse
        spellings += [text[starts[i] : starts[i] + length] for i in group[first]]
    return labels, tuple(spellings)


def token_scores(tokens: TokenMap, seed: int = 0) -> dict[str, Any]:
    """Return how much ids and the texts that they cover say about each other, as one flat record.

    `same_text_probability` is the probability that two occurrences of an id cover the same text,
    and `same_id_probability` that two occurrences of a text have the same id; both are means over
    all tokens. `text_given_shuffled_id_bits` estimates H(text | id) with shuffled ids, which say
    nothing about the text. It is below H(text) only by the bias of the estimate, so only the
    difference between it and H(text | id) is information.

    Args:
        tokens: of at least one text that is not empty.
        seed: of the shuffle.
    """
    table = tokens.table
    used, n_of_id = row_sums(table)
    by_text = transposed(table)
    shuffled = np.random.default_rng(seed).permutation(tokens.labels)
    return {
        "n_tokens": len(tokens.ids),
        "n_used_ids": len(used),
        "repeated_ids_share": float((n_of_id > 1).mean()),
        "one_text_ids_share": single_column_share(table),
        "texts_per_id": len(table.counts) / len(used),
        "same_text_probability": agreement(table),
        "same_id_probability": agreement(by_text),
        "text_bits": entropy_bits(row_sums(by_text)[1]),
        "text_given_id_bits": conditional_entropy_bits(table),
        "text_given_shuffled_id_bits": conditional_entropy_bits(contingency(tokens.ids, shuffled)),
        "id_given_text_bits": conditional_entropy_bits(by_text),
    }


def window_records(tokens: TokenMap, window_tokens: int) -> list[dict[str, Any]]:
    """Return a record for each place in windows: how much the text of its ids varies.

    The list is empty if windows are one id.
    """
    records = []
    for position in range(window_tokens) if window_tokens > 1 else ():
        part = tokens.at(position)
        table = part.table
        n_bytes = sum(len(part.spellings[label]) for label in part.labels)
        n_used = len(row_sums(table)[0])
        records.append(
            {
                "position": position,
                "bytes_per_token": n_bytes / max(len(part.ids), 1),
                "n_used_ids": n_used,
                "texts_per_id": len(table.counts) / max(n_used, 1),
                "same_text_probability": agreement(table),
                "text_given_id_bits": conditional_entropy_bits(table),
            }
        )
    return records


def most_used_ids(tokens: TokenMap, n_ids: int, n_texts: int, n_places: int) -> Records:
    """Return the most used ids, and as strings the texts that they cover at each place of a window.

    Args:
        tokens: of a text.
        n_ids: how many ids.
        n_texts: how many texts of an id at each place.
        n_places: how many places of a window, 1 if a window is one id.
    """
    ids, counts = row_sums(tokens.table)
    places = [tokens.at(position) for position in range(n_places)]
    rows = []
    for i in (-counts).argsort(kind="stable")[:n_ids]:
        row = {"id": str(ids[i]), "n_tokens": int(counts[i])}
        for position, part in enumerate(places):
            found = part.texts_of(ids[i])
            texts = ", ".join(f"{quoted(text)} x{count}" for text, count in found[:n_texts])
            rest = len(found) - n_texts
            title = "covers" if n_places == 1 else f"at place {position} of the window"
            row[title] = texts + (f", {rest} more" if rest > 0 else "")
        rows.append(row)
    return rows


def map_records(tokens: TokenMap) -> list[dict[str, Any]]:
    """Return one record for each id, place in windows and text, with its count.

    They are sorted by id, then place, then descending count. Texts are made `printable`.
    """
    n_positions = int(tokens.positions.max(initial=0)) + 1
    table = contingency(tokens.ids * n_positions + tokens.positions, tokens.labels)
    order = np.lexsort((table.columns, -table.counts, table.rows))
    return [
        {
            "id": int(table.rows[i] // n_positions),
            "position": int(table.rows[i] % n_positions),
            "text": printable(tokens.spellings[table.columns[i]]),
            "count": int(table.counts[i]),
        }
        for i in order
    ]


def ambiguity_figure(records: Records) -> Figure:
    """Draw H(text | id) beside H(text), a row for each code.

    Args:
        records: with "method", "text_bits", "text_given_id_bits", "text_given_shuffled_id_bits".
    """
    height = 1.45 + 0.32 * len(records)
    figure = Figure(figsize=(9.2, height))
    titles(
        figure,
        0.02,
        "How much of a token's text is open once its id is known",
        "Bar: bits of text given the id. Hollow dot: the same where ids are shuffled and say "
        "nothing. Line: bits of the text",
    )
    axes = figure.add_axes((0.26, 0.55 / height, 0.71, 1 - 1.4 / height))
    for row, record in enumerate(records):
        colour = PALETTE[row % len(PALETTE)]
        axes.barh(row, record["text_given_id_bits"], 0.5, color=colour)
        axes.plot([record["text_bits"]] * 2, [row - 0.32, row + 0.32], color=INK, linewidth=1.2)
        dot = dict(markersize=5, color=colour, markerfacecolor="white")
        axes.plot(record["text_given_shuffled_id_bits"], row, "o", **dot)
    name_rows(axes, [record["method"] for record in records])
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("bits per token")
    return figure
