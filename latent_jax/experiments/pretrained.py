"""A published model as a `Run`: scored and continued by the same code as a trained one."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from latent_jax.contracts import Batch, Vocabulary
from latent_jax.data import DataConfig, make_source, open_corpus
from latent_jax.experiments.evaluate import Run, print_record, score_corpus, score_rows
from latent_jax.layers.config import PLATFORMS_CHOICE
from latent_jax.methods.tasks import make_task
from latent_jax.models.gpt import GPTConfig
from latent_jax.models.pretrained import GGUF_SUFFIX, open_pretrained
from latent_jax.tokenizers import BPE, PretrainedBPE, Tokenizer
from latent_jax.tokenizers.chat import Chat, Message
from latent_jax.training import make_mesh, share_heap, spread_over_cores
from latent_jax.training.sharding import tree_shardings

BATCH_SIZE, ROW_LENGTH = 8, 512
"""Of evaluation, unless a command says otherwise."""
MOST_ROW_LENGTH = 1024
"""Of a run that is made of a model with rotary positions, which has no length of its own."""

CALCULATOR_MARK = re.compile(rb"<<[^>]*>>")
"""GSM8K's notes for a calculator, 48/2=<<48/2=24>>24, which published models do not write."""


def load_pretrained(
    path: str | Path, config: ConfigDict, row_length: int = ROW_LENGTH, batch_size: int = BATCH_SIZE
) -> Run:
    """Return a published model with its tokenizer.

    Args:
        path: a .gguf, or a folder of Hugging Face; see `models.pretrained`.
        config: the defaults of all config keys, see `configs.common.default`.
        row_length: ids of a row, at most the model's longest.
        batch_size: rows at a time.

    Raises:
        ValueError: there is no such model; the message names the path.
    """
    found = open_pretrained(path)
    tokenizer = found.tokenizer()
    config = run_config(config, found.config, tokenizer, model_name(path))
    config.update(row_length=min(row_length, found.config.max_length), batch_size=batch_size)
    task = make_task(config, Vocabulary.of(tokenizer, bytes_per_token=1.0))
    mesh = make_mesh(config.training.strategy, config.training.model_parallel)
    params = found.params()
    shardings = tree_shardings(params, mesh, config.training.strategy)
    variables = {"params": jax.tree.map(jax.device_put, params, shardings)}
    metadata = {"step": 0, **{f"{unit}_seen": 0 for unit in task.amounts}}
    return Run(config, tokenizer, task, variables, metadata, mesh)


def model_name(path: str | Path) -> str:
    """Return the name of a model in tables."""
    path = Path(path)
    return path.stem if path.suffix == GGUF_SUFFIX else path.resolve().name


def run_config(
    config: ConfigDict,
    model: GPTConfig,
    tokenizer: Tokenizer,
    name: str,
    saved: Path | None = None,
) -> ConfigDict:
    """Return the configuration of a run that would have made this model.

    Args:
        config: the defaults of all config keys.
        model: the network.
        tokenizer: of the model.
        name: of the run.
        saved: folder where the tokenizer is or will be saved; None: nowhere.
    """
    config = ConfigDict(config.to_dict())
    config.update(name=name, method=tokenizer.name, row_length=model.max_length)
    # Keys that the platform decides keep their "auto", as in every config.
    config.model.update({k: getattr(model, k) for k in config.model if k not in PLATFORMS_CHOICE})
    files = [str(saved / name) for name in tokenizer.file_names] if saved else []
    if files and isinstance(tokenizer, BPE):
        config.tokenizer.update(vocab_file=files[0], merges_file=files[1])
    elif files and isinstance(tokenizer, PretrainedBPE):
        config.tokenizer.update(vocab_file=files[0])
    return config


class Problem(NamedTuple):
    """A question and its answer, raw bytes."""

    question: bytes
    answer: bytes


def evaluate_pretrained_and_print(
    path: str | Path,
    config: ConfigDict,
    *,
    files: Sequence[str],
    text_field: str = "text",
    max_bytes: int = 0,
    batch_size: int = 0,
    row_length: int = ROW_LENGTH,
    chat: bool = False,
    max_answers: int = 0,
    json_path: str | None = None,
) -> None:
    """Score a published model on text, or on answers in its chat; print the metrics.

    Args:
        path: see `load_pretrained`.
        config: see `load_pretrained`.
        files: text, read whole: paths, globs or folders. With `chat` files of problems.
        text_field: of .jsonl files.
        max_bytes: raw bytes of text to score at most; 0 = all.
        batch_size: rows at a time; 0 = `BATCH_SIZE`. The sums do not depend on it.
        row_length: ids of a row; each row is read by itself.
        chat: score answers, see `score_answers`.
        max_answers: to score, from the first on; 0 = all.
        json_path: file for the unrounded record, or None.

    Raises:
        ValueError: there is no such model, it has no chat, or the text cannot be read.
    """
    if not files:
        raise ValueError("say what to score: --data FILES")
    batch_size = batch_size or BATCH_SIZE
    share_heap()
    spread_over_cores([batch_size])
    problems = read_problems(files, max_answers) if chat else []
    run = load_pretrained(path, config, row_length, batch_size)
    if chat:
        metrics = score_answers(run, problems)
    else:
        words = dict(source="files", files=tuple(files), text_field=text_field)
        corpus = open_corpus(DataConfig(**words, validation_percent=0.0, test_percent=0.0))
        metrics = score_corpus(run, corpus, "train", max_bytes)
    names = {"run": str(path), "name": run.config.name, "method": run.config.method}
    texts = {"n_answers": len(problems)} if chat else {}
    print_record({**names, "split": " ".join(files), **texts, **metrics}, json_path)


def read_problems(files: Sequence[str], most: int = 0) -> list[Problem]:
    """Return the problems of .jsonl files, from their fields "question" and "answer", as in GSM8K.

    `CALCULATOR_MARK`s are taken out of the answers.

    Args:
        files: paths, globs or folders.
        most: problems, from the first on; 0 = all.

    Raises:
        ValueError: a file cannot be read, or a line lacks a field.
    """
    columns = [
        [document.text for document in make_source(DataConfig(**words)).documents()]
        for words in (
            dict(source="files", files=tuple(files), text_field=field)
            for field in ("question", "answer")
        )
    ]
    if len(columns[0]) != len(columns[1]):
        raise ValueError(f"{' '.join(files)}: not every line has a question and an answer")
    problems = [Problem(q, CALCULATOR_MARK.sub(b"", a)) for q, a in zip(*columns, strict=True)]
    return problems[:most] if most else problems


def score_answers(run: Run, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the metrics of answers under the model's chat template, each given its question.

    A row is one problem. Scored are the ids of the answer; the mark behind it is not.

    Args:
        run: from `load_pretrained`, or trained with such a tokenizer.
        problems: at least one.

    Raises:
        ValueError: the model has no chat, or a problem is longer than a row.
    """
    chat = Chat(run.tokenizer)
    # The first id of a row is what its task puts before it.
    task = dataclasses.replace(run.task, separator_id=chat.begin_id)
    rows = [_row(run, chat, number, problem) for number, problem in enumerate(problems)]
    return score_rows(dataclasses.replace(run, task=task), _batches(rows, run.config.batch_size))


def _row(run: Run, chat: Chat, number: int, problem: Problem) -> dict[str, np.ndarray]:
    prompt = chat.ids([Message("user", problem.question)])[1:]
    answer = run.tokenizer.encode(problem.answer)
    length, most = len(prompt) + len(answer), run.config.row_length
    if length > most:
        raise ValueError(f"problem {number} has {length} ids, and a row {most}: give --row_length")
    ids = np.full(most, run.tokenizer.separator_id, np.int32)
    ids[:length] = np.concatenate([prompt, answer])
    weights = np.zeros(most, np.float32)
    weights[len(prompt) : length] = 1.0
    return {"ids": ids, "weights": weights, "n_bytes": np.int32(len(problem.answer))}


def _batches(rows: Sequence[dict[str, np.ndarray]], batch_size: int) -> Iterator[Batch]:
    """Yield batches; the last is filled up with rows of weight 0."""
    if not rows:
        raise ValueError("there is no problem to score")
    nothing = {name: np.zeros_like(array) for name, array in rows[0].items()}
    for first in range(0, len(rows), batch_size):
        part = rows[first : first + batch_size]
        part = [*part, *[nothing] * (batch_size - len(part))]
        yield {name: np.stack([row[name] for row in part]) for name in nothing}
