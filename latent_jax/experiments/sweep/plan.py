"""The plan of a sweep: a record of each cell, made before anything is trained."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from latent_jax.bars import counted
from latent_jax.codec.measure import cut_texts
from latent_jax.contracts import Vocabulary
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.costs.memory import estimate, settle_remat
from latent_jax.data import Corpus, data_config, open_corpus
from latent_jax.data.rows import DONE, open_rows
from latent_jax.experiments.entropy_runs import settle_entropy_model
from latent_jax.experiments.sweep.loading import check_comparable, config_of, config_words
from latent_jax.json_files import Kind, read_json, write_sealed
from latent_jax.methods.cells import Cell, Sweep, name_of, setting_of
from latent_jax.methods.family import MethodName
from latent_jax.methods.ledger import ledger
from latent_jax.methods.names import parse, with_options
from latent_jax.methods.registry import family
from latent_jax.methods.row_codes import bytes_per_position, make_row_code
from latent_jax.methods.settings import check_settings
from latent_jax.methods.solve import amounts_of_step, solve_shape, solve_steps
from latent_jax.methods.tasks import make_task
from latent_jax.methods.tokenizers import make_tokenizer
from latent_jax.tokenizers import Tokenizer
from latent_jax.training import make_mesh

logger = logging.getLogger(__name__)

SAMPLE_BYTES, SAMPLE_TEXT_BYTES = 32_768, 512
"""The bytes per token of a method that M1 drives are estimated before its rows are made, on so many
bytes of text, cut into texts of so many bytes."""

_RATIOS = Kind(items=float, way_out="remove it, and it is measured again")

Record = dict[str, Any]


def rows_folder(folder: Path, config: ConfigDict) -> Path:
    """Return the folder, inside that of a sweep, for the rows of a method that M1 drives."""
    return folder / "rows" / f"{parse(config.method)}-{config.row_length}"


def plan(sweep: Sweep, folder: Path, is_dry: bool = False) -> list[Record]:
    """Return one flat record for each cell; texts are read and tokenizers trained, models are not.

    Args:
        sweep: the cells.
        folder: of the sweep; measured ratios are kept there.
        is_dry: nothing will be trained, so that ratios which a paper states will do: where the
            sweep has them, no text is read.

    Raises:
        ValueError: a cell is wrong, or budgets are mixed.
    """
    configs = [config_of(sweep, config_words(sweep, cell)) for cell in sweep.cells]
    for cell, config in zip(sweep.cells, configs, strict=True):
        with _named(cell):
            check_settings(config)
            settle_entropy_model(config, {})  # its FLOPs are a part of the cell's
    check_comparable(sweep, configs)
    vocabularies = _Published(sweep.published) if is_dry and sweep.published else None
    vocabularies = vocabularies or _Vocabularies(folder)
    records = []
    for cell, config in counted(
        zip(sweep.cells, configs, strict=True), "plan", len(configs), "cells"
    ):
        with _named(cell):
            records.append(_plan_cell(sweep, cell, config, vocabularies))
    return records


@contextlib.contextmanager
def _named(cell: Cell) -> Iterator[None]:
    """Let errors name their cell, and its keys without the flags that a sweep does not take."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name_of(cell)}: {str(error).replace('--config.', '')}") from error


def _plan_cell(
    sweep: Sweep, cell: Cell, config: ConfigDict, vocabularies: "_Vocabularies | _Published"
) -> Record:
    vocabulary = vocabularies.of(config)
    solved = solve_shape(config, vocabulary)
    task = make_task(solved, vocabulary)
    steps, budget = solve_steps(solved, task)
    amounts = {unit: steps * n for unit, n in amounts_of_step(solved, task).items()}
    # A position of a row of problems is not an id of a text; its bytes are those of its share.
    ratio = task.amounts["bytes"] / task.amounts.get("tokens", 1.0)
    costs = ledger(task, solved.row_length, ratio)
    return {
        **setting_of(cell),
        "name": name_of(cell),
        "group": cell.get("group", ""),
        "method": str(parse(config.method)),
        "size": cell.get("size", ""),
        "seed": config.seed,
        "config": config_words(sweep, cell),
        "budget": str(budget),
        "row_length": solved.row_length,
        "evaluation_bytes": solved.evaluation_bytes,
        "d_model": solved.model.d_model,
        "vocab_size": vocabulary.size,
        "planned_steps": steps,
        **{f"planned_{unit}_seen": amount for unit, amount in amounts.items()},
        "bytes_per_token": ratio,
        **costs,
        "planned_train_flops": task.train_flops(amounts),
        "memory_bytes": _memory_bytes(solved, vocabulary, costs["n_parameters"]),
        **{f"paper_{key}": value for key, value in sweep.published.get(cell["method"], {}).items()},
    }


def _memory_bytes(config: ConfigDict, vocabulary: Vocabulary, n_parameters: int) -> float:
    """Return an estimate of the bytes of a train step, if one device does all of it."""
    config = config.copy_and_resolve_references()
    config.training.update(strategy="pmap", model_parallel=1)
    alone = make_mesh("pmap", devices=jax.devices()[:1])
    config = settle_remat(config, vocabulary, alone)
    task = make_task(config, vocabulary)
    return estimate(task, config, alone, n_parameters).total_bytes


class _Published:
    """The vocabularies of methods with the ratios that a paper states; no text is read."""

    def __init__(self, published: Mapping[str, Mapping[str, float]]):
        self._ratios = {str(parse(m)): facts["bytes_per_token"] for m, facts in published.items()}
        self._made: dict[tuple[str, str], Vocabulary] = {}

    def of(self, config: ConfigDict) -> Vocabulary:
        """Return the vocabulary of a method.

        Raises:
            ValueError: the paper does not have it.
        """
        method = parse(config.method)
        if str(method) not in self._ratios:
            raise ValueError(f"the sweep states no ratio of {method} that it could be planned with")
        key = str(method), config.tokenizer.m1
        if key not in self._made:
            vocabulary = assumed_vocabulary(config, self._ratios[key[0]])
            if family(method.family).is_driven(method):  # it is made of M1 alone
                flops = make_tokenizer(method, None, m1=key[1]).flops_per_byte
                vocabulary = dataclasses.replace(vocabulary, flops_per_byte=flops)
            self._made[key] = vocabulary
        return self._made[key]


class _Vocabularies:
    """The vocabularies of methods; ratios measured on samples are kept in the sweep's folder."""

    def __init__(self, folder: Path):
        self._folder, self._path = folder, folder / "bytes_per_bit.json"
        self._known = self._kept()
        self._tokenizers: dict[str, Tokenizer] = {}
        self._made: dict[str, Vocabulary] = {}

    def _kept(self) -> dict[str, float]:
        return read_json(self._path, _RATIOS) if self._path.exists() else {}

    def of(self, config: ConfigDict) -> Vocabulary:
        """Return the vocabulary of a method over the configured text."""
        method = parse(config.method)
        corpus = open_corpus(data_config(config))
        key = f"{method} {corpus.fingerprint} {config.tokenizer.m1}"
        if key not in self._tokenizers:
            self._tokenizers[key] = make_tokenizer(method, corpus, **config.tokenizer)
        tokenizer = self._tokenizers[key]
        if family(method.family).reads_problems:  # the layout decides which of them have a row
            key += f" {make_row_code(config, tokenizer).fingerprint()}"
        if key not in self._made:
            ratio = self._ratio(key, method, tokenizer, corpus, config)
            self._made[key] = Vocabulary.of(tokenizer, ratio)
        return self._made[key]

    def _ratio(self, key, method, tokenizer, corpus: Corpus, config: ConfigDict) -> float:
        if not family(method.family).is_driven(method):
            return bytes_per_position(make_row_code(config, tokenizer), tokenizer, corpus)
        made = rows_folder(self._folder, config)
        # A shape solved from the sample's ratio must not change when the rows have been made.
        is_solved = config.context_bytes or config.inference_flops_per_byte
        if (made / DONE).exists() and not is_solved:
            rows = open_rows(made)
            return rows.n_bytes["train"] / rows.n_tokens["train"]
        coder = str(_coder(method)) + key.removeprefix(str(method))
        if coder not in self._known:
            documents = corpus.documents("train", SAMPLE_BYTES)
            texts = cut_texts([document.text for document in documents], SAMPLE_TEXT_BYTES)
            texts = texts[: SAMPLE_BYTES // SAMPLE_TEXT_BYTES]
            n_ids = sum(len(ids) for ids, _ in tokenizer.encode_batch(texts))
            ratio = sum(map(len, texts)) / (n_ids * tokenizer.token_bits)
            # A dry run does not hold the folder: what others have added since stays.
            self._known = {**self._kept(), coder: ratio}
            write_sealed(self._path, self._known)
        return self._known[coder] * tokenizer.token_bits


def _coder(method: MethodName) -> MethodName:
    """Return the name of a method that M1 drives, without the width of its tokens."""
    return with_options(method, v=0)


def encodings(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the cells whose rows are encoded beforehand, one for each kind of rows, by coder.

    Cells of one coder differ in the width of tokens only, so M1 runs once for all of them.
    """
    by_coder: dict[str, dict[str, Record]] = {}
    for record in records:
        method = parse(record["method"])
        if family(method.family).is_driven(method):
            kind = f"{method}-{record['row_length']}"
            by_coder.setdefault(str(_coder(method)), {}).setdefault(kind, record)
    return {coder: [*kinds.values()] for coder, kinds in by_coder.items()}
