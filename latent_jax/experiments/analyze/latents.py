"""`launch/analyze.py latents`: where bytes are lost, and what codes of other sources decode to."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from latent_jax.analysis.latents import distortion_sums, position_sums
from latent_jax.experiments.analyze.opening import open_text, read_texts, run_words
from latent_jax.experiments.evaluate import Run, load_run
from latent_jax.reports.inside_figures import write_latent_figure
from latent_jax.reports.tables import text_table, write_json
from latent_jax.tasks.latent_language import LatentLanguage

BATCH_SIZE = 16

COLUMNS = (
    "name",
    "beta",
    "lm_gradient",
    "seed",
    "part",
    "position",
    "n_bytes",
    "reconstruction_bits_per_byte",
    "reconstruction_accuracy",
    "codes_returned_share",
)


def latents(run: Run, texts: Sequence[bytes], seed: int = 0) -> list[dict[str, Any]]:
    """Return records of three kinds, told apart by "part".

    "group": by position in the group of C bytes; "row": in each sixteenth of the row; "codes of the
    encoder" and of the other sources of `analysis.latents.distortion_sums`.

    Args:
        run: with discrete latents.
        texts: that it has not read.
        seed: of the codes that are drawn.

    Raises:
        ValueError: the run has no codes, or the text fills no row.
    """
    task = run.task
    if not isinstance(task, LatentLanguage) or task.model_config.language_model is None:
        raise ValueError(f"{run.config.method} has no learned codes: name a run of Latent[...]")
    config, length = task.model_config, run.config.row_length
    positions: dict[str, np.ndarray] = {}
    sources: dict[str, dict[str, float]] = {}
    key = jax.random.key(seed)
    for number, ids_BT in enumerate(_rows(run, texts, length)):
        mask_BT = np.ones(ids_BT.shape, bool)
        _add(positions, position_sums(config, run.variables, ids_BT, mask_BT))
        batch_key = jax.random.fold_in(key, number)
        found = distortion_sums(config, run.variables, ids_BT, mask_BT, batch_key)
        for source, sums in found.items():
            _add(sources.setdefault(source, {}), sums)
    if not positions:
        raise ValueError(f"the text fills no row of {length} bytes: name more with --data")
    factor = config.autoencoder.compressor.factor
    named = {"name": run.config.name or run.config.method, "method": run.config.method}
    named |= run_words(run.config)
    groups = {"group": np.arange(length) % factor, "row": np.arange(length) * 16 // length}
    records = [
        {**named, "part": part, "position": int(place) + 1, **_scores(positions, at == place)}
        for part, at in groups.items()
        for place in np.unique(at)
    ]
    for source, sums in sources.items():
        records.append(
            {
                **named,
                "part": f"codes: {source}",
                "n_bytes": int(sums["bytes"]),
                "reconstruction_bits_per_byte": sums["nats"] / np.log(2) / sums["bytes"],
                "codes_returned_share": sums["returned"] / sums["codes"],
            }
        )
    return records


def latents_and_print(
    workdirs: Sequence[str | Path],
    files: Sequence[str],
    *,
    text_field: str = "text",
    max_bytes: int = 0,
    cut_bytes: int = 0,
    seed: int = 0,
    json_path: str | None = None,
    out: str = "",
) -> None:
    """Print `latents` of each run, and draw them into the folder `out` where one is named.

    Raises:
        ValueError: see `latents`; there is no run or no text.
    """
    if not workdirs:
        raise ValueError("say which latents to look into: --workdir RUN")
    texts = read_texts(open_text(files, text_field), "validation", max_bytes, cut_bytes)
    records = [r for workdir in workdirs for r in latents(load_run(workdir), texts, seed)]
    print(text_table(records, COLUMNS))
    if json_path:
        write_json(records, json_path)
    if out:
        print(write_latent_figure(records, Path(out) / "latents.png"))


def _rows(run: Run, texts: Sequence[bytes], length: int) -> Iterator[np.ndarray]:
    """Yield batches of whole rows, int32[B, T], of the texts one after the other."""
    separator = [np.array([run.tokenizer.separator_id], np.int32)]
    ids = np.concatenate([part for t in texts for part in [run.tokenizer.encode(t), *separator]])
    rows = ids[: len(ids) // length * length].reshape(-1, length)
    n_rows = len(rows) // BATCH_SIZE * BATCH_SIZE or len(rows)
    step = min(BATCH_SIZE, n_rows) or 1
    for first in tqdm(range(0, n_rows, step), "rows", unit="batch", leave=False):
        yield rows[first : first + step]


def _add(sums: dict, new: dict) -> None:
    for name, value in new.items():
        sums[name] = sums.get(name, 0.0) + value


def _scores(sums: dict[str, np.ndarray], at: np.ndarray) -> dict[str, float]:
    count = sums["count"][at].sum()
    return {
        "n_bytes": int(count),
        "reconstruction_bits_per_byte": float(sums["nats"][at].sum() / np.log(2) / count),
        "reconstruction_accuracy": float(sums["hits"][at].sum() / count),
    }
