"""Reconstructions of the same held-out texts by several runs, read from their `samples/`."""

import re
from collections.abc import Mapping

from latent_jax.reports.cut_samples import CHUNKS
from latent_jax.reports.page.parts import Sample, Section
from latent_jax.reports.records import Run

N_TEXTS = 3
ORIGINAL = "text"
_LINE = re.compile(r"^ *(?P<name>[\w ]+?): (?P<text>.*)$")


def sample_section(runs: Mapping[str, Run]) -> list[Section]:
    """Return a section with the samples of each run's last evaluation, grouped by text.

    Runs with different row lengths have different texts. Texts that most runs share come first.
    Without samples the result is [].
    """
    made: dict[str, list[tuple[str, str]]] = {}
    for name, run in runs.items():
        for block in last_blocks(run):
            text = block.pop(ORIGINAL, None)
            if text is None or CHUNKS in block:
                continue
            for what, line in block.items():
                shown = name if what == "reconstruction" else f"{name}, {what.replace('_', ' ')}"
                made.setdefault(text, []).append((shown, line))
    texts = sorted(made, key=lambda text: -len(made[text]))[:N_TEXTS]
    if not texts:
        return []
    parts = [Sample(text, made[text]) for text in texts]
    text = "The beginning of held-out texts, and their reconstructions. Differences are marked."
    return [Section("samples", "Samples", "What the codes bring back", text, parts)]


def last_blocks(run: Run) -> list[dict[str, str]]:
    """Return the blocks of the last `samples/step_<n>.txt`, each as name -> line; may be []."""
    paths = sorted((run.folder / "samples").glob("step_*.txt"))
    if not paths:
        return []
    blocks = paths[-1].read_text(encoding="utf-8", errors="replace").split("\n\n")
    found = []
    for block in blocks:
        matches = filter(None, map(_LINE.match, block.split("\n")))
        found.append({match["name"]: match["text"] for match in matches})
    return found
