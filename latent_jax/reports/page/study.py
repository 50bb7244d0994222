"""The page of a study: of the folder of a sweep, or of folders of runs."""

from collections.abc import Sequence
from pathlib import Path

from latent_jax.reports.page.analyses import Draw, analysis_sections
from latent_jax.reports.page.cuts import cut_section
from latent_jax.reports.page.parts import Page, Section, Segmentation
from latent_jax.reports.page.run_sections import named, run_sections, run_summary
from latent_jax.reports.page.samples import sample_section
from latent_jax.reports.page.sweep_sections import sweep_sections, sweep_summary
from latent_jax.reports.records import Run, find_runs, read_run
from latent_jax.reports.scores import is_sweep, read_cells
from latent_jax.spelling import whole


def study_page(
    folders: Sequence[str | Path],
    *,
    segmentation: Segmentation,
    analyses: Sequence[str | Path] = (),
    drawers: Sequence[Draw] = (),
    made_by: str = "launch/report.py",
) -> Page:
    """Return the page of a study.

    Args:
        folders: the folder of a sweep, or folders that hold runs.
        segmentation: a sentence cut by the tokenizers of the study.
        analyses: files that `launch/analyze.py --json` wrote.
        drawers: functions that draw them, see `analysis_sections`.
        made_by: the command that makes the page.

    Raises:
        ValueError: a folder holds no run, or a file is not a list of records.
    """
    first = Path(folders[0])
    if is_sweep(first):
        cells = read_cells(first)
        runs = _evaluated(first)
        summary, facts = sweep_summary(cells)
        kind, sections = "sweep", sweep_sections(cells, runs)
    else:
        runs = [read_run(path) for folder in folders for path in find_runs(folder)]
        summary, facts = run_summary(runs)
        kind, sections = "study", run_sections(runs)
    sections += analysis_sections(analyses, drawers)
    sections += cut_section(named(runs)) + sample_section(named(runs))
    sections.append(_segmentation_section(segmentation))
    title = f"{kind.capitalize()} {first.resolve().name}".replace("_", " ")
    return Page(f"report of a {kind}", title, summary, facts, sections, made_by)


def _evaluated(folder: Path) -> list[Run]:
    """Return the runs of the cells whose run folders exist and hold a validation record.

    Other cells have no curve; for example, only the records of a sweep may have been copied.
    """
    runs = []
    for path in sorted(folder.glob("cells/*/metrics.jsonl")):
        run = read_run(path.parent)
        if run.split("validation"):
            runs.append(run)
    return runs


def _segmentation_section(part: Segmentation) -> Section:
    n_bytes = len(whole(part.sentence).encode())
    ratios = {cut.name: n_bytes / len(cut.lengths) for cut in part.cuts if cut.lengths}
    title = "One sentence, cut by every tokenizer"
    if len(ratios) > 1:
        most, least = max(ratios, key=ratios.get), min(ratios, key=ratios.get)
        title = (
            f"From {ratios[least]:.2f} to {ratios[most]:.2f} bytes per token: one sentence, cut by "
            "every tokenizer"
        )
    text = (
        f"{n_bytes} bytes of UTF-8. If the information of a byte is spread over several tokens, "
        "the byte is shown in the last of these. A thin mark is a token without a byte of its own."
    )
    return Section("segmentation", "Segmentation", title, text, [part])
