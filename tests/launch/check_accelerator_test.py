"""launch/check_accelerator.sh with a stand-in for the interpreter, which notes what it is asked."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INTERPRETER = """#!{python}
import json, os, sys, time
from pathlib import Path

words = sys.argv[1:]
with open({calls!r}, "a") as file:
    file.write(json.dumps(words) + "\\n")
if any(word.endswith(os.environ["FAILS"]) for word in words):
    print("a message of its own")
    sys.exit(3)
if words[0] == "launch/train.py":
    run = Path(words[words.index("--workdir") + 1])
    run.mkdir()
    (run / "metrics.jsonl").write_text('{{"step": 1, "split": "validation"}}')
for word, path in zip(words, words[1:]):
    if word == "--json":
        Path(path).write_text("[]")
print("measured", words[:2])
"""

TIMEOUT = """#!{python}
import os, sys

grace, seconds, *command = sys.argv[1:]
if {late!r} in command:
    sys.exit(124)
os.execvp(command[0], command)
"""


@pytest.fixture
def check(tmp_path):
    """Run a part; return the process and the calls of the interpreter.

    `fails` ends a word of the command that fails, `late` is one of a command that takes too long.
    """
    calls = tmp_path / "calls.jsonl"
    python = tmp_path / "python"
    python.write_text(INTERPRETER.format(python=sys.executable, calls=str(calls)))
    python.chmod(0o755)

    def run(*arguments, fails="generate", late=None):
        path = os.environ["PATH"]
        if late:
            (tmp_path / "timeout").write_text(TIMEOUT.format(python=sys.executable, late=late))
            (tmp_path / "timeout").chmod(0o755)
            path = f"{tmp_path}:{path}"
        done = subprocess.run(
            ["bash", ROOT / "launch" / "check_accelerator.sh", *arguments],
            env={**os.environ, "PYTHON": str(python), "FAILS": fails, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        lines = calls.read_text().splitlines() if calls.exists() else []
        return done, [json.loads(line) for line in lines]

    return run


def test_speed_measures_each_thing_and_names_what_fails(check, tmp_path):
    done, calls = check("speed", str(tmp_path / "out"))
    assert done.returncode == 1
    assert f"generate: failed with status 3, see {tmp_path}/out/generate.log" in done.stdout
    assert "a message of its own" in done.stdout
    steps = [w for w in calls if w[1] == "step"]
    assert all("--json" in w and "--append" in w and "--profile" in w for w in steps)
    assert [w[w.index("--config") + 1] for w in steps] == [
        "configs/m1.py:size=3m",
        "configs/m2.py:method=EqualInfoAC[b=16,v=65k],size=25m",
        "configs/m2.py:method=Bytes,size=25m",
        "configs/latent_lm.py:size=base,codes=4096",
    ]
    trained = next(w for w in calls if w[0] == "launch/train.py")
    assert "--config.data.num_workers=8" in trained
    assert (tmp_path / "out" / "accelerator_peer.json").exists()


def test_what_takes_too_long_is_named_and_the_next_begins(check, tmp_path):
    done, calls = check("speed", str(tmp_path / "out"), fails="none", late="agreement")
    assert done.returncode == 1
    assert f"agreement: not done within 60 s, see {tmp_path}/out/agreement.log" in done.stdout
    assert "generate" in calls[-1] and (tmp_path / "out/accelerator_generation.json").exists()


def test_runs_that_were_scored_are_reported_without_the_one_that_failed(check, tmp_path):
    out = tmp_path / "out"
    text = tmp_path / "a.jsonl"
    text.touch()
    done, calls = check("latent", str(out), str(text), fails="ssm")
    assert done.returncode == 1 and "latent_ssm: failed with status 3" in done.stdout
    assert calls[-1][:3] == ["launch/report.py", str(out / "conv1d"), str(out / "bpe")]


def test_times_fit_into_the_limit_of_their_part():
    """What each part takes at most: its steps, and the seconds that a step has to leave."""
    script = (ROOT / "launch" / "check_accelerator.sh").read_text()
    for part, others in (("m1", 0), ("latent", 2 * 180)):
        limit = int(re.search(rf"^{part}\) limit=(\d+) ;;", script, re.MULTILINE)[1])
        body = re.search(rf"^{part}\(\) {{$(.*?)^}}$", script, re.MULTILINE | re.DOTALL)[1]
        steps = [int(seconds) for seconds in re.findall(r'^ *step "?[\w$]+"? (\d+) ', body, re.M)]
        assert sum(steps) + others + 10 <= limit and len(steps) > 1


@pytest.mark.parametrize("part", ["m1", "latent"])
def test_text_is_asked_for_and_passed_on(check, tmp_path, part):
    done, calls = check(part, str(tmp_path / "out"))
    assert done.returncode == 2 and not calls
    assert f"error: {part} needs text" in done.stderr
    texts = [tmp_path / "a.jsonl", tmp_path / "b c.jsonl"]
    done, calls = check(part, str(tmp_path / "out"), *map(str, texts))
    assert done.returncode == 2 and f"there is no text {texts[0]}" in done.stderr and not calls
    for text in texts:
        text.touch()
    done, calls = check(part, str(tmp_path / "out"), *(os.path.relpath(text) for text in texts))
    assert done.returncode == 0, done.stdout
    files = f"--config.data.files=('{texts[0]}','{texts[1]}',)"
    assert any(files in w for w in calls)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(SLOWER="1.5"), "SLOWER=1.5 multiplies times: give a whole number"),
        (dict(SLOWER="0"), "SLOWER=0 multiplies"),
        (dict(STEPS="many"), "STEPS=many: give a whole number"),
        (dict(PYTHON="/nonexistent"), "PYTHON=/nonexistent is no program"),
    ],
)
def test_what_would_measure_nothing_is_refused(tmp_path, words, message):
    script = ROOT / "launch" / "check_accelerator.sh"
    done = subprocess.run(
        ["bash", script, "speed", str(tmp_path / "out")],
        env=os.environ | words,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.startswith(f"error: {message}")
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(check, tmp_path):
    (tmp_path / "out").touch()
    done, calls = check("speed", str(tmp_path / "out"))
    assert done.returncode == 2 and "records cannot be written to" in done.stderr and not calls


def test_help_teaches_and_a_wrong_part_is_refused(check):
    done, calls = check("--help")
    assert (
        done.returncode == 0 and "bash launch/check_accelerator.sh latent OUT TEXT" in done.stdout
    )
    assert "set -euo" not in done.stdout
    assert check("sped")[0].returncode == 2 and not calls
