"""The tokenizers on a study's page: a sentence cut by each, and codes that run in a browser."""

import base64
import shlex
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latent_jax import tokenizers
from latent_jax.analysis import entropy
from latent_jax.analysis.boundaries.figures import boundaries_page_figures
from latent_jax.analysis.stability import figures as stability
from latent_jax.analysis.thoughts.figure import thoughts_page_figures
from latent_jax.analysis.tokens.decoding import decoding_page_figures
from latent_jax.analysis.tokens.vocabulary import vocabulary_page_figures
from latent_jax.analysis.tokens.window_texts import window_page_figures
from latent_jax.bars import counted
from latent_jax.config_file import read_config
from latent_jax.json_files import Kind
from latent_jax.methods.artefacts import COMPILED_FOLDER, FOLDER
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family, looks
from latent_jax.reports.command import report
from latent_jax.reports.page import BrowserCode, Cut, Segmentation, study_page, write_page
from latent_jax.reports.records import find_runs
from latent_jax.reports.style import show_families
from latent_jax.spelling import whole
from latent_jax.system_errors import check_writable
from latent_jax.tokenizers import BPE, CompiledCode, Tokenizer
from latent_jax.tokenizers.saved_form import read_metadata

SENTENCE = (
    "The naïve café on Rue Cuvier sold 1,024 pastries — roughly £3,500 worth — before the "
    "tokenizer had read its first sentence."
)
"""English with some difficulties: accents, numbers, dashes, characters of more than one byte."""

INDEX = "index.html"

DRAWERS = (
    entropy.ngram_page_figures,
    entropy.summary_page_figures,
    stability.histogram_page_figures,
    vocabulary_page_figures,
    window_page_figures,
    stability.stability_page_figures,
    decoding_page_figures,
    thoughts_page_figures,
    boundaries_page_figures,
)
"""Functions that draw the records of analyses; the first that knows their shape draws them."""


def report_runs(folders: Sequence[str], **words: Any) -> None:
    """Call `reports.command.report`, with the colour and rank of every family."""
    show_families(looks())
    report(folders, **words)


def report_with_page(
    folders: Sequence[str],
    out: str,
    *,
    results: str | None = None,
    readme: str | None = None,
    per_character: str | None = None,
    **words: Any,
) -> None:
    """Call `report_runs`, then `write_report_page`, which gets `words` as further arguments.

    Raises:
        ValueError: see both.
    """
    check_writable(out, is_folder=True)
    _check_page(folders, out, words.get("sentence", SENTENCE), words.get("extra", ()))
    words_of_runs = dict(results=results, readme=readme, per_character=per_character)
    report_runs(folders, **words_of_runs, pictures=out)
    made_by = shlex.join(["python", "launch/report.py", *sys.argv[1:]])
    write_report_page(folders, out, made_by=made_by, **words)


def write_report_page(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    analyses: Sequence[str | Path] = (),
    extra: Sequence[str | Path] = (),
    sentence: str = SENTENCE,
    made_by: str = "launch/report.py",
) -> Path:
    """Write `out`/index.html and return its path.

    Args:
        folders: one folder of a sweep, or several that hold runs.
        out: folder for the page.
        analyses: files that `launch/analyze.py --json` wrote.
        extra: folders of saved tokenizers that no run of the study uses.
        sentence: text that every tokenizer cuts.
        made_by: the command that makes the page again.

    Raises:
        ValueError: a folder holds no run or no tokenizer, a file is no list of records, or there is
            no sentence.
    """
    _check_page(folders, out, sentence, extra)
    page = study_page(
        folders,
        segmentation=segment(folders, sentence, extra),
        analyses=analyses,
        drawers=DRAWERS,
        made_by=made_by,
    )
    path = write_page(page, Path(out) / INDEX)
    print(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    return path


def _check_page(
    folders: Sequence[str | Path], out: str | Path, sentence: str, extra: Sequence[str | Path]
) -> None:
    """Refuse what no page can be made of, before anything is drawn."""
    if not folders:
        raise ValueError(f"--out={out} is for the page of a study: name a folder with runs")
    if not sentence:
        raise ValueError("--sentence is empty: there is nothing for the tokenizers to cut")
    for folder in extra:
        read_metadata(Path(folder))


def segment(
    folders: Sequence[str | Path], sentence: str, extra: Sequence[str | Path] = ()
) -> Segmentation:
    """Return a sentence cut by each tokenizer of a study, and the codes for the browser.

    The browser gets a compiled code (the shipped one if the study has none) and the study's BPE
    with the largest vocabulary.

    Args:
        folders: see `write_report_page`.
        sentence: see `write_report_page`.
        extra: see `write_report_page`.
    """
    found = _study_tokenizers(folders)
    for folder in extra:
        tokenizer = tokenizers.load(Path(folder))
        found.setdefault(tokenizer.fingerprint(), tokenizer)
    if not any(isinstance(tokenizer, CompiledCode) for tokenizer in found.values()):
        shipped = tokenizers.load(FOLDER / COMPILED_FOLDER)
        found[shipped.fingerprint()] = shipped
    text = sentence.encode("utf-8", "surrogateescape")
    sentence = whole(text.decode("utf-8", "replace"))
    cuts = []
    for tokenizer in counted(found.values(), "cutting", len(found), "tokenizers"):
        ((ids, lengths),) = tokenizer.encode_batch([text])
        cuts.append(Cut(tokenizer.name, lengths.tolist(), ids.tolist()))
    cuts += [_cut_by_latents(factor, len(text)) for factor in _latent_factors(folders)]
    cuts = _with_own_names(cuts)
    cuts.sort(key=lambda cut: -len(cut.lengths))
    live = [max(found.values(), key=lambda t: (isinstance(t, CompiledCode), t.vocab_size))]
    subwords = [tokenizer for tokenizer in found.values() if isinstance(tokenizer, BPE)]
    if subwords:
        live.append(max(subwords, key=lambda tokenizer: tokenizer.vocab_size))
    return Segmentation(sentence, cuts, [browser_code(tokenizer) for tokenizer in live])


def browser_code(tokenizer: CompiledCode | BPE) -> BrowserCode:
    """Return a tokenizer as codes.js reads it."""
    if isinstance(tokenizer, CompiledCode):
        kind, content = "tree", tokenizer.tree_bytes()
    else:
        ids_of_bytes, merges_N3 = tokenizer.tables()
        content = np.concatenate([ids_of_bytes, merges_N3.T.reshape(-1)]).astype("<u4").tobytes()
        kind = "merges"
    packed = base64.b64encode(zlib.compress(content, 9)).decode()
    return BrowserCode(tokenizer.name, kind, packed)


def _study_tokenizers(folders: Sequence[str | Path]) -> dict[str, Tokenizer]:
    """Return the tokenizers of all runs that kept theirs, by fingerprint."""
    found: dict[str, Tokenizer] = {}
    for path in _runs(folders):
        saved = path / "tokenizer" / "tokenizer.json"
        # The file names the fingerprint, so a tokenizer that many runs use is loaded once.
        if saved.exists() and read_metadata(saved.parent)["fingerprint"] not in found:
            tokenizer = tokenizers.load(saved.parent)
            found[tokenizer.fingerprint()] = tokenizer
    return found


def _latent_factors(folders: Sequence[str | Path]) -> list[int]:
    """Return the bytes per latent of all runs with latents, ascending, each number once."""
    kind = Kind(keys={"method": str})
    methods = {read_config(path, kind)["method"] for path in _runs(folders)}
    parsed = map(parse, methods)
    factors = {family(method.family).bytes_per_latent(method) for method in parsed}
    return sorted(factors - {0})


def _cut_by_latents(factor: int, n_bytes: int) -> Cut:
    """Return a text cut by latents, each of which stands for `factor` bytes."""
    whole, rest = divmod(n_bytes, factor)
    return Cut(f"Latent, c={factor}", [factor] * whole + [rest] * (rest > 0))


def _runs(folders: Sequence[str | Path]) -> list[Path]:
    paths = []
    for folder in folders:
        if any(Path(folder).rglob("metrics.jsonl")):
            paths += find_runs(folder)
    return paths


def _with_own_names(cuts: Sequence[Cut]) -> list[Cut]:
    """Number cuts of the same name, such as two BPEs of one size trained on different texts."""
    names: dict[str, int] = {}
    own = []
    for cut in cuts:
        names[cut.name] = names.get(cut.name, 0) + 1
        name = cut.name if names[cut.name] == 1 else f"{cut.name} ({names[cut.name]})"
        own.append(Cut(name, cut.lengths, cut.ids))
    return own
