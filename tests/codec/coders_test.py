"""From a run of M1 to files compressed by it, by the commands that a user types."""

import hashlib
import json
import math

import pytest

from tests.experiments.commands_test import train
from tests.launching import launch

M1 = ("--config.model.d_ff=32", "--config.batch_size=8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coders")
    result = train(folder, *M1, config="m1.py")
    assert result.returncode == 0, result.stderr
    result = launch("prepare.py", "m1", f"--workdir={folder / 'run'}", f"--out={folder}/m1.msgpack")
    assert result.returncode == 0, result.stderr
    assert "bits/byte" in result.stdout
    return folder


def test_the_file_of_m1_says_how_it_was_made(folder):
    record = json.loads((folder / "m1.json").read_text())
    assert record["sha256"] == hashlib.sha256((folder / "m1.msgpack").read_bytes()).hexdigest()
    assert record["bytes_seen"] > 0 and record["step"] in (3, 6) and record["text"] == ["text"]
    assert 3 < record["bits_per_byte"] < 8.1 and 3 < record["snippet_bits_per_byte"] < 8.1
    assert (folder / "m1.msgpack").stat().st_size < 2.2 * record["n_parameters"] + 2000


def test_its_code_is_compiled_and_agrees_with_the_coder(folder):
    m1 = f"--m1={folder}/m1.msgpack"
    method = "EqualInfoAC[b=12,v=4k,rule=exact]"
    arguments = ("--method", method, f"--out={folder / 'code'}")
    result = launch("prepare.py", "compile", m1, *arguments)
    assert result.returncode == 0, result.stderr
    assert "4,096 texts" in result.stdout
    text = sorted((folder / "text").iterdir())[0]
    for name, packed in (
        ("coder", ("--method", method, m1)),
        ("code", (f"--tokenizer={folder / 'code'}",)),
    ):
        out = folder / f"{name}.latent"
        result = launch("compress.py", "compress", text, f"--out={out}", *packed)
        assert result.returncode == 0, result.stderr
        back = folder / f"{name}.txt"
        options = packed[2:] if name == "coder" else packed
        result = launch("compress.py", "decompress", out, f"--out={back}", *options)
        assert result.returncode == 0, result.stderr
        assert back.read_bytes() == text.read_bytes()
    # The header names another tokenizer; the ids behind it are the same.
    payloads = [(folder / f"{name}.latent").read_bytes()[-300:] for name in ("coder", "code")]
    assert payloads[0] == payloads[1]
    result = launch(
        "compress.py",
        "decompress",
        folder / "coder.latent",
        f"--out={folder}/x",
        "--tokenizer",
        folder / "code",
    )
    assert (
        result.returncode == 2
        and "was written with EqualInfoAC[b=12,v=4096,rule=exact]" in result.stderr
    )
    assert not (folder / "x").exists()


def test_tokenizers_are_measured_on_any_text(folder):
    names = ["Bytes", "GZip[v=256]", "StaticAC[v=256]", "AC[v=256]", "EqualInfoAC[b=32,v=256]"]
    result = launch(
        "evaluate.py",
        *(f"--tokenizer={name}" for name in names),
        f"--data={folder / 'text'}",
        f"--m1={folder}/m1.msgpack",
        "--max_bytes=2500",
        "--cut_bytes=250",
        f"--json={folder / 'scores.json'}",
    )
    assert result.returncode == 0, result.stderr
    scores = {
        record["method"]: record for record in json.loads((folder / "scores.json").read_text())
    }
    assert list(scores) == names
    assert all(record["lossless_share"] == 1 for record in scores.values())
    assert scores["Bytes"]["uniform_bits_per_byte"] == 8
    assert {record["n_documents"] for record in scores.values()} != {1}
    assert all(record["n_documents"] >= record["n_bytes"] / 250 for record in scores.values())
    assert scores["StaticAC[v=256]"]["bytes_per_token"] > 1.3
    for record in scores.values():
        assert record["unigram_bits_per_byte"] <= record["uniform_bits_per_byte"] + 1e-9
        assert record["uniform_perplexity_per_token"] == pytest.approx(256)
        assert record["n_bytes"] / record["n_tokens"] == record["bytes_per_token"]
        ratio = record["uniform_bits_per_byte"] / scores["AC[v=256]"]["uniform_bits_per_byte"]
        assert record["times_ac"] == ratio
    # Lester et al. 2024, table 12: 5.49 bytes per token against 3.49.
    assert scores["EqualInfoAC[b=32,v=256]"]["paper_times_ac"] == pytest.approx(1.573, abs=1e-3)
    assert scores["AC[v=256]"]["paper_times_ac"] == 1 and "paper_times_ac" not in scores["Bytes"]


def test_a_run_has_its_perplexity_beside_its_bits(folder):
    scores = folder / "run.json"
    words = (f"--workdir={folder / 'run'}", f"--data={folder / 'text'}", "--max_bytes=2500")
    result = launch("evaluate.py", *words, f"--json={scores}")
    assert result.returncode == 0, result.stderr
    (record,) = json.loads(scores.read_text())
    assert record["perplexity_per_token"] == pytest.approx(math.exp(record["nats_per_token"]))
    assert [line.split()[0] for line in result.stdout.splitlines() if "per_" in line][:2] == [
        "bits_per_byte",
        "perplexity_per_token",
    ]


def test_files_are_compared_beside_gzip_xz_and_zstd(folder):
    result = launch(
        "compress.py",
        "table",
        sorted((folder / "text").iterdir())[0],
        "--methods=GZip[v=65k]",
        "--verify",
    )
    assert result.returncode == 0, result.stderr
    for name in ("gzip -9", "xz -6", "zstd -19", "GZip[v=65536]"):
        assert name in result.stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("prepare.py", "m2"), "unknown verb 'm2' (did you mean 'm1'?); known: "),
        (("prepare.py", "m1", "--workdir=nowhere"), "nowhere is no run folder"),
        (("prepare.py", "compile", "--m1=nowhere"), "the byte model nowhere cannot be read"),
        (("prepare.py", "encode"), "needs --tokenizer, --data and --out"),
        (
            ("compress.py", "shrink", "x"),
            "unknown verb 'shrink'; known: compress, decompress, table",
        ),
        (
            ("compress.py", "compress", __file__, "--method=BPE[v=300]"),
            "take the folder of a saved one with --tokenizer",
        ),
        (("compress.py", "decompress", "x"), "does not end with .latent"),
        (
            ("evaluate.py",),
            "say what to score: --workdir of a run, --pretrained and --data, or --tokenizer and ",
        ),
        (("benchmark.py", "speed"), "unknown verb 'speed'"),
        (("benchmark.py", "step"), "step needs a config: --config configs/"),
        (("benchmark.py", "rollout"), "rollout needs a second phase: --config configs/"),
        (
            ("benchmark.py", "data", "--vocab_size=4096"),
            "data does not use --vocab_size; it is for: train, generate",
        ),
        (
            ("evaluate.py", "--workdir=x", "--cut_bytes=9"),
            "--workdir does not use --cut_bytes; it is for: --tokenizer",
        ),
        (("compress.py", "compress", "--method=AC[v=256]"), "compress needs files"),
        (
            ("report.py", "x", "--sentence=y"),
            "report does not use --sentence; it is for: report --out",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(command, message):
    result = launch(*command)
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr
