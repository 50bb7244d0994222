"""`launch/analyze.py windows`: how well each token of a window is predicted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax.analysis.windows import by_position, predictions
from latent_jax.experiments.analyze.opening import open_text, read_texts
from latent_jax.experiments.evaluate import Run, load_run
from latent_jax.reports.inside_figures import write_window_figure
from latent_jax.reports.tables import text_table, write_json
from latent_jax.tokenizers.equal_info import EqualInfoAC

COLUMNS = ("name", "position", "n_tokens", "uniform_bits_per_token", "bits_per_token", "accuracy")


def windows(run: Run, texts: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return a record for each position in a window.

    Args:
        run: of a language model over windows of several tokens.
        texts: that it has not read.

    Raises:
        ValueError: its tokenizer has no windows, or they have one token.
    """
    tokenizer = run.tokenizer
    if not isinstance(tokenizer, EqualInfoAC) or tokenizer.window_bits == tokenizer.token_bits:
        raise ValueError(
            f"{run.config.method} has no windows of several tokens: name a run of such a method, "
            "as EqualInfoAC[b=16,v=256]"
        )
    encoded = [ids for ids, _ in tokenizer.encode_batch(texts)]
    scored = predictions(
        run.task.model_config,
        run.variables,
        encoded,
        tokenizer.separator_id,
        run.config.row_length,
    )
    n_positions = tokenizer.window_bits // tokenizer.token_bits
    named = {
        "name": run.config.name or run.config.method,
        "method": run.config.method,
        "uniform_bits_per_token": float(np.log2(tokenizer.vocab_size)),
    }
    return [{**named, **record} for record in by_position(scored, n_positions)]


def windows_and_print(
    workdirs: Sequence[str | Path],
    files: Sequence[str],
    *,
    text_field: str = "text",
    max_bytes: int = 0,
    cut_bytes: int = 0,
    json_path: str | None = None,
    out: str = "",
) -> None:
    """Print `windows` of each run, and draw them into the folder `out` where one is named.

    Raises:
        ValueError: see `windows`; there is no run or no text.
    """
    if not workdirs:
        raise ValueError("say which language models to look into: --workdir RUN")
    texts = read_texts(open_text(files, text_field), "validation", max_bytes, cut_bytes)
    records = [record for workdir in workdirs for record in windows(load_run(workdir), texts)]
    print(text_table(records, COLUMNS))
    if json_path:
        write_json(records, json_path)
    if out:
        print(write_window_figure(records, Path(out) / "windows.png"))
