"""What commands print to: closed, of an encoding that lacks a character, or a terminal that foreign
text must not steer.
"""

import os
import subprocess
import sys

import pytest

from tests.launching import environment

ALONE = """
import logging, sys
from latent_jax import interrupts
from latent_jax.command_line import run_command

def main():
    {body}

run_command(main, is_alone=True)
"""


def run(body, **words):
    """Run a command that needs no JAX; return it when it has ended."""
    code = [sys.executable, "-c", ALONE.format(body=body)]
    return subprocess.run(code, timeout=120, **{"env": environment(), **words})


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
@pytest.mark.parametrize(("then", "status"), [("pass", 0), ("raise ValueError('no')", 2)])
def test_nothing_that_is_printed_gets_into_a_file_where_a_stream_is_closed(
    tmp_path, closed, then, status
):
    body = (
        f"file = open({str(tmp_path / 'archive')!r}, 'wb'); file.write(b'archive'); "
        "print('printed', flush=True); print('said', file=sys.stderr, flush=True); "
        "sys.stdin.read(); import os; os.write(1, b'raw'); os.write(2, b'raw'); "
        f"file.close(); {then}"
    )

    def close():
        for number in closed:
            os.close(number)

    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ended = run(body, preexec_fn=close, **pipes)
    assert ended.returncode == status and b"Traceback" not in ended.stderr, ended.stderr
    assert (tmp_path / "archive").read_bytes() == b"archive"
    assert (ended.stdout == b"") == (1 in closed) and (ended.stderr == b"") == (2 in closed)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_character_that_an_encoding_lacks_is_spelled(encoding):
    words = {**environment(), "PYTHONIOENCODING": f"{encoding}:strict"}
    ended = run(
        r"print('name \udcff \u2192'); raise ValueError('\udcff')", env=words, capture_output=True
    )
    arrow = "\u2192".encode(encoding, "backslashreplace")
    assert ended.stdout == rb"name \udcff " + arrow + b"\n"
    assert ended.returncode == 2 and b"Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "body",
    ["raise ValueError(text)", "open(text)", "logging.getLogger('latent_jax').warning(text)"],
)
def test_a_terminal_is_not_steered_by_the_name_of_a_file(body):
    text = "\x1b[31mred\ntwo\x9b2J \u202eb\x1b]0;t\x07 end"
    ended = run(f"text = {text!r}; {body}", capture_output=True)
    said = (ended.stdout + ended.stderr).decode()
    assert said.replace("\n", "").isprintable() and "end" in said, said
    assert said.count("\n") == (1 if "open" in body else 2), said
