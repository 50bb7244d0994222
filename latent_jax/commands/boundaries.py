"""The work of `launch/analyze.py boundaries`: open runs and texts, and measure them."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from latent_jax.analysis.boundaries import measure as boundaries
from latent_jax.analysis.boundaries.agreement import (
    Reference,
    byte_ends,
    morpheme_reference,
    piece_reference,
    read_morphemes,
    word_reference,
)
from latent_jax.analysis.boundaries.noise import NOISES, noised
from latent_jax.analysis.boundaries.seen import see
from latent_jax.analysis.boundaries.view import sample_places
from latent_jax.analysis.codes import Tables
from latent_jax.analysis.options import NoisedTextOptions
from latent_jax.bars import Bar
from latent_jax.commands.opening import named_files
from latent_jax.commands.prompts import text_of
from latent_jax.contracts import Batch, Document, Vocabulary
from latent_jax.data import Corpus, DataConfig, evaluation_batches, open_corpus
from latent_jax.experiments.evaluate import Run, load_run
from latent_jax.methods.names import parse
from latent_jax.methods.registry import families, family
from latent_jax.methods.tasks import make_task
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.training import Evaluator
from latent_jax.training.sharding import batch_sharding

HELD_OUT = "held-out"
"""The name of the runs' own text."""

_SPLIT = "validation"


@dataclasses.dataclass(frozen=True)
class Texts:
    """Documents in memory, which batches are made of as of a corpus."""

    texts: Sequence[bytes]

    def split(self, name: str) -> list[Document]:
        """Return the documents, whatever split is asked for."""
        del name
        return [Document(str(number), text) for number, text in enumerate(self.texts)]


def measured(options: boundaries.BoundariesOptions) -> Iterator[Tables]:
    """Yield the records of each run on each text, then those of pairs of runs.

    Raises:
        ValueError: no run cuts its text, a run has no bits per byte, the runs share no text, or a
            text or a list cannot be read.
    """
    check_named(options)
    morphemes = read_morphemes(options.morphemes) if options.morphemes else {}
    names = named_files(options.text)
    if HELD_OUT in names:
        raise ValueError(f"--text {HELD_OUT}=... : that is the runs' own text; name it otherwise")
    runs = {workdir: load_run(workdir, options.checkpoint) for workdir in options.workdir}
    _check(runs)
    corpora = {workdir: text_of(workdir) for workdir in runs}
    texts = shared_texts(options, corpora, names)
    learned = corpora[next(workdir for workdir in runs if _cuts(runs[workdir]))]
    tokenizers = [
        make_tokenizer(method, learned, train_bytes=options.train_bytes)
        for method in map(parse, options.tokenizer or (boundaries.PIECES,))
    ]
    references: dict[str, list[Reference]] = {}
    for name, own in texts.items():
        references[name] = [word_reference(own)]
        references[name] += [piece_reference(own, tokenizer) for tokenizer in tokenizers]
        references[name] += [morpheme_reference(own, morphemes)] if morphemes else []
    ends: dict[str, dict[str, list]] = {name: {} for name in texts}
    with Bar("measuring", len(runs) * len(texts), "texts") as bar:
        for workdir, run in runs.items():
            evaluator = Evaluator(run.task, run.mesh)
            for name, own in texts.items():
                found = []
                if _cuts(run):
                    seen = see(run, batches_of(run, own))
                    ends[name][workdir] = [byte_ends(seen, stage) for stage in seen.stages]
                    places = sample_places(own, options.shown)
                    found += boundaries.measure(seen, references[name], places)
                metrics = {
                    noise: _metrics(run, evaluator, noised(own, noise, options.seed))
                    for noise in NOISES
                }
                found += boundaries.noise_records(metrics, options.seed)
                yield _marked(found, origin_of(workdir, run) | {"text": name})
                bar.update(1, f"{run.config.method}, {name}")
    for name, own in ends.items():
        for record in boundaries.pair_records(own):
            origin = origin_of(record["run"], runs[record["run"]]) | {"text": name}
            yield _marked([record], origin)


def check_named(options: boundaries.BoundariesOptions | NoisedTextOptions) -> None:
    """Refuse options that name no run, or a run twice."""
    if not options.workdir:
        raise ValueError("say which runs to analyze: --workdir RUN")
    if len(set(options.workdir)) < len(options.workdir):
        raise ValueError(f"--workdir names a run twice: {', '.join(options.workdir)}")


def check_reads_text(workdir: str, config: ConfigDict) -> None:
    """Refuse a run that reads no text."""
    if family(parse(config.method).family).reads_problems:
        raise ValueError(
            f"{workdir} is a run of {config.method}, which reads problems and no text: leave it out"
        )


def _check(runs: dict[str, Run]) -> None:
    """Refuse runs of which none cuts its text, and runs that read no text."""
    for workdir, run in runs.items():
        check_reads_text(workdir, run.config)
    if not any(map(_cuts, runs.values())):
        given = ", ".join(f"{run.config.method} ({workdir})" for workdir, run in runs.items())
        able = ", ".join(methods_that_cut(next(iter(runs.values()))))
        raise ValueError(
            f"no run cuts its text by itself: {given}. Name one of a method that does: {able}"
        )


def methods_that_cut(run: Run) -> list[str]:
    """Return the examples of the families whose tasks have `boundaries`.

    Tasks are made with the configuration of a run; families that it does not suit are left out.
    """
    found = []
    for known in families().values():
        config = run.config.copy_and_resolve_references()
        config.update(method=known.example, quantized=False)
        config.snippets.every = 0
        if known.rotary:
            config.model.positions = "rotary"
        try:
            size = known.vocab_size(parse(known.example))
            task = make_task(config, Vocabulary(size, size - 1, 1.0))
        except (ValueError, AttributeError, KeyError):
            continue
        if hasattr(task, "boundaries"):
            found.append(known.example)
    return found


def _cuts(run: Run) -> bool:
    return hasattr(run.task, "boundaries")


def shared_texts(
    options: boundaries.BoundariesOptions | NoisedTextOptions,
    corpora: dict[str, Corpus],
    names: dict[str, tuple[str, ...]],
) -> dict[str, list[bytes]]:
    """Return the documents of the runs' held-out text, and of each --text, by name.

    Args:
        options: with `max_bytes` and `text_field`.
        corpora: run folder -> the text that it was trained on; {} = no run's text is asked for.
        names: name -> files, from `named_files`.

    Raises:
        ValueError: runs share no text and no other is given, or a text is empty.
    """
    texts = {}
    first, *others = corpora or [""]
    for other in others:
        if corpora[other].fingerprint != corpora[first].fingerprint and not names:
            raise ValueError(
                f"{first} and {other} were trained on different texts, so that they share no "
                "held-out text: give one that neither has read, --text NAME=FILES"
            )
    if len({corpus.fingerprint for corpus in corpora.values()}) == 1:
        texts[HELD_OUT] = _first_bytes(corpora[first], _SPLIT, options.max_bytes)
    for name, files in names.items():
        words = dict(source="files", files=files, text_field=options.text_field)
        corpus = open_corpus(DataConfig(**words, validation_percent=0.0, test_percent=0.0))
        texts[name] = _first_bytes(corpus, "train", options.max_bytes)
    for name, own in texts.items():
        if not any(own):
            raise ValueError(f"the text {name} is empty: there is nothing to cut")
    return texts


def _first_bytes(corpus: Corpus, split: str, max_bytes: int) -> list[bytes]:
    """Return the documents that hold the first bytes of a split; the last one is cut there."""
    found, left = [], max_bytes
    for document in corpus.documents(split, max_bytes):
        text = document.text[:left] if max_bytes else document.text
        left -= len(text)
        found += [text] if text else []
    return found


def batches_of(run: Run, texts: Sequence[bytes], batch_size: int = 0) -> Iterator[Batch]:
    """Return the rows of documents as a run reads them; `batch_size` 0 = as in training."""
    return evaluation_batches(
        Texts(texts),
        run.code,
        batch_size=batch_size or run.config.batch_size,
        row_length=run.config.row_length,
        split=_SPLIT,
        sharding=batch_sharding(run.mesh),
    )


def _metrics(run: Run, evaluator: Evaluator, texts: Sequence[bytes]) -> dict[str, Any]:
    """Return the metrics of a run on texts, and their raw bytes."""
    metrics = run.task.summarize(evaluator(run.variables, batches_of(run, texts)))
    check_has_bits(run, metrics)
    return metrics | {"n_bytes": sum(map(len, texts))}


def check_has_bits(run: Run, metrics: dict[str, Any]) -> None:
    """Refuse a run that has no bits per byte."""
    if "bits_per_byte" not in metrics:
        raise ValueError(f"{run.config.method} has no bits per byte: leave its run out")


def origin_of(workdir: str, run: Run) -> dict[str, Any]:
    """Return what records say of a run."""
    return {
        "name": run.config.name or run.config.method,
        "method": run.config.method,
        "run": str(Path(workdir)),
        "step": run.metadata["step"],
        "train_seed": run.config.seed,
    }


def _marked(records: Sequence[dict[str, Any]], origin: dict[str, Any]) -> Tables:
    """Return the table of records, each with the keys of `origin` at its start."""
    return {"boundaries": [origin | record for record in records]}
