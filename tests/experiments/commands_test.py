"""The commands as a user types them, and what they say to a mistake."""

import json
import pydoc_data.topics

import pytest

from tests.launching import ROOT, launch

SMALL = (
    "--config.row_length=64",
    "--config.batch_size=8",
    "--config.budget.bytes=0",
    "--config.budget.steps=6",
    "--config.optimizer.warmup_steps=2",
    "--config.training.eval_every=3",
    "--config.training.save_every=3",
    "--config.training.log_every=2",
    "--config.evaluation_bytes=2000",
    "--config.autoencoder.d_model=32",
    "--config.autoencoder.n_layers=1",
    "--config.model.d_model=32",
    "--config.model.n_layers=1",
    "--config.model.n_heads=2",
    "--config.quantizer.code_dim=8",
)


def write_texts(folder):
    folder.mkdir(exist_ok=True)
    for name, topic in list(pydoc_data.topics.topics.items())[:40]:
        (folder / f"{name.replace('/', '_')}.txt").write_text(topic)
    return folder


def train(folder, *arguments, config="latent_lm.py:codes=16"):
    text = write_texts(folder / "text")
    return launch(
        "train.py",
        f"--config={ROOT}/configs/{config}",
        f"--workdir={folder / 'run'}",
        "--config.data.source=files",
        f"--config.data.files=('{text}',)",
        f"--config.data.cache_dir={folder / 'cache'}",
        *SMALL,
        *arguments,
    )


def records(folder, split):
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == split]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    result = train(folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_a_run_folder_is_complete(trained):
    folder, result = trained
    run = folder / "run"
    for name in ("config.json", "environment.json", "overrides.json", "curves.png"):
        assert (run / name).stat().st_size > 0, name
    assert [r["step"] for r in records(folder, "validation")] == [3, 6]
    samples = sorted(path.name for path in (run / "samples").iterdir())
    assert samples == ["step_0000003.txt", "step_0000006.txt"]
    assert "reconstruction" in (run / "samples" / samples[-1]).read_text()
    assert (run / "tokenizer").is_dir() and any((run / "tensorboard").iterdir())
    assert json.loads((run / "config.json").read_text())["budget"]["steps"] == 6.0
    (start,) = json.loads((run / "environment.json").read_text())["starts"]
    assert [*start["phases"]] == [
        *("imports", "devices", "corpus", "tokenizer", "task", "folder"),
        *("state", "waiting for programs", "first batch", "first step"),
    ]
    assert start["seconds"] == pytest.approx(sum(start["phases"].values()))
    assert f"first step after {start['seconds']:.1f} s: imports " in result.stderr
    assert "bits/byte" in result.stdout and "curves.png" in result.stdout


def test_starting_a_finished_run_again_trains_nothing(trained):
    folder, _ = trained
    before = (folder / "run" / "metrics.jsonl").read_text()
    result = train(folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "run" / "metrics.jsonl").read_text() == before


def test_evaluate_repeats_the_validation_record(trained, tmp_path):
    folder, _ = trained
    scores = tmp_path / "scores.json"
    arguments = (
        f"--workdir={folder / 'run'}",
        "--checkpoint=latest",
        f"--json={scores}",
    )
    result = launch("evaluate.py", *arguments)
    assert result.returncode == 0, result.stderr
    (record,) = json.loads(scores.read_text())
    expected = records(folder, "validation")[-1]
    assert 0 < record["n_bytes"] < 2000  # the whole split; training asked for its first 2,000
    for key in ("bits_per_byte", "reconstruction_accuracy", "codebook_perplexity"):
        assert record[key] == pytest.approx(expected[key], rel=1e-5)


def test_evaluate_reads_any_text_and_divides_by_its_bytes(trained, tmp_path):
    folder, _ = trained
    text = tmp_path / "other.txt"
    text.write_bytes(b"\xff\xfe not UTF-8, and short. " * 50)
    scores = tmp_path / "scores.json"
    result = launch(
        "evaluate.py", f"--workdir={folder / 'run'}", f"--data={text}", f"--json={scores}"
    )
    assert result.returncode == 0, result.stderr
    (record,) = json.loads(scores.read_text())
    assert record["n_bytes"] == len(text.read_bytes())


def test_generate_writes_after_prompts_and_says_what_it_cost(trained, tmp_path):
    folder, _ = trained
    prompts, costs = tmp_path / "prompts.txt", tmp_path / "costs.json"
    prompts.write_text("A lambda\n\nThe class\n")
    words = ("--n_bytes=8", f"--json={costs}", f"--prompts={prompts}")
    result = launch("generate.py", "--compare", folder / "run", folder / "run", *words)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("=== ") == 2 and "=== A lambda" in result.stdout
    one, two = json.loads(costs.read_text())
    assert 0 < one["n_new_bytes"] <= 16 and one["generation_flops_per_byte"] > 0
    assert {k: v for k, v in one.items() if "second" not in k and not k.endswith("_s")} == {
        k: v for k, v in two.items() if "second" not in k and not k.endswith("_s")
    }
    wrong = launch("generate.py", f"--workdir={folder / 'run'}", "--prompt=x", "--top_p=2")
    assert wrong.returncode == 2 and "top_p must be above 0" in wrong.stderr
    none = launch("generate.py", f"--workdir={folder / 'run'}")
    assert none.returncode == 2 and "--prompt TEXT or --prompts FILE" in none.stderr


def test_generate_begins_with_held_out_sentences_and_marks_unknown_words(trained, tmp_path):
    folder, _ = trained
    costs = tmp_path / "costs.json"
    words = ("--n_bytes=24", "--mark_unknown", f"--json={costs}")
    run = f"--workdir={folder / 'run'}"
    result = launch("generate.py", run, "--prompts=validation:1", *words)
    assert result.returncode == 0, result.stderr
    starts = [
        line.removeprefix("=== ") for line in result.stdout.splitlines() if line[:4] == "=== "
    ]
    texts = [path.read_text() for path in (folder / "text").iterdir()]
    assert len(starts) == 1 and any(starts[0] in text for text in texts)
    one, held_out = json.loads(costs.read_text())
    assert one["n_words"] >= 0 and 0 <= one["unknown_words_share"] <= 1
    # It shares most of its words with training text.
    assert held_out["name"] == "held-out text" and held_out["n_words"] > 10
    assert 0 <= held_out["unknown_words_share"] < 0.5
    many = launch("generate.py", run, "--prompts=validation:999")
    assert many.returncode == 2 and "ask for fewer" in many.stderr


def test_benchmark_compares_what_runs_write(trained, tmp_path):
    folder, _ = trained
    runs, speeds = f"--workdirs={folder / 'run'},{folder / 'run'}", tmp_path / "speeds.json"
    words = ("--n_bytes=8", "--lanes=2", "--n_steps=2", f"--json={speeds}")
    result = launch("benchmark.py", "generate", runs, *words)
    assert result.returncode == 0, result.stderr
    one, two = json.loads(speeds.read_text())
    assert one["speed_ratio"] == 1 and two["speed_ratio"] > 0
    assert 0 < one["n_new_bytes"] == two["n_new_bytes"] <= 16 and one["lanes"] == 2
    assert one["latency_ms"] > 0 and "seconds" not in one


def test_analyses_look_into_a_run(trained, tmp_path):
    folder, _ = trained
    words = (f"--workdir={folder / 'run'}", f"--data={folder / 'text'}", f"--out={tmp_path}")
    result = launch("analyze.py", "latents", *words, f"--json={tmp_path / 'latents.json'}")
    assert result.returncode == 0, result.stderr
    parts = {record["part"] for record in json.loads((tmp_path / "latents.json").read_text())}
    assert parts == {"group", "row"} | {
        f"codes: {source}" for source in ("encoder", "likeliest", "drawn", "written")
    }
    ranks = launch(
        "analyze.py", "zipf", *words, "--tokenizer=Bytes", f"--json={tmp_path / 'zipf.json'}"
    )
    assert ranks.returncode == 0, ranks.stderr
    codes = [record["code"] for record in json.loads((tmp_path / "zipf.json").read_text())]
    assert codes[:2] == ["words", "Bytes"] and codes[2].startswith("Latent[")
    for picture in ("latents.png", "zipf.png"):
        assert (tmp_path / picture).stat().st_size > 10_000
    windows = launch("analyze.py", "windows", *words)
    assert windows.returncode == 2 and "has no windows of several tokens" in windows.stderr


def test_entropy_sets_the_language_model_of_a_run_beside_n_grams_of_its_codes(trained, tmp_path):
    folder, _ = trained
    written = tmp_path / "entropy.json"
    result = launch(
        "analyze.py",
        "entropy",
        "--tokenizer=Bytes",
        f"--workdir={folder / 'run'}",
        f"--text=topics={folder / 'text'}",
        "--n=2",
        f"--json={written}",
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(written.read_text())
    assert [(r["method"].split("[")[0], r["model"]) for r in found] == [
        ("Bytes", "1-gram"),
        ("Bytes", "2-gram"),
        ("Latent", "1-gram"),
        ("Latent", "2-gram"),
        ("Latent", "language model"),
    ]
    # One text in every code: the same bytes, and half as many latents.
    assert len({record["n_bytes"] for record in found}) == 1
    assert found[2]["bytes_per_token"] == pytest.approx(2, rel=0.05)
    # After six steps the codes say nothing of the bytes, so that these cost nearly all.
    assert found[-1]["held_out_bits_per_byte"] > 0 and found[-1]["reconstruction_bits_per_byte"] > 4
    assert "language model" in result.stdout


def test_report_draws_and_keeps_the_records(trained, tmp_path):
    folder, _ = trained
    kept = tmp_path / "kept.json"
    result = launch("report.py", folder / "run", f"--results={kept}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (record,) = json.loads(kept.read_text())
    assert record["bits_per_byte"] == records(folder, "validation")[-1]["bits_per_byte"]
    assert (folder / "run" / "comparison.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "config", "message"),
    [
        ((), "latent_lm.py:compresor=ssm", "did you mean 'compressor'?"),
        ((), "latent_lm.py:compressor=sssm", "did you mean 'ssm'?"),
        (("--config.optimizer.learnin_rate=1",), "latent_lm.py", '"learning_rate"'),
        (("--config.method=Latnt[ssm,c=2,k=16]",), "latent_lm.py", "did you mean 'Latent'?"),
        (("--config.budget.bytes=5",), "latent_lm.py", "set exactly one of budget"),
        (("--config.batch_size=abc",), "latent_lm.py", "--config.batch_size=abc"),
        (("--config.data.files=('nowhere/*.txt',)",), "latent_lm.py", "nowhere"),
        (("--config.optimizer.warmup_steps=6",), "latent_lm.py", "optimizer.warmup_steps"),
        (("--config.row_length=1000000",), "language_model.py", "too small for one row"),
        ((), "nothing.py", "nothing.py"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing(tmp_path, arguments, config, message):
    result = train(tmp_path, *arguments, config=config)
    assert result.returncode == 2
    assert message in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_another_configuration_is_refused_in_the_same_folder(trained):
    folder, _ = trained
    before = {path: path.stat().st_mtime_ns for path in (folder / "run").iterdir()}
    result = train(folder, "--config.batch_size=16")
    assert result.returncode == 2
    assert "batch_size: 8 there, 16 now" in result.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "run").iterdir()}


def test_a_folder_that_is_no_run(tmp_path):
    result = launch("evaluate.py", f"--workdir={tmp_path}")
    assert result.returncode == 2
    assert "is no run folder" in result.stderr
    (tmp_path / "config.json").write_text('{"method": ')
    result = launch("evaluate.py", f"--workdir={tmp_path}")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert f"{tmp_path}/config.json cannot be read as JSON" in result.stderr


SCRIPTS = sorted(path.name for path in (ROOT / "launch").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_teaches(script):
    result = launch(script, "--help")
    assert result.returncode == 0 and f"python launch/{script}" in result.stdout


def test_compile_says_what_a_gpu_is_asked_for():
    done = launch(
        "compile.py",
        f"--config={ROOT}/configs/language_model.py:size=nano",
        "--topology=cuda",
        "--n_devices=2",
        "--program=evaluation",
        "--config.row_length=64",
    )
    assert done.returncode == 0, done.stderr
    assert "Bytes on 2 x H100 (cuda), pmap: 32 x 64 of 257 ids a step" in done.stdout
    assert "2 x cuDNN attention, by way of the partitioner" in done.stdout


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--topology=v5q:2x2", "error: unknown topology 'v5q:2x2'; write v5e:LAYOUT"),
        ("--topology=cuda --n_devices=5", "error: a global batch of 32 rows does not divide"),
        (
            "--topology=cuda --config.method=Byte",
            "error: unknown method 'Byte' (did you mean 'Bytes'?)",
        ),
    ],
)
def test_compile_says_in_one_line_what_is_wrong(words, error):
    config = f"--config={ROOT}/configs/language_model.py:size=nano"
    done = launch("compile.py", config, *words.split())
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(error) and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("report.py", ["gs://bucket/x"], "an argument is gs://bucket/x, and this command reads"),
        ("sweep.py", ["laptop", "--workdir=gs://bucket/x"], "--workdir is gs://bucket/x, and this"),
        (
            "evaluate.py",
            ["--workdir=runs/x", "--json=gs://bucket/x"],
            "on a disk only; --workdir may be in a bucket: copy it (gcloud storage cp -r)",
        ),
        ("train.py", ["--config=configs/quickstart.py", "--workdir=s3://x/y"], "not on s3://"),
    ],
)
def test_a_bucket_is_never_made_a_local_folder(script, arguments, message, tmp_path):
    if script == "train.py":
        arguments = [f"--config={ROOT}/configs/quickstart.py", *arguments[1:]]
    result = launch(script, *arguments, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and list(tmp_path.iterdir()) == []
