"""Problems through the loop: a family that scores the answers of chains, and what is refused."""

import dataclasses
import json
import logging

import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from latent_jax.bench.step import benchmark_step
from latent_jax.codec.encode import EncodeConfig, encode_corpus
from latent_jax.commands.prompts import read_prompts
from latent_jax.costs.lowering import assumed_vocabulary, count_flops
from latent_jax.data import DataConfig, data_config, open_corpus
from latent_jax.data.chains import ChainsConfig
from latent_jax.data.problem_rows import ProblemCode, ProblemLayout
from latent_jax.data.problems import parse_problem
from latent_jax.experiments.evaluate import evaluate, load_run
from latent_jax.experiments.reading import open_reading
from latent_jax.experiments.run import prepare, run
from latent_jax.methods import registry
from latent_jax.methods.family import transformer_keys
from latent_jax.methods.row_codes import make_row_code
from latent_jax.methods.settings import check_settings
from latent_jax.methods.text_code import TextCode
from latent_jax.models.gpt import GPTConfig
from latent_jax.reports.records import read_run
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tokenizers import Bytes

LAYOUT = ProblemLayout(text=24, blocks_text=12, n_blocks=2, n_slots=5)


@dataclasses.dataclass(frozen=True)
class Answers(LanguageModeling):
    """A GPT that is scored on the answers in region A."""

    name = "answers"
    fields = ("ids", "segment")

    @property
    def amounts(self):
        return {**super().amounts, "problems": 1 / LAYOUT.length}

    def _answers(self, batch):
        is_answer = batch["segment"][:, : LAYOUT.text] > 0
        weights_BT = batch["weights"][:, : LAYOUT.text] * is_answer
        return {**batch, "ids": batch["ids"][:, : LAYOUT.text], "weights": weights_BT}

    def init(self, key, batch):
        return super().init(key, {"ids": batch["ids"][:, : LAYOUT.text]})

    def loss(self, variables, batch, key, step, train):
        loss, (scores, state) = super().loss(variables, self._answers(batch), key, step, train)
        return loss, ({**scores, "n_problems": jnp.sum(batch["n_problems"])}, state)

    def evaluate(self, variables, batch):
        scores = super().evaluate(variables, self._answers(batch))
        return {**scores, "n_problems": jnp.sum(batch["n_problems"])}

    def samples(self, variables, batch, tokenizer):
        del variables
        return [tokenizer.decode(row[: LAYOUT.text]).decode() for row in np.array(batch["ids"][:2])]


class Chained(TextCode):
    """Answers of problems, over bytes."""

    name, example, summary = "Chained", "Chained", "answers of problems"
    amounts = ("bytes", "tokens", "problems")
    reads_problems = True

    def vocab_size(self, method):
        return Bytes.vocab_size

    def make_code(self, method, sources):
        return Bytes()

    def row_code(self, method, config, tokenizer):
        return ProblemCode(tokenizer, LAYOUT, ("", "?"))

    def make_task(self, method, config, vocabulary, platform):
        keys = transformer_keys(config.model, platform)
        model = GPTConfig(**keys, vocab_size=vocabulary.size, max_length=LAYOUT.text)
        words = (vocabulary.separator_id, LAYOUT.text, vocabulary.bytes_per_token)
        return Answers(model.resolved(platform), *words)


@pytest.fixture(autouse=True)
def chained(monkeypatch):
    registry.families()
    monkeypatch.setattr(registry, "_FAMILIES", {**registry._FAMILIES})
    registry.register(Chained)


def made(folder, **words):
    config = common.default()
    config.update(method="Chained", row_length=LAYOUT.length, batch_size=8)
    config.model.update(d_model=16, n_heads=2, n_layers=1)
    config.budget.steps = 2.0
    config.optimizer.warmup_steps = 1
    config.data.update(source="chains", cache_dir=f"{folder}/cache")
    config.chains.n_problems = 300
    config.training.update(log_every=1, eval_every=1)
    config.update_from_flattened_dict(words)
    return config


def test_it_trains_goes_on_and_is_scored_again(tmp_path, caplog):
    folder = tmp_path / "run"
    with caplog.at_level(logging.INFO, "latent_jax"):
        first = run(made(tmp_path), folder)
    assert first["step"] == 2 and 5 < first["bits_per_byte"] < 12
    assert "train: 0 of 267" in caplog.text and "validation: 0 of " in caplog.text
    *_, last = [row for row in read_run(folder).records if row["split"] == "train"]
    assert last["problems_seen"] == 16
    sample = (folder / "samples" / "step_0000002.txt").read_text()
    assert sample.count("?=") == 2 and "\n#### " in sample

    extended = made(tmp_path, **{"budget.extend": "steps:2"})
    more = run(extended, folder)
    assert more["step"] == 4
    whole = run(extended, tmp_path / "at_once")
    assert whole["bits_per_byte"] == pytest.approx(more["bits_per_byte"], rel=1e-6)

    again = evaluate(folder)
    trained = load_run(folder)
    corpus = open_corpus(data_config(trained.config))
    held_out = [parse_problem(d.text) for d in corpus.documents("validation")]
    assert again["bits_per_byte"] == pytest.approx(more["bits_per_byte"], rel=1e-6)
    assert again["n_problems"] == len(held_out)
    assert again["n_bytes"] == sum(len("".join(p.segments)) for p in held_out)

    few = evaluate(folder, max_bytes=1)
    assert few["n_problems"] == 1, "a problem is never cut"

    (tmp_path / "own.jsonl").write_text(
        json.dumps({"question": "7ab", "answer": "=<<12=2>>2\n#### 2"}) + "\n"
    )
    other = evaluate(folder, files=(f"{tmp_path}/own.jsonl",))
    assert other["n_problems"] == 1 and other["n_bytes"] == len("=2\n#### 2")

    questions = read_prompts((), "validation:3", folder)
    assert {q.decode() for q in questions} <= {p.question for p in held_out}


def test_gsm8k_files_and_their_own_test_file(tmp_path):
    for name, first, numbers in (("train", 1, range(9)), ("test", 2, range(8))):
        lines = []
        for n in numbers:
            sum_, said = first + n, f"{first}+{n}"
            answer = f"<<{said}={sum_}>>{sum_}\n#### {sum_}"
            lines.append(json.dumps({"question": said, "answer": answer}))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    words = {
        "data.source": "gsm8k",
        "data.files": (f"{tmp_path}/train.jsonl",),
        "data.held_out": (f"{tmp_path}/test.jsonl",),
    }
    reading = open_reading(made(tmp_path, **words))
    assert reading.corpus.n_documents == {"train": 9, "validation": 8}
    config = made(tmp_path, **words)
    rows = list(reading.evaluation(split="validation", batch_size=3, row_length=LAYOUT.length))
    assert [row["n_problems"].tolist() for row in rows] == [[1, 1, 1], [1, 1, 1], [1, 1, 0]]
    assert run(config, tmp_path / "run")["step"] == 2


def test_a_row_into_which_nothing_fits_is_refused(tmp_path):
    words = {"chains.kind": "arithmetic", "chains.n_marks": 1, "chains.n_operations": 1}
    with pytest.raises(ValueError, match=r"none of the first \d+ training documents fits into a"):
        prepare(made(tmp_path, **words))


def test_a_step_of_it_is_lowered_and_timed(tmp_path):
    config = made(tmp_path)
    flops = count_flops(config, assumed_vocabulary(config, 0.3))
    assert flops["train"] > 2 * flops["evaluation"] > 0
    record = benchmark_step(config, name="chained", n_steps=1, bytes_per_token=0.3)
    assert record["row_length"] == LAYOUT.length and record["step_ms"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"data.source": "python_docs"}, r"'python_docs' holds text, and Chained reads problems"),
        ({"data.source": "files"}, r"reads problems: set it to gsm8k or chains"),
        ({"data.source": "encoded"}, r"'encoded' holds rows of text"),
        ({"context_bytes": 64}, r"context_bytes=64 sets the length of rows of text"),
        ({"method": "Bytes"}, r"'chains' holds problems, and Bytes reads text: .*python_docs"),
        ({"method": "Bytes", "data.source": "gsm8k"}, r"'gsm8k' holds problems, and Bytes reads"),
        ({"chains.n_problems": 0}, r"chains\.n_problems must be a whole number at least 1|at leas"),
        ({"chains.kind": "words"}, r"unknown chains\.kind 'words'"),
        ({"data.held_out": ("a.jsonl",)}, r"not with data\.source='chains'"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        check_settings(made(tmp_path, **words))


def test_a_row_is_one_problem(tmp_path):
    with pytest.raises(ValueError, match=r"row_length=32, and each .* set row_length=46"):
        prepare(made(tmp_path, row_length=32))


def test_its_rows_are_not_encoded_beforehand(tmp_path):
    data = DataConfig(source="chains", chains=ChainsConfig(n_problems=100), cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"Chained reads rows of problems, .* nothing to encode"):
        encode_corpus(EncodeConfig(tokenizer="Chained"), data, tmp_path / "rows")


def test_a_layout_that_its_code_does_not_make_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Chained, "row_code", lambda *_: 5)
    with pytest.raises(ValueError, match=r"row_code must return a Code .* got 5"):
        make_row_code(made(tmp_path), Bytes())
    monkeypatch.setattr(Chained, "row_code", lambda self, method, config, tokenizer: Odd(LAYOUT))
    with pytest.raises(ValueError, match=r"row_layout says .* they are one thing"):
        make_row_code(made(tmp_path), Bytes())


def test_the_rows_of_text_are_made_by_the_tokenizer(tmp_path):
    tokenizer = Bytes()
    assert make_row_code(made(tmp_path, method="Bytes"), tokenizer) is tokenizer


class Odd(ProblemCode):
    """A code with a field less than the layout of its family says."""

    def __init__(self, layout):
        super().__init__(Bytes(), layout)
        del self.fields["place"]
