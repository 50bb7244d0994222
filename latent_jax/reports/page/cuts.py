"""Held-out text as runs cut it at their last evaluation, read from their `samples/`."""

from collections.abc import Mapping

from latent_jax.reports.cut_samples import block_pieces
from latent_jax.reports.page.parts import CutText, Section
from latent_jax.reports.page.samples import N_TEXTS, last_blocks
from latent_jax.reports.records import Run


def cut_section(runs: Mapping[str, Run]) -> list[Section]:
    """Return a section with what each run that cuts text has cut last; [] without such a run."""
    texts = []
    for name, run in runs.items():
        blocks = [block_pieces(block) for block in last_blocks(run)]
        texts += [(name, pieces) for pieces in blocks if pieces][:N_TEXTS]
    if not texts:
        return []
    underlines = any(piece.outer for _, pieces in texts for piece in pieces)
    caption = "Tints change where a chunk ends"
    caption += ", underlines where one of the second stage does." if underlines else "."
    part = CutText("cuts", "At the last evaluation", caption, texts)
    text = "Held-out text and the chunks that the model makes of it. ¶ is the end of a document."
    return [Section("chunks", "Chunks", "Where the models cut", text, [part])]
