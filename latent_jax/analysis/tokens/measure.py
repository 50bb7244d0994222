"""The meaning of tokens: which text each id stands for, measured for any code on the same text."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from latent_jax.analysis.codes import Code, Tables, encode_texts
from latent_jax.analysis.options import SentenceOptions, option
from latent_jax.analysis.tokens.decoding import decoding_figure, decoding_records, exhibit
from latent_jax.analysis.tokens.token_map import (
    ambiguity_figure,
    map_records,
    map_tokens,
    most_used_ids,
    token_scores,
    window_records,
)
from latent_jax.analysis.tokens.vocabulary import (
    length_records,
    longest_pieces,
    most_used_pieces,
    vocabulary_figure,
)
from latent_jax.analysis.tokens.window_texts import read_ids, window_text_records
from latent_jax.reports.style import house_style, save
from latent_jax.reports.tables import text_table, write_table
from latent_jax.spelling import printable, quoted

COLUMNS = (
    *("method", "n_tokens", "bytes_per_token", "n_used_ids", "repeated_ids_share", "texts_per_id"),
    *("one_text_ids_share", "same_text_probability", "same_id_probability"),
    *("text_bits", "text_given_shuffled_id_bits", "text_given_id_bits", "id_given_text_bits"),
)

SHOWN = ("sentence", "most used ids", "vocabulary", "longest texts", "most used texts")
"""Tables that are shown for each code by itself."""

N_SHOWN = 8
"""Rows of the tables that show ids and their texts."""
TEXTS_SHOWN = 3
POSITIONS_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class TokensOptions(SentenceOptions):
    """Options of the analysis `tokens`."""

    samples: int = option(200, "Runs of ids of each length that are decoded alone.", lower_bound=1)
    ids: tuple[str, ...] = option(
        ("151", "185"), "Ids whose windows are shown, by their place in them.", commas=True
    )


def measure(options: TokensOptions, code: Code, texts: Sequence[bytes]) -> Tables:
    """Return the bytes that ids cover in held-out text, what they decode to alone, the vocabulary.

    Args:
        options: the sentence to decode in runs; how many runs of each length to decode alone; ids
            whose windows are shown; the seed of their places, and of the shuffle that shows the
            bias of entropies. With `out`, the table "map" has all tokens.
        code: any.
        texts: held-out texts.

    Returns:
        "tokens" with one record; "decoding", "windows" and "window_texts"; "vocabulary" if each id
        stands for one text; and the tables of `SHOWN`, which hold texts for people.

    Raises:
        ValueError: `options.ids` are no ids.
    """
    ids = read_ids(options.ids)
    coded = encode_texts(code, texts)
    tokens = map_tokens(texts, coded, code.window_tokens)
    decoding = decoding_records(code, texts, coded, options.samples, options.seed)
    n_bytes = sum(map(len, texts))
    record = {
        "n_bytes": n_bytes,
        "bytes_per_token": n_bytes / len(tokens.ids),
        **token_scores(tokens, options.seed),
        **{key: value for key, value in decoding[0].items() if "@" in key},
        "seed": options.seed,
    }
    n_places = min(code.window_tokens, POSITIONS_SHOWN)
    tables = {
        "tokens": [record],
        "decoding": decoding,
        "windows": window_records(tokens, code.window_tokens),
        "window_texts": window_text_records(code, texts, coded, ids, options.seed),
        "sentence": [
            {
                "ids at a time": "all" if run == 0 else str(run),
                "decoded": "|".join("?" if piece is None else printable(piece) for piece in pieces),
            }
            for run, pieces in exhibit(code, options.sentence.encode()).items()
        ],
        "most used ids": most_used_ids(tokens, N_SHOWN, TEXTS_SHOWN, n_places),
    }
    if code.pieces is not None:
        tables["vocabulary"], uses = length_records(code.pieces, coded)
        for name, ids in (
            ("longest texts", longest_pieces(code.pieces, N_SHOWN)),
            ("most used texts", most_used_pieces(uses, N_SHOWN)),
        ):
            tables[name] = [
                {"id": str(i), "n_tokens": int(uses[i]), name: quoted(code.pieces[i])} for i in ids
            ]
    if options.out:
        tables["map"] = map_records(tokens)
    return {name: [{"method": code.name, **r} for r in rows] for name, rows in tables.items()}


def show(tables: Tables) -> str:
    """Return the tables of each code, then the tables that compare all codes."""
    parts = [_shown(tables, record["method"]) for record in tables["tokens"]]
    if tables["windows"]:
        parts += ["Places in windows", text_table(tables["windows"])]
    if tables["window_texts"]:
        parts.append("Windows that hold an id, by its place in them")
        shown = [row for row in tables["window_texts"] if row["window_position"] <= POSITIONS_SHOWN]
        parts.append(text_table(shown))
    decoding = tables["decoding"]
    errors = [key for key in dict.fromkeys(k for d in decoding for k in d) if "error" in key]
    parts.append("How much of a run of ids is wrong that is decoded alone, by its length")
    parts.append(text_table(decoding, ["method", "begins", *errors]))
    parts.append(f"{tables['tokens'][0]['n_bytes']:,} bytes of held-out text")
    return "\n\n".join([*parts, text_table(tables["tokens"], COLUMNS)])


def _shown(tables: Tables, method: str) -> str:
    parts = [text_table(rows) for name in SHOWN if (rows := _of(tables.get(name, []), method))]
    return f"{method}\n{'=' * len(method)}\n" + "\n\n".join(parts)


def _of(records: Sequence[dict], method: str) -> list[dict]:
    """Return the records of a code, without its name."""
    own = [record for record in records if record["method"] == method]
    return [{key: value for key, value in r.items() if key != "method"} for r in own]


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw the pictures, and write maps and other tables as JSON beside them.

    The picture of vocabularies is drawn only if a code has one.
    """
    paths, slugs = [], []
    for method in dict.fromkeys(record["method"] for record in tables.get("map", ())):
        slugs.append(re.sub(r"\W+", "_", method).strip("_"))
        number = slugs.count(slugs[-1])  # two names can have one slug
        path = folder / f"map-{slugs[-1]}{f'_{number}' if number > 1 else ''}.json"
        paths.append(write_table(_of(tables["map"], method), path))
    for name in ("decoding", "windows", "window_texts", "vocabulary"):
        if tables.get(name):
            paths.append(write_table(tables[name], folder / f"{name}.json"))
    with house_style():
        paths.append(save(ambiguity_figure(tables["tokens"]), folder / "ambiguity.png"))
        paths.append(save(decoding_figure(tables["tokens"]), folder / "decoding.png"))
        if tables.get("vocabulary"):
            figure = vocabulary_figure(tables["vocabulary"])
            paths.append(save(figure, folder / "vocabulary.png"))
    return paths
