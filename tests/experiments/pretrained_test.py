"""Published models opened by the commands: scored, continued, answering, and trained further."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common, language_model
from latent_jax.commands import export
from latent_jax.commands.generate import Request, generate, make_writer
from latent_jax.experiments.checks import check_weights
from latent_jax.experiments.evaluate import load_run
from latent_jax.experiments.pretrained import (
    Problem,
    evaluate_pretrained_and_print,
    load_pretrained,
    read_problems,
    score_answers,
)
from latent_jax.experiments.run import run
from latent_jax.generation import Sampling
from latent_jax.generation.written import END, LENGTH
from latent_jax.models.gpt import GPT
from latent_jax.models.reasoner import ReasonerConfig
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tokenizers import BPE
from latent_jax.tokenizers.chat import Chat, Message
from latent_jax.training import TrainingConfig, make_mesh
from latent_jax.training.init_from import check_network, open_weights
from tests.compiled import apply
from tests.launching import launch
from tests.models.published_models import LLAMA, random_params, write_folder, write_gguf
from tests.small_reasoner import LAYOUT, THINKER, small_batch
from tests.tokenizers.published import published

TEXT = b"A short text of some words, 12 of them at most.\n" * 20
GREEDY = Sampling(temperature=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a .gguf and a folder of one model, its config and parameters."""
    folder = tmp_path_factory.mktemp("pretrained")
    vocabulary = published(BPE.train([TEXT], 280), "smollm", n_unused=0)
    config = dataclasses.replace(LLAMA, vocab_size=len(vocabulary.tokens))
    params = random_params(config)
    write_gguf(folder / "small.gguf", config, params, vocabulary)
    write_folder(folder / "hf", config, params, vocabulary)
    return folder / "small.gguf", folder / "hf", config, params


@pytest.fixture(scope="module")
def opened(model):
    return load_pretrained(model[0], common.default(), row_length=128)


def nats_of(model, ids, first_id):
    """Return -log p of each id of a row, by the whole row at once."""
    *_, config, params = model
    inputs = np.concatenate([[first_id], ids[:-1]])[None].astype(np.int32)
    logits = apply(GPT(config), {"params": params}, inputs)
    log_p = jax.nn.log_softmax(logits[0], axis=-1)
    return -np.asarray(jnp.take_along_axis(log_p, ids[:, None], axis=1))[:, 0]


def test_both_forms_are_one_run_with_the_config_of_the_file(model, opened):
    gguf, folder, _, params = model
    other = load_pretrained(folder, common.default(), row_length=128)
    assert other.tokenizer.fingerprint() == opened.tokenizer.fingerprint()
    found = opened.task.model_config
    assert (found.rope_theta, found.norm_epsilon) == (500.0, 1e-4)
    assert found.max_length == opened.config.row_length == 128
    for one in (opened, other):
        jax.tree.map(np.testing.assert_array_equal, one.variables["params"], params)
        assert one.metadata["step"] == 0
    assert opened.config.name == "small" and other.config.name == "hf"
    assert load_pretrained(gguf, common.default(), row_length=9999).config.row_length == 256


def test_text_is_scored_after_the_separator(model, opened, tmp_path, capsys):
    gguf, *_ = model
    text = TEXT[:200]
    (tmp_path / "a.txt").write_bytes(text)
    out = tmp_path / "scores.json"
    evaluate_pretrained_and_print(
        gguf,
        common.default(),
        files=(str(tmp_path / "a.txt"),),
        row_length=256,
        json_path=str(out),
    )
    (record,) = json.loads(out.read_text())
    ids = np.append(opened.tokenizer.encode(text), opened.tokenizer.separator_id)
    nats = nats_of(model, ids, opened.tokenizer.separator_id)
    assert record["n_tokens"] == len(ids) and record["n_bytes"] == len(text)
    np.testing.assert_allclose(record["nats_per_token"], nats.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        record["bits_per_byte"], nats.sum() / np.log(2) / len(text), rtol=1e-5
    )
    assert record["name"] == "small" and "bits_per_byte" in capsys.readouterr().out


PROBLEMS = [
    Problem(b"How many words?", b"It is 12.\n#### 12"),
    Problem(b"A text?", b"Some words."),
    Problem(b"A short text of words?", b"12 of them"),
]


def test_answers_are_scored_given_their_questions_in_the_chat(model, opened):
    chat = Chat(opened.tokenizer)
    total = n_tokens = 0
    for question, answer in PROBLEMS:
        ids = chat.ids([Message("user", question)])
        answer_ids = opened.tokenizer.encode(answer)
        # Of the answer alone: not the mark behind it, and nothing before it.
        nats = nats_of(model, np.concatenate([ids[1:], answer_ids]), ids[0])
        total += nats[-len(answer_ids) :].sum()
        n_tokens += len(answer_ids)
    n_bytes = sum(len(p.answer) for p in PROBLEMS)
    for batch_size in (8, 16):
        config = common.default()
        one = load_pretrained(model[0], config, row_length=128, batch_size=batch_size)
        found = score_answers(one, PROBLEMS)
        assert (found["n_tokens"], found["n_bytes"]) == (n_tokens, n_bytes)
        np.testing.assert_allclose(found["nats_per_token"], total / n_tokens, rtol=1e-5)
        np.testing.assert_allclose(found["bits_per_byte"], total / np.log(2) / n_bytes, rtol=1e-5)
    short = load_pretrained(model[0], config, row_length=24)
    with pytest.raises(ValueError, match=r"problem 0 has .* ids, and a row 24: give --row_length"):
        score_answers(short, PROBLEMS)
    with pytest.raises(ValueError, match="no problem to score"):
        score_answers(opened, [])


def test_problems_are_read_in_order_without_marks_of_a_calculator(tmp_path):
    path = tmp_path / "problems.jsonl"
    lines = [
        {"question": "q1", "answer": "48/2 = <<48/2=24>>24.\n#### 24"},
        {"question": "q2", "answer": "a < b << c"},
        {"question": "q3", "answer": "z"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    problems = read_problems([str(path)])
    assert problems[0] == Problem(b"q1", b"48/2 = 24.\n#### 24")
    assert [p.question for p in problems] == [b"q1", b"q2", b"q3"]
    assert problems[1].answer == b"a < b << c"
    assert read_problems([str(path)], 2) == problems[:2]
    path.write_text(json.dumps({"question": "q1"}) + "\n")
    with pytest.raises(ValueError, match="answer"):
        read_problems([str(path)])


def greedy(model, ids, end_id, n_ids):
    """Return what the likeliest id after the other is, by whole rows."""
    *_, config, params = model
    found = []
    for _ in range(n_ids):
        row = np.zeros((1, 128), np.int32)
        row[0, : len(ids)] = ids
        logits = apply(GPT(config), {"params": params}, row)
        found.append(int(jnp.argmax(logits[0, len(ids) - 1])))
        if found[-1] == end_id:
            break
        ids = np.append(ids, found[-1])
    return found


def test_a_text_is_continued_after_the_separator(model, opened):
    request = Request((b"A short",), n_bytes=12, sampling=GREEDY)
    ((written,),), record = generate(opened, request)
    tokenizer = opened.tokenizer
    begun = np.append([tokenizer.separator_id], tokenizer.encode(b"A short"))
    ids = greedy(model, begun, tokenizer.separator_id, written.n_ids)
    assert tokenizer.decode(ids)[: len(written.text)] == written.text
    assert record["method"] == opened.config.method


def test_a_question_is_answered_in_the_chat_and_the_answer_ends_with_its_mark(model, opened):
    chat, tokenizer = Chat(opened.tokenizer), opened.tokenizer
    # A row of the table that is far longer than others is soon drawn, in the end.
    table = np.array(opened.variables["params"]["token_embedding"]["embedding"])
    seen, shown = set(), []
    for scale in (1.0, 30.0):
        table = table.copy()
        table[chat.end_id] *= scale
        params = {**opened.variables["params"], "token_embedding": {"embedding": table}}
        one = dataclasses.replace(opened, variables={"params": params})
        request = Request((b"How many words?",), n_bytes=10, sampling=GREEDY, is_chat=True)
        ((written,),), _ = generate(one, request, shown.append)
        begun = chat.ids([Message("user", b"How many words?")])
        ids = greedy((*model[:3], params), begun, chat.end_id, written.n_ids)
        assert len(ids) == written.n_ids
        assert tokenizer.decode(ids)[:10] == written.text == shown[-1]
        assert (written.stop == END) == (ids[-1] == chat.end_id)
        assert written.kept == written.prompt == b"How many words?"
        seen.add(written.stop)
    assert seen == {END, LENGTH}
    writer, plain = make_writer(opened, is_chat=True), make_writer(opened)
    assert writer.flops(4, 8) > plain.flops(4, 8)  # the template is read too


def test_a_model_without_a_chat_is_asked_nothing(model, opened):
    vocabulary = dataclasses.replace(opened.tokenizer.vocabulary, chat_template="")
    silent = dataclasses.replace(opened, tokenizer=type(opened.tokenizer)(vocabulary))
    request = Request((b"How?",), is_chat=True)
    with pytest.raises(ValueError, match="has no chat template: its model was not made to chat"):
        generate(silent, request)
    with pytest.raises(ValueError, match="has no chat template"):
        score_answers(silent, PROBLEMS)


def configured(model, folder):
    gguf, _, config, _ = model
    lines = [json.dumps({"id": i, "text": TEXT.decode()}) for i in range(60)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    found = language_model.get_config(f"method=BPE[v={config.vocab_size}],size=nano")
    words = ("positions", "n_kv_heads", "norm", "norm_epsilon", "gated", "use_bias", "activation")
    words += ("d_model", "n_heads", "n_layers", "d_ff", "rope_theta", "qkv_bias")
    found.model.update({word: getattr(config, word) for word in words})
    found.update(row_length=32, batch_size=8, evaluation_bytes=500)
    found.budget.update(bytes=0.0, steps=2.0)
    found.optimizer.update(warmup_steps=1, learning_rate=1e-30)
    found.data.update(source="files", files=(f"{folder}/a.jsonl",), cache_dir=f"{folder}/cache")
    found.data.update(validation_percent=30.0, test_percent=0.0)
    found.tokenizer.vocab_file = str(gguf)
    found.training.init_from = str(gguf)
    found.training.progress = False
    return found


@pytest.mark.slow
def test_a_published_model_is_trained_further_with_its_own_tokenizer(model, opened, tmp_path):
    gguf, folder, _, params = model
    run(configured(model, tmp_path), tmp_path / "run", pictures=False)
    trained = load_run(tmp_path / "run")
    assert trained.tokenizer.fingerprint() == opened.tokenizer.fingerprint()
    # The learning rate moves nothing: what was read is what is saved.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7),
        jax.device_get(trained.variables["params"]),
        params,
    )
    ours, theirs = (open_weights(str(path), opened.mesh) for path in (gguf, folder))
    assert ours.shapes == theirs.shapes and ours.network == theirs.network
    name = "params/stack/blocks/attention/key_value/kernel"
    np.testing.assert_array_equal(ours.read([name])[name], theirs.read([name])[name])
    # The table alone fits every network, blocks only one that reads them alike.
    other = dataclasses.replace(ours.network, rope_theta=10_000.0)
    check_network(ours, other, ["params/token_embedding/embedding"])
    with pytest.raises(ValueError, match=r"model\.rope_theta is 10000\.0, and .*small\.gguf was"):
        check_network(ours, other, [name])


def test_a_network_that_reads_weights_in_another_way_is_refused(model, tmp_path):
    for key, value, message in (
        (
            "rope_theta",
            10_000.0,
            r"model\.rope_theta is 10000\.0, and .* with 500\.0: set --config",
        ),
        ("norm_epsilon", 1e-6, r"model\.norm_epsilon is 1e-06, and .*norm_epsilon=0\.0001"),
        ("activation", "gelu", r"model\.activation is 'gelu'"),
        ("d_model", 48, r"float32\[.*\] in .*small\.gguf and float32"),
        ("n_kv_heads", 0, r"small\.gguf has no params/stack/.*query_key_value"),
    ):
        words = configured(model, tmp_path)
        words.model[key] = value
        with pytest.raises(ValueError, match=message):
            run(words, tmp_path / "wrong", pictures=False)
    assert not (tmp_path / "wrong").exists()


def test_the_language_trunk_of_a_reasoner_reads_weights_alike_too(model):
    gguf, _, config, _ = model
    patterns = (r"params/(token_embedding|stack)/.*",)
    training = TrainingConfig(init_from=str(gguf), init_patterns=patterns)
    spec = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in small_batch().items()}

    def check(**changes):
        network = dataclasses.replace(config, **changes)
        reasoner = ReasonerConfig(model=network, layout=LAYOUT)
        task = LatentReasoning(dataclasses.replace(THINKER, config=reasoner), 1.0)
        check_weights(task, training, spec, make_mesh("pmap"))

    check()
    with pytest.raises(ValueError, match=r"model\.rope_theta is 10000\.0, and .* with 500\.0: set"):
        check(rope_theta=10_000.0)


def test_a_published_model_becomes_a_run_and_is_published_again(model, opened, tmp_path):
    gguf, _, _, params = model
    made, out = tmp_path / "run", tmp_path / "out"
    export.import_folder(gguf, made, common.default())
    found = load_run(made)
    assert found.config.tokenizer.vocab_file == str(made / "tokenizer" / "vocabulary.json")
    assert found.tokenizer.fingerprint() == opened.tokenizer.fingerprint()
    assert found.config.row_length == 256
    export.export_run(made, out)
    again = load_pretrained(out, common.default())
    assert again.tokenizer.fingerprint() == opened.tokenizer.fingerprint()
    for one in (found, again):
        ours = jax.device_get(one.variables["params"])
        jax.tree.map(np.testing.assert_array_equal, ours, params)


@pytest.mark.slow
def test_the_commands_open_it(model, tmp_path):
    gguf, folder, *_ = model
    (tmp_path / "a.txt").write_bytes(TEXT[:300])
    words = ("--n_bytes", 5, "--temperature", 0, "--prompt", "A short")
    done = launch("generate.py", "--pretrained", gguf, "--pretrained", folder, "--chat", *words)
    assert done.returncode == 0, done.stderr
    assert "--- small, " in done.stdout and "--- hf, " in done.stdout
    done = launch("evaluate.py", "--pretrained", folder, "--data", tmp_path / "a.txt")
    assert done.returncode == 0 and "bits_per_byte" in done.stdout, done.stderr
    for script, words, message in (
        ("evaluate.py", ("--pretrained", gguf), "say what to score: --data FILES"),
        ("evaluate.py", ("--workdir", "x", "--chat"), "--chat is for --pretrained"),
        ("generate.py", ("--pretrained", "no", "--prompt", "x"), "no does not exist: name a"),
    ):
        done = launch(script, *words)
        assert done.returncode == 2 and message in done.stderr, (done.stderr, words)
        assert done.stderr.count("\n") == 1, done.stderr
