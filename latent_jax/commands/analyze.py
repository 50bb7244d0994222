"""The work of `launch/analyze.py`: open codes and texts, measure them, print and keep tables."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from latent_jax.analysis import entropy, latents, problems, robustness, uniformity, windows, zipf
from latent_jax.analysis.boundaries import measure as boundaries
from latent_jax.analysis.choices import measure as choices
from latent_jax.analysis.codes import Code, Tables
from latent_jax.analysis.options import CodeOptions, NoisedTextOptions, ReasonerOptions, RunOptions
from latent_jax.analysis.solutions import measure as solutions
from latent_jax.analysis.stability import measure as stability
from latent_jax.analysis.thoughts import measure as thoughts
from latent_jax.analysis.tokens import measure as tokens
from latent_jax.bars import counted
from latent_jax.commands.boundaries import measured as _boundaries
from latent_jax.commands.opening import (
    named_files,
    open_codes,
    open_texts,
    read_texts,
    run_words,
    what_it_is,
)
from latent_jax.commands.robustness import measured as _robustness
from latent_jax.contracts import Batch
from latent_jax.data import Corpus
from latent_jax.data.gsm8k import ProblemFiles
from latent_jax.experiments.evaluate import Run, load_run, read_config, score_corpus
from latent_jax.experiments.reading import open_reading
from latent_jax.methods.names import parse
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.reports.tables import write_table
from latent_jax.system_errors import check_writable

logger = logging.getLogger(__name__)


def analyze(verb: str, options: Any) -> Tables:
    """Run one analysis, print its tables, and write records and pictures if options ask for them.

    The table named like the verb is written to `options.json` after every code, so that a stopped
    command has lost one code at most.

    Args:
        verb: a key of `ANALYSES`.
        options: an instance of its options dataclass.

    Returns:
        The records by the name of their table.

    Raises:
        ValueError: a name or a folder is wrong, or a text cannot be read or is too short.
    """
    out = getattr(options, "out", "")  # an analysis without pictures has no such option
    if out:
        check_writable(out, is_folder=True)
    analysis, _, measure = ANALYSES[verb]
    tables: Tables = {}
    for found in measure(options):
        for name, records in found.items():
            tables.setdefault(name, []).extend(records)
        if options.json:
            write_table(tables[verb], options.json)
    print(analysis.show(tables))
    if out:
        for path in analysis.draw(tables, Path(out)):
            print(path)
    return tables


def _entropy(options: entropy.EntropyOptions) -> Iterator[Tables]:
    records = []
    # One entry per code: `open_codes` gives tokenizers first, then runs.
    runs = [*[None] * len(options.tokenizer), *options.workdir]
    for text, corpus, codes, texts in _opened(options):
        train = read_texts(corpus, "train", options.train_bytes, options.cut_bytes)
        for code, workdir in zip(_shown(codes), runs, strict=True):
            origin, metrics = {"text": text}, None
            if workdir:
                origin |= {"run": workdir, **run_words(read_config(Path(workdir)))}
                n_bytes = sum(map(len, texts))
                metrics = score_corpus(load_run(workdir), corpus, "validation", n_bytes)
            found = _marked(entropy.measure(options, code, train, texts, metrics), origin)
            records += found["entropy"]
            yield found
    if options.n >= entropy.SUMMARY_N:
        summary = entropy.summarize(records)
        if options.summary:
            write_table(summary, options.summary)
        yield {"summary": summary}


def _uniformity(options: uniformity.UniformityOptions) -> Iterator[Tables]:
    for text, _, codes, texts in _opened(options):
        for code in codes:
            uniformity.check_bits(code)
        for code in _shown(codes):
            yield _marked(uniformity.measure(options, code, texts), {"text": text})


def _tokens(options: tokens.TokensOptions) -> Iterator[Tables]:
    for _, _, codes, texts in _opened(options):
        for code in _shown(codes):
            yield tokens.measure(options, code, texts)


def _stability(options: stability.StabilityOptions) -> Iterator[Tables]:
    for _, corpus, codes, texts in _opened(options):
        learned = [document.text for document in corpus.documents("train", 1 << 22)]
        prefixes = stability.draw_prefixes(options, learned)
        pieces = dataclasses.replace(options, tokenizer=(options.pieces,), workdir=())
        reference = open_codes(pieces, corpus)[0] if options.pieces else None
        places = stability.find_places(texts, reference)
        for code in _shown(codes):
            yield stability.measure(options, code, texts, prefixes, places)


def _zipf(options: zipf.ZipfOptions) -> Iterator[Tables]:
    for _, _, codes, texts in _opened(options):
        yield zipf.measure_ids("words", *zipf.word_ids(texts))
        for code in _shown(codes):
            yield zipf.measure(code, texts)


def _windows(options: windows.WindowsOptions) -> Iterator[Tables]:
    for run, texts in _runs(options, "language models"):
        yield _marked(windows.measure(run, texts), _named(run))


def _latents(options: latents.LatentsOptions) -> Iterator[Tables]:
    for run, texts in _runs(options, "latents"):
        yield _marked(latents.measure(options, run, texts), _named(run) | run_words(run.config))


def _choices(options: choices.ChoicesOptions) -> Iterator[Tables]:
    corpus = _only_corpus(options, "latents")
    held_out, rest = (
        read_texts(corpus, split, options.max_bytes, options.cut_bytes)
        for split in ("validation", "train")
    )
    for workdir in options.workdir:
        run = load_run(workdir)
        texts = {choices.HELD_OUT: held_out, what_it_is(corpus, workdir): rest}
        yield _marked(choices.measure(options, run, texts), _named(run) | run_words(run.config))


def _problems(options: problems.ProblemsOptions) -> Iterator[Tables]:
    files = {"vocab_file": options.vocab_file, "merges_file": options.merges_file}
    tokenizers = [make_tokenizer(parse(name), **files) for name in options.tokenizer]
    if any(files.values()) and not tokenizers:
        raise ValueError("--vocab_file and --merges_file are those of a --tokenizer: name it")
    if options.lengths and not tokenizers:
        raise ValueError("--lengths needs a --tokenizer, in whose tokens they are")
    found: list[Tables] = []
    for name, paths in named_files(options.text).items():
        read = problems.read_problems(ProblemFiles(paths))
        found.append(problems.measure(name, read))
        found += [problems.measure_lengths(name, read, tokenizer) for tokenizer in tokenizers]
    if not found:
        raise ValueError("say which problems to measure: --text train=gsm8k_train.jsonl.xz")
    tables = problems.joined(found)
    if options.lengths:
        write_table(tables["lengths"], options.lengths)
    yield tables


def _thoughts(options: thoughts.ThoughtsOptions) -> Iterator[Tables]:
    for run, origin in _reasoners(options):
        thoughts.thinker_of(run)  # refused before its problems are opened
        yield _marked(thoughts.measure(options, run, _held_out(run)), origin)


def _solutions(options: solutions.SolutionsOptions) -> Iterator[Tables]:
    for run, origin in _reasoners(options):
        found = solutions.ways(run, options.limits)  # refused before its problems are opened
        if options.limits and len(options.workdir) == 1 and len(found) == 1:
            raise ValueError(f"{run.config.method} has no blocks and writes one way: leave out --k")
        yield _marked(solutions.measure(options, run, _held_out(run)), origin)


def _reasoners(options: ReasonerOptions) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Yield each run, and what its records say of it."""
    if not options.workdir:
        raise ValueError("say which reasoners to analyze: --workdir RUN")
    for workdir in options.workdir:
        run = load_run(workdir, options.checkpoint)
        yield run, _named(run) | {"run": str(workdir), "step": run.metadata["step"]}


def _held_out(run: Run) -> Callable[[int], Iterator[Batch]]:
    """Return a function that reads a run's own held-out problems, so many rows at a time."""
    words = {"split": "validation", "row_length": run.config.row_length}
    reading = open_reading(run.config)
    return lambda rows: reading.evaluation(batch_size=rows, **words)


def _opened(options: CodeOptions) -> Iterator[tuple[str, Corpus, list[Code], list[bytes]]]:
    """Yield for each text its name, its corpus, codes trained on it, and its held-out texts."""
    for text, corpus in open_texts(options).items():
        codes = open_codes(options, corpus)
        texts = read_texts(corpus, "validation", options.max_bytes, options.cut_bytes)
        yield text, corpus, codes, texts


def _runs(options: RunOptions, what: str) -> Iterator[tuple[Run, list[bytes]]]:
    """Yield each run with the held-out texts."""
    corpus = _only_corpus(options, what)
    texts = read_texts(corpus, "validation", options.max_bytes, options.cut_bytes)
    for workdir in options.workdir:
        yield load_run(workdir), texts


def _only_corpus(options: RunOptions, what: str) -> Corpus:
    """Return the text of an analysis of runs."""
    if not options.workdir:
        raise ValueError(f"say which {what} to analyze: --workdir RUN")
    (corpus,) = open_texts(options).values()
    return corpus


def _shown(codes: Sequence[Code]) -> Iterator[Code]:
    """Yield codes, with a progress bar."""
    for code in counted(codes, "measuring", len(codes), "codes"):
        yield code
        logger.info("measured %s", code.name)


def _named(run: Run) -> dict[str, Any]:
    return {"name": run.config.name or run.config.method, "method": run.config.method}


def _marked(tables: Tables, origin: dict[str, Any]) -> Tables:
    """Return tables with the keys of `origin` at the start of each record."""
    return {name: [origin | record for record in rows] for name, rows in tables.items()}


ANALYSES: dict[str, tuple[ModuleType, type, Callable[[Any], Iterator[Tables]]]] = {
    "entropy": (entropy, entropy.EntropyOptions, _entropy),
    "uniformity": (uniformity, uniformity.UniformityOptions, _uniformity),
    "tokens": (tokens, tokens.TokensOptions, _tokens),
    "stability": (stability, stability.StabilityOptions, _stability),
    "zipf": (zipf, zipf.ZipfOptions, _zipf),
    "windows": (windows, windows.WindowsOptions, _windows),
    "latents": (latents, latents.LatentsOptions, _latents),
    "choices": (choices, choices.ChoicesOptions, _choices),
    "problems": (problems, problems.ProblemsOptions, _problems),
    "thoughts": (thoughts, thoughts.ThoughtsOptions, _thoughts),
    "solutions": (solutions, solutions.SolutionsOptions, _solutions),
    "boundaries": (boundaries, boundaries.BoundariesOptions, _boundaries),
    "robustness": (robustness, NoisedTextOptions, _robustness),
}
"""Verb -> module with `show`, and with `draw` if `out` is an option; options dataclass; and a
function that yields the tables of each code or run."""

OPTIONS = {verb: options for verb, (_, options, _) in ANALYSES.items()}
