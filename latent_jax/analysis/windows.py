"""How well a language model predicts each token of an equal-information window.

Lester et al. 2024, section 6.2: within a window the tokens after the first are harder to predict,
because their meaning depends on the tokens before them.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.ticker import MaxNLocator

from latent_jax.analysis.codes import Tables, TrainedRun, score_ids
from latent_jax.analysis.options import RunOptions
from latent_jax.models.gpt import GPT, GPTConfig
from latent_jax.reports import panels, style
from latent_jax.reports.tables import text_table
from latent_jax.tokenizers import EqualInfoAC

COLUMNS = ("name", "position", "n_tokens", "uniform_bits_per_token", "bits_per_token", "accuracy")


@dataclasses.dataclass(frozen=True)
class WindowsOptions(RunOptions):
    """Options of the analysis `windows`; it adds none."""


def measure(run: TrainedRun, texts: Sequence[bytes]) -> Tables:
    """Return a record of "windows" for each position in a window.

    Args:
        run: of a language model over windows of several tokens.
        texts: held-out texts.

    Raises:
        ValueError: its tokenizer has no windows, or they have one token.
    """
    tokenizer = run.tokenizer
    if not isinstance(tokenizer, EqualInfoAC) or tokenizer.window_bits == tokenizer.token_bits:
        raise ValueError(
            f"{run.config.method} has no windows of several tokens: name a run of such a method, "
            "such as EqualInfoAC[b=16,v=256]"
        )
    scored = predictions(
        run.task.model_config,
        run.variables,
        [ids for ids, _ in tokenizer.encode_batch(texts)],
        tokenizer.separator_id,
        run.config.row_length,
    )
    # Of the ids of texts: the separator is none, see `tokenizers.trivial`.
    uniform = {"uniform_bits_per_token": float(np.log2(tokenizer.vocab_size - 1))}
    records = by_position(scored, tokenizer.window_bits // tokenizer.token_bits)
    return {"windows": [uniform | record for record in records]}


def predictions(
    config: GPTConfig,
    variables: Mapping[str, Any],
    texts: Sequence[np.ndarray],
    separator_id: int,
    row_length: int,
    batch_size: int = 8,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each text, -log p of its ids in nats, float32[n], and which were likeliest.

    Texts are cut into rows of `row_length` ids, and every row begins with an empty context after a
    separator, as in training.

    Args:
        config: of the GPT.
        variables: its Flax collections.
        texts: ids, int32[n].
        separator_id: id before each row.
        row_length: ids in a row.
        batch_size: rows at a time.
    """
    pieces = [ids[at : at + row_length] for ids in texts for at in range(0, len(ids), row_length)]
    nats, hits = [], []
    for first in range(0, len(pieces), batch_size):
        part = pieces[first : first + batch_size]
        ids_BT = np.zeros((batch_size, row_length), np.int32)
        for row, piece in zip(ids_BT, part, strict=False):
            row[: len(piece)] = piece
        found = jax.tree.map(np.asarray, _score(config, variables, ids_BT, separator_id))
        for row, piece in enumerate(part):
            nats.append(found[0][row, : len(piece)])
            hits.append(found[1][row, : len(piece)])
    stops = np.cumsum([len(ids) for ids in texts])[:-1]
    nats_N = np.concatenate(nats) if nats else np.zeros(0, np.float32)
    hits_N = np.concatenate(hits) if hits else np.zeros(0, bool)
    return list(zip(np.split(nats_N, stops), np.split(hits_N, stops), strict=True))


@jax.jit(static_argnames=("config", "separator_id"))
def _score(config: GPTConfig, variables, ids_BT, separator_id):
    inputs_BT = jnp.pad(ids_BT[:, :-1], ((0, 0), (1, 0)), constant_values=separator_id)
    logits_BTV = GPT(config).apply(variables, inputs_BT)
    return score_ids(logits_BTV, ids_BT)


def by_position(
    scored: Sequence[tuple[np.ndarray, np.ndarray]], n_positions: int
) -> list[dict[str, float]]:
    """Return one record for each position in a window.

    Args:
        scored: from `predictions`; every text begins with a window.
        n_positions: tokens in a window.
    """
    nats_N = np.concatenate([nats for nats, _ in scored])
    hits_N = np.concatenate([hits for _, hits in scored])
    position_N = np.concatenate([np.arange(len(nats)) % n_positions for nats, _ in scored])
    counts = np.bincount(position_N, minlength=n_positions)
    sums = np.bincount(position_N, weights=nats_N, minlength=n_positions)
    right = np.bincount(position_N, weights=hits_N, minlength=n_positions)
    return [
        {
            "position": position + 1,
            "n_tokens": int(counts[position]),
            "bits_per_token": float(sums[position] / counts[position] / np.log(2)),
            "accuracy": float(right[position] / counts[position]),
        }
        for position in range(n_positions)
        if counts[position]
    ]


def show(tables: Tables) -> str:
    """Return the table of all runs."""
    return text_table(tables["windows"], COLUMNS)


def draw(tables: Tables, folder: Path) -> list[Path]:
    """Draw bits per token, as a share of the uniform model's, and accuracy, by place in window."""
    records = [
        {**r, "share": 100 * r["bits_per_token"] / r["uniform_bits_per_token"]}
        for r in tables["windows"]
    ]
    with style.house_style():
        figure, all_axes = panels.line_panels(
            "Inside the window",
            "by the place of a token in its window",
            ("bits, % of the uniform model's", "likeliest token right, %"),
            height=4.2,
        )
        for axes, key, scale in zip(all_axes, ("share", "accuracy"), (1, 100), strict=True):
            lines = panels.lines_of(records, "name", "position", key, scale)
            ends = panels.plot_lines(axes, lines, markersize=3.5)
            axes.set_xlabel("place in the window")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.label_ends(all_axes[-1], ends)
        return [style.save(figure, folder / "windows.png")]
