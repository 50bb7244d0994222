"""What commands are given by mistake, and what the system refuses: one line, never a traceback."""

import errno
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from absl import flags
from matplotlib.figure import Figure

import latent_jax.data  # noqa: F401  Grain defines flags of its own, once
from latent_jax.commands.generate import Request
from latent_jax.commands.prepare import compile_code
from latent_jax.data import DataConfig, open_corpus
from latent_jax.flag_values import FILES, check_values
from latent_jax.json_files import read_json
from latent_jax.models import safetensors
from latent_jax.paths import check_files, replace_file
from latent_jax.reports.style import save
from latent_jax.reports.tables import write_table
from latent_jax.system_errors import check_writable, describe_os_error, is_out_of_memory
from latent_jax.tokenizers.storage import read_file, write_folder
from tests.launching import ROOT, environment, launch

SCRIPTS = sorted(path.name for path in (ROOT / "launch").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_and_files_of_every_flag(script, defined, tmp_path):
    before = set(flags.FLAGS)
    runpy.run_path(str(ROOT / "launch" / script))
    defined += [flags.FLAGS[name] for name in set(flags.FLAGS) - before]
    for flag in defined:
        kept, kind = flag.value, flag.flag_type()
        if kind == "int":
            for value in ("x", "1.5", "nan", "", "1e3"):
                with pytest.raises(flags.IllegalFlagValueError, match=f"--{flag.name}"):
                    flag.parse(value)
            bad = [10**30]
        else:
            bad = [float("nan"), float("inf")] if kind == "float" else []
        if flag.name in FILES:
            bad += [str(tmp_path), "-", f"/{'x' * 300}"]
            bad += ["/proc/nothing", str(Path(__file__) / "below")]
        for value in bad:
            flag.value = value
            with pytest.raises(ValueError, match=f"--{flag.name}[ =]"):
                check_values()
        flag.value = kept
    check_values()


def test_every_number_of_a_script_has_a_bound(defined):
    """-1 is refused where it means nothing; only seeds of one command may be anything."""
    free = []
    for script in SCRIPTS:
        before = set(flags.FLAGS)
        runpy.run_path(str(ROOT / "launch" / script))
        new = [flags.FLAGS[name] for name in set(flags.FLAGS) - before]
        for flag in new:
            if flag.flag_type() == "int":
                try:
                    flag.parse("-1")
                except flags.IllegalFlagValueError:
                    continue
                free.append((script, flag.name))
        for flag in new:
            delattr(flags.FLAGS, flag.name)
    # These are refused by the dataclass or the function that they are for.
    assert set(free) <= {
        ("compile.py", "n_devices"),
        ("generate.py", "n_samples"),
        ("generate.py", "n_bytes"),
        ("generate.py", "top_k"),
        ("generate.py", "seed"),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"seed": 99999999999999999999},
            "seed must be at most 4294967295; got 999999",
        ),
        ({"seed": -1}, "seed must be at least 0; got -1"),
        ({"n_samples": 0}, "n_samples must be at least 1; got 0"),
        ({"n_bytes": 10**20}, "n_bytes must be at most 1000000000; got 1"),
    ],
)
def test_requests(words, message):
    with pytest.raises(ValueError, match=message):
        Request((b"prompt",), **words)


@pytest.mark.parametrize("method", ["Bytes", "AC[v=256]", "BPE[v=300]", "Latent[conv1d,c=2,k=16]"])
def test_only_tables_are_compiled(method, tmp_path):
    with pytest.raises(ValueError, match=r"is no table of texts: only EqualInfoAC is compiled"):
        compile_code(tmp_path / "out", method=method)


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("train.py", ["--config=configs/latent_lm.py", "--config.zzzz=1"], "has no key 'zzzz'"),
        ("train.py", ["--config=configs/latent_lm.py", "--config.latent.beta=nan"], "latent.beta"),
        ("generate.py", ["--workdir=no", "--prompt=a", "--seed=99999999999999999999"], "seed"),
        ("prepare.py", ["compile", "--method=Bytes", "--out=no/such"], "Bytes is no table"),
        ("evaluate.py", ["--workdir=no", "--json=."], r"--json=\.: \. is a folder: name a file"),
        ("analyze.py", ["zipf", "--json=-"], "--json=- is no path: write /dev/stdout"),
        ("benchmark.py", ["data", "--seconds=nan"], "--seconds must be a finite number; got nan"),
        ("compile.py", ["--config=configs/m1.py", "--topology=cuda", "--json=/proc/x"], "/proc"),
        ("compress.py", ["table", "no-such-file", f"--json={'y' * 300}"], "name too long"),
        ("compress.py", ["compress", "README.md", "--out=no/"], "no/ names a folder: name a file"),
        ("prepare.py", ["export", "--out=no/such/"], "no/such/ names a folder: name a file in it"),
        ("report.py", ["no", "--results=no/"], "--results=no/: no/ names a folder: name a file"),
        ("export.py", ["--workdir=no", f"--out={__file__}"], r"_test\.py is a file: name a folder"),
        ("report.py", ["no", f"--out={__file__}"], r"_test\.py is a file: name a folder"),
        ("train.py", ["--config=README.md", "--workdir=no"], r"README\.md, line \d+, is no Python"),
        ("sweep.py", ["laptop", "--workers=-1"], "--workers=-1"),
    ],
)
def test_a_command_says_so_in_one_line(script, words, message, tmp_path):
    ended = launch(script, *words, cwd=ROOT)
    assert ended.returncode == 2, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "error" in line.lower()]
    assert line.startswith("error: ") and re.search(message, line, re.IGNORECASE), line
    assert "Traceback" not in ended.stderr


def test_every_command_is_among_them():
    table = test_a_command_says_so_in_one_line.pytestmark[0].args[1]
    assert {script for script, *_ in table} == set(SCRIPTS)


@pytest.mark.parametrize("write", ["replace_file", "write_table", "write_folder"])
def test_a_disk_that_is_full_leaves_what_was_there(write, tmp_path):
    """A limit of 2,000 bytes, which a buffer holds: the system says so at the flush or close."""
    path = replace_file(tmp_path / "a.json", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(OSError) as error:
            if write == "replace_file":
                replace_file(path, b"x" * 3000)
            elif write == "write_table":
                write_table([{"a": "x" * 3000}], path)
            else:
                write_folder(tmp_path / "folder", {"a": b"x" * 3000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert "ulimit -f" in describe_os_error(error.value)
    assert path.read_bytes() == b"old" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("size", [211, 230, 255])
def test_names_as_long_as_a_disk_allows(size, tmp_path):
    name = "n" * (size - 5) + ".json"
    assert replace_file(tmp_path / name, b"one") == tmp_path / name
    assert replace_file(tmp_path / name, b"two").read_bytes() == b"two"
    write_folder(tmp_path / ("f" * size), {"a": b"content"})
    check_writable(tmp_path / name)
    with pytest.raises(OSError, match="name too long"):
        check_writable(tmp_path / ("n" * 256))


def test_a_file_does_not_get_the_name_of_a_folder(tmp_path):
    for name in ("new/", "new/.", "a/new/"):
        with pytest.raises(ValueError, match=f"{name} names a folder: name a file in it"):
            check_writable(f"{tmp_path}/{name}")
        check_writable(f"{tmp_path}/{name}", is_folder=True)
    with pytest.raises(ValueError, match="is a folder: name a file"):
        check_writable(f"{tmp_path}/")
    assert [*tmp_path.iterdir()] == []


def test_a_pipe_a_device_and_a_link_are_written_through(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    replace_file(tmp_path / "pipe", b"records")
    assert os.read(reader, 100) == b"records" and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    replace_file("/dev/null", b"records")
    assert Path("/dev/null").is_char_device()
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"


def test_a_file_in_memory_is_replaced_like_any_other():
    """/dev/shm is below /dev, and its files are neither devices nor appended to."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for content in (b"one", b"two"):
            assert replace_file(Path(folder, "a.json"), content).read_bytes() == content


def test_pictures_of_a_folder_of_others_do_not_follow_its_links(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "theirs").mkdir()
    for name, target in (("a.png", "../mine.txt"), ("b.png", "/dev/null"), ("c.png", "nothing")):
        (tmp_path / "theirs" / name).symlink_to(target)
        path = save(Figure(figsize=(1, 1)), tmp_path / "theirs" / name)
        assert path.is_file() and not path.is_symlink()
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert sorted(os.listdir(tmp_path / "theirs")) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "a cannot be read as JSON: Expecting value"),
        (lambda path: path.symlink_to("/dev/zero"), "a cannot be read: Is a device, and not"),
        (lambda path: path.symlink_to("/dev/tty"), "a cannot be read: "),
        (lambda path: path.symlink_to("a"), "a cannot be read: Too many levels of symbolic"),
        (Path.mkdir, "a cannot be read: Is a directory"),
    ],
)
def test_what_is_no_file_keeps_nobody_waiting(tmp_path, make, message):
    make(tmp_path / "a")
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a")
    with pytest.raises(ValueError, match=r"a is no safetensors file|a cannot be read"):
        safetensors.read(tmp_path / "a")
    if make is not os.mkfifo:  # one that nobody writes to is at its end
        with pytest.raises(ValueError, match="is not a complete saved tokenizer: a cannot be read"):
            read_file(tmp_path, "a")
    else:
        assert read_file(tmp_path, "a") == b""


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_folder_with_a_pipe_or_a_device_is_refused(tmp_path, make):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_text("x")
    check_files(tmp_path)
    make(tmp_path / "deep" / "er" / "it")
    with pytest.raises(ValueError, match="deep/er/it is no file, but a pipe, a device or a link"):
        check_files(tmp_path)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/dev/stdout", 1),
        ("/dev/stderr", 2),
        ("/dev/fd/1", 1),
        ("/proc/self/fd/1", 1),
        ("/dev/../dev/stdout", 1),
    ],
)
@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_standard_output_may_be_a_file(tmp_path, path, number, mode):
    """As after > and >>: what is printed before and after the records stands around them."""
    code = "import sys; from latent_jax.paths import replace_file; "
    code += f"file = sys.{'stdout' if number == 1 else 'stderr'}; print('a', file=file); "
    code += f"replace_file({path!r}, b'b\\n'); print('c', file=file)"
    (tmp_path / "out").write_text("before\n")
    with open(tmp_path / "out", mode) as out:
        words = {"stdout" if number == 1 else "stderr": out}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment(), **words)
    before = "before\n" if mode == "ab" else ""
    assert (tmp_path / "out").read_text() == f"{before}a\nb\nc\n"
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize("home", ["/proc", "/dev/null", "/proc/self/nothing"])
def test_a_home_that_is_none(home, monkeypatch, tmp_path):
    (tmp_path / "a.txt").write_text("text\n" * 9000)
    monkeypatch.setenv("HOME", home)
    config = DataConfig(source="files", files=(str(tmp_path / "a.txt"),))
    with pytest.raises(ValueError, match=r"is no folder that this user may write to .*: set data"):
        open_corpus(config)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), "a: No space left on device; free"),
        (FileNotFoundError(errno.ENOENT, "No such file", b"a"), "a: No such file"),
        (OSError("cannot write gs://a: 403"), "cannot write gs://a: 403"),
        (PermissionError(errno.EROFS, "Read-only file system", "a", None, "b"), "a and b: Read-"),
    ],
)
def test_what_is_said_of_what_the_system_refuses(error, line):
    assert describe_os_error(error).startswith(line)
    assert not is_out_of_memory(error)


def test_memory():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"))
