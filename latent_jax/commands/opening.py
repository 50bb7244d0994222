"""Opens the codes and texts that the options of an analysis name."""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from latent_jax.analysis.codes import Code, LatentCode, TokenizerCode
from latent_jax.analysis.options import CodeOptions, RunOptions
from latent_jax.codec.measure import cut_texts
from latent_jax.commands.prompts import text_of
from latent_jax.data import Corpus, DataConfig, open_corpus
from latent_jax.experiments.evaluate import load_run
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.system_errors import AwayError
from latent_jax.tasks.latent_language import LatentLanguage

logger = logging.getLogger(__name__)

COMPARED = 64
"""Documents by which a text is recognized."""


def open_codes(options: CodeOptions, corpus: Corpus) -> list[Code]:
    """Return the codes of literature names, then those of trained runs.

    The code of a run is its tokenizer, or its latents if it learned some. If its name is taken, the
    run folder is added to it.

    Args:
        options: names the codes.
        corpus: text that learned tokenizers are trained on.

    Raises:
        ValueError: a name is that of a latent method, or a folder holds no run or a run without
            codes.
    """
    codes: list[Code] = []
    for method in map(parse, options.tokenizer):
        if not family(method.family).reads_ids:
            raise ValueError(f"{method} is learned in a run: name its run folder with --workdir")
        tokenizer = make_tokenizer(method, corpus, train_bytes=options.train_bytes, m1=options.m1)
        codes.append(TokenizerCode(tokenizer))
    for workdir in options.workdir:
        code = code_of_run(workdir)
        if code.name in {other.name for other in codes}:
            code.name = f"{code.name}, {workdir}"
        codes.append(code)
    if not codes:
        raise ValueError("say what to analyze: --tokenizer NAME, --workdir RUN, or several of each")
    return codes


def code_of_run(workdir: str | Path) -> Code:
    """Return the code of a run: its tokenizer, or its latents if it learned some.

    Raises:
        ValueError: the folder holds no run, or its latents are continuous.
    """
    run = load_run(workdir)
    if not isinstance(run.task, LatentLanguage):
        return TokenizerCode(run.tokenizer)
    if run.task.model_config.language_model is None:
        raise ValueError(f"{workdir}: its latents are continuous, so there is no code to analyze")
    return LatentCode(
        str(parse(run.config.method)),
        run.task.model_config,
        run.variables,
        run.tokenizer,
        run.config.row_length,
    )


def open_texts(options: RunOptions) -> dict[str, Corpus]:
    """Return the one text of `options.data`, or each of `options.text`, by its name.

    The corpora of runs are not used. Each text has a validation split of 10 percent; the rest is
    its training split. A hash of a document's key decides its split, so every analysis of a text
    sees the same splits. A run on the same files with the default splits was not trained on this
    validation split: it is that run's validation and test splits together.

    Raises:
        ValueError: no text is given, or both options are; or one is written wrongly or cannot be
            read.
    """
    files, named = options.data, getattr(options, "text", ())
    if not named:
        name = Path(files[0]).name.partition(".")[0] if files else ""
        return {name: _open(files, options.text_field)}
    if files:
        raise ValueError(
            "--data is one text and --text NAME=FILES one of several: give one of them"
        )
    return {name: _open(paths, options.text_field) for name, paths in named_files(named).items()}


def named_files(named: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the files of each --text NAME=FILES, by its name.

    Raises:
        ValueError: one is written otherwise, or two have one name.
    """
    pairs = [word.partition("=") for word in named]
    for name, _, paths in pairs:
        if not (name and paths):
            raise ValueError(f"--text is written NAME=FILES; got {name + paths!r}")
    names = [name for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"two --text have the same name: {', '.join(names)}")
    return {name: tuple(paths.split(",")) for name, _, paths in pairs}


def _open(files: Sequence[str], text_field: str) -> Corpus:
    if not files:
        raise ValueError("say which text to analyze: --data FILES")
    words = dict(source="files", files=tuple(files), text_field=text_field)
    return open_corpus(DataConfig(**words, validation_percent=10.0, test_percent=0.0))


def read_texts(corpus: Corpus, split: str, max_bytes: int = 0, cut_bytes: int = 0) -> list[bytes]:
    """Return the documents of a split, cut into pieces.

    Coders that run M1 for every byte code many texts side by side, and are slow on one long text.

    Args:
        corpus: from `open_texts`.
        split: "train" or "validation"; no tokenizer learns from "validation".
        max_bytes: documents are read up to the one that reaches so many raw bytes; 0 = all.
        cut_bytes: length of a piece in bytes, at most; 0 = whole documents.
    """
    return cut_texts([each.text for each in corpus.documents(split, max_bytes)], cut_bytes)


def what_it_is(corpus: Corpus, workdir: str | Path) -> str:
    """Return what the training split of a text is to a run: text that it was trained on, or other.

    The first documents are looked for in the run's own training split.

    Args:
        corpus: from `open_texts`.
        workdir: the run folder.

    Returns:
        "training"; "other text" if the run has not read most of them; or "text of --data" where the
        text of the run is not to be found any more, so that nobody can tell.
    """
    asked = {each.text for each in itertools.islice(corpus.documents("train"), COMPARED)}
    try:
        own = text_of(workdir)
    except (OSError, ValueError) as error:
        if isinstance(error, AwayError):
            raise
        logger.info("whether %s was trained on this text is unknown: %s", workdir, error)
        return "text of --data"
    found: set[bytes] = set()
    for document in own.documents("train"):
        if document.text in asked:
            found.add(document.text)
            if 2 * len(found) > len(asked):
                return "training"
    return "other text"


def run_words(config: ConfigDict) -> dict[str, Any]:
    """Return config values that tell a run from others of its method, for its records.

    They are its seed, and for latents beta and the gradient of the language model.
    """
    words = {"seed": config.seed}
    method = parse(config.method)
    if family(method.family).bytes_per_latent(method):
        words |= {"beta": config.latent.beta, "lm_gradient": config.latent.lm_gradient}
    return words
