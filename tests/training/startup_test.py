import json
import shutil
import subprocess
import sys
import threading
import time

import jax
import pytest

from latent_jax.platform import Platform
from latent_jax.training.startup import StartUp, keep_programs
from tests.training.byte_task import run


def test_phases_add_up_to_all_that_has_passed():
    start = time.monotonic()
    startup = StartUp(seconds_ago=2.0)
    startup.mark("imports")
    time.sleep(0.02)
    startup.mark("corpus")
    startup.mark("imports")
    passed = time.monotonic() - start
    record = json.loads(json.dumps(startup.record()))
    assert list(record["phases"]) == ["imports", "corpus"]
    assert 2.0 <= record["phases"]["imports"] < 2.02 + passed
    assert record["phases"]["corpus"] >= 0.02
    assert record["seconds"] == pytest.approx(sum(record["phases"].values()))
    assert record["seconds"] == pytest.approx(2.0 + passed, abs=0.01)
    assert str(startup) == (
        f"first step after {record['seconds']:.1f} s: "
        f"imports {record['phases']['imports']:.1f}, corpus {record['phases']['corpus']:.1f}"
    )


def test_programs_compile_side_by_side_and_their_errors_are_theirs():
    both = threading.Barrier(2, timeout=10)  # broken unless both are there at once

    def broken():
        raise KeyError("head")

    startup = StartUp()
    programs = startup.compile(2, a=both.wait, b=both.wait, c=broken)
    assert sorted(programs[name].result() for name in "ab") == [0, 1]
    with pytest.raises(KeyError, match="head"):
        programs["c"].result()
    assert {"compile a", "compile b"} <= startup.beside.keys()
    assert "(meanwhile in threads: compile " in str(startup)


def test_with_one_thread_the_first_program_is_there_first():
    first, begun = threading.Event(), []

    def one(name):
        begun.append(name)
        assert first.wait(10)

    startup = StartUp()
    programs = startup.compile(1, a=lambda: one("a"), b=lambda: one("b"))
    assert not programs["b"].running() and not programs["b"].done()
    first.set()
    programs["b"].result()
    assert begun == ["a", "b"] and programs["a"].done()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the start of a process is not known")
def test_a_process_knows_when_it_began():
    code = (
        "import time; time.sleep(0.5); from latent_jax.training.startup import StartUp;"
        "s = StartUp.of_process(); s.mark('imports'); print(s.phases['imports'])"
    )
    start = time.monotonic()
    told = float(subprocess.check_output([sys.executable, "-c", code], text=True))
    assert 0.5 < told < time.monotonic() - start + 0.05


def test_a_run_keeps_what_each_of_its_starts_took(tmp_path):
    run(tmp_path, total_steps=12, devices=jax.devices()[:1])
    environment = json.loads((tmp_path / "environment.json").read_text())
    (first,) = environment["starts"]
    assert first["step"] == 1
    assert set(first["phases"]) == {*("state", "waiting for programs", "first batch", "first step")}
    assert set(first["beside"]) == {"compile train_step", "compile evaluation_step"}
    assert first["seconds"] == pytest.approx(sum(first["phases"].values()))
    assert environment["packages"]["jax"] == jax.__version__
    # From step 6 on again: a second start, beside the first.
    shutil.rmtree(tmp_path / "checkpoints" / "12")
    run(tmp_path, total_steps=12, devices=jax.devices()[:1])
    starts = json.loads((tmp_path / "environment.json").read_text())["starts"]
    assert starts[0] == first
    assert starts[1]["step"] == 7 and "restore" in starts[1]["phases"]
    # Nothing left to do: no first step, no start.
    run(tmp_path, total_steps=12, devices=jax.devices()[:1])
    assert json.loads((tmp_path / "environment.json").read_text())["starts"] == starts


def test_programs_are_kept_where_that_is_safe_and_not_over_a_users_choice(monkeypatch, tmp_path):
    chosen = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert keep_programs() is None and jax.config.jax_compilation_cache_dir == chosen
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        assert keep_programs() is None and jax.config.jax_compilation_cache_dir is None  # a CPU
        monkeypatch.setattr(Platform, "current", classmethod(lambda cls: cls("cuda")))
        folder = tmp_path / "latent_jax" / "programs"
        assert keep_programs() == folder
        assert jax.config.jax_compilation_cache_dir == str(folder)
    finally:
        jax.config.update("jax_compilation_cache_dir", chosen)


def test_which_platforms_keep_programs():
    kept = {kind: Platform(kind).keeps_programs for kind in ("cpu", "cuda", "tpu")}
    assert kept == {"cpu": False, "cuda": True, "tpu": True}
