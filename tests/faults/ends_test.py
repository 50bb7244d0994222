"""How commands end: by an error, a signal, or a reader that has enough."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.launching import ROOT, environment

SCRIPTS = sorted(path.name for path in (ROOT / "launch").glob("*.py"))

RUN = """
import sys
from latent_jax import interrupts
from latent_jax.command_line import run_command

def main():
    print("started", flush=True)
    {body}

run_command(main)
"""


def command(body, **words):
    """Start a command whose function is `body`."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        **words,
    )


@pytest.mark.parametrize(
    ("body", "status", "line"),
    [
        ("open('/no/such/file')", 2, "error: /no/such/file: No such file or directory\n"),
        ("raise MemoryError('9 GB')", 2, "error: there is not enough memory: 9 GB. Take a smaller"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("raise BrokenPipeError", 141, ""),
        ("raise RuntimeError('RESOURCE_EXHAUSTED: x')", 2, "error: there is not enough memory"),
        ('raise RuntimeError("can\'t start new thread")', 2, "error: there is not enough memory"),
        ("raise OSError(12, 'Cannot allocate memory')", 2, "error: Cannot allocate memory; take"),
    ],
)
def test_how_a_command_ends(body, status, line):
    process = command(body)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (status, "started\n"), err
    assert err.startswith(line) and err.count("\n") == (1 if line else 0)


def test_a_mistake_of_ours_keeps_its_traceback():
    _, err = command("raise RuntimeError('ours')").communicate(timeout=120)
    assert "Traceback" in err and err.rstrip().endswith("RuntimeError: ours")


def test_ctrl_c_while_it_imports_and_while_it_works():
    process = command("import time; time.sleep(100)")
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")
    code = (
        "from latent_jax import interrupts; print('ready', flush=True)\nimport time; time.sleep(99)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err == "interrupted\n" and process.returncode == -signal.SIGINT


def test_where_memory_is_too_small_for_the_imports():
    code = (
        "from latent_jax import interrupts; import resource; "
        "resource.setrlimit(resource.RLIMIT_AS, (10**8, 10**8)); raise {}"
    )
    for error in ("ImportError('failed to map segment')", "OSError('no libllvmlite.so')"):
        words = dict(capture_output=True, text=True, env=environment(), timeout=120)
        ended = subprocess.run([sys.executable, "-c", code.format(error)], **words)
        assert ended.returncode != 0 and ended.stderr.count("\n") == 1
        assert ended.stderr.startswith("error: this process may have 100 MB of memory, in which")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_is_closed_ends_a_command_in_order_unless_it_is_ignored(ignored):
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    body = "exec('try:\\n import time; time.sleep(3)\\nfinally:\\n print(\"closed\", flush=True)')"
    process = command(body, preexec_fn=ignore)
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    status = 0 if ignored else 128 + signal.SIGTERM
    assert (process.returncode, out, err) == (status, "closed\n", "")


COLLECTED = """
import gc, os, signal, time

def collected(phase, info):
    if phase == "start":
        gc.callbacks.clear()
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):  # its handler runs here
            pass

gc.callbacks.append(collected)
gc.collect()
{then}
"""

AGAIN = """
try:
    os.kill(os.getpid(), signal.{name})
    time.sleep(60)
finally:
    time.sleep(1.5)  # longer than until a lost signal is sent again
    print("closed", flush=True)
"""


@pytest.mark.parametrize(
    ("name", "status", "line"), [("SIGTERM", 143, ""), ("SIGINT", 130, "interrupted\n")]
)
@pytest.mark.parametrize(
    ("then", "said"), [("time.sleep(60)", ""), (AGAIN, "closed\n")], ids=["alone", "again"]
)
def test_a_signal_while_garbage_is_collected_comes_once(name, status, line, then, said):
    body = COLLECTED.format(name=name, then=then.format(name=name))
    process = command(f"exec({body!r}, dict(__name__='x'))")
    out, err = process.communicate(timeout=50)
    assert (process.returncode, out, err) == (status, f"started\n{said}", line)


def test_scripts_are_ready_for_ctrl_c_before_they_import():
    for script in SCRIPTS:
        text = (ROOT / "launch" / script).read_text()
        ours = [line for line in text.splitlines() if line.startswith("from latent_jax")]
        assert ours[0].startswith("from latent_jax import interrupts"), script


def test_help_whose_reader_has_enough():
    # The pipe is closed before anything is written, so this depends on no timing.
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, ROOT / "launch" / "prepare.py", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        timeout=120,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_an_output_that_is_full():
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN.format(body="print('x' * 9)").replace(", flush=True", "")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        _, err = process.communicate(timeout=120)
    assert err == "error: No space left on device; free some space or write elsewhere\n"
    assert process.returncode == 2
