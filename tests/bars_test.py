"""Progress: bars on terminals only, elsewhere plain lines at a low rate."""

import ast
import io
from pathlib import Path

import pytest

from latent_jax import bars
from latent_jax.bars import Bar, counted

ROOT = Path(__file__).parents[1]


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self):
        return True


@pytest.fixture
def seconds(monkeypatch):
    """Return a list whose item is the time."""
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_short_work_says_nothing(seconds):
    stream = io.StringIO()
    with Bar("encode", 4000, "B", stream=stream) as bar:
        for _ in range(4):
            seconds[0] += bars.LINE_EVERY_SECONDS / 5
            bar.update(1000)
    assert bar.n == 4000 and stream.getvalue() == ""


def test_without_a_terminal_long_work_says_a_line_now_and_then(seconds):
    stream = io.StringIO()
    with Bar("AC[v=256]", 5000, "B", initial=1000, stream=stream) as bar:
        for _ in range(4):
            seconds[0] += bars.LINE_EVERY_SECONDS / 2
            bar.update(1000, note="2.0 kB/s")
    assert stream.getvalue().splitlines() == [
        "AC[v=256]: 60%, 3.00k of 5.00k B, 00:30 left, 2.0 kB/s",
        "AC[v=256]: 100%, 5.00k of 5.00k B, 00:00 left, 2.0 kB/s",
    ]


def test_without_a_total(seconds):
    stream = io.StringIO()
    bar = Bar("reading", None, "texts", stream=stream)
    seconds[0] = bars.LINE_EVERY_SECONDS
    bar.update(7)
    assert stream.getvalue() == "reading: 7 texts\n"


def test_a_terminal_gets_a_bar():
    stream = Terminal()
    with Bar("cutting", 2, "tokenizers", stays=True, stream=stream) as bar:
        bar.update()
        bar.update(note="now")
    assert "cutting: 100%" in stream.getvalue() and "2/2" in stream.getvalue()
    assert "now" in stream.getvalue()


def test_counted_yields_all(seconds, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    for _ in counted("abc", "codes", 3, "codes"):
        seconds[0] += bars.LINE_EVERY_SECONDS
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3 and lines[1].startswith("codes: 67%, 2 of 3 codes")


def test_nothing_else_draws_bars():
    """A bar that asks no terminal fills the logs of clusters."""
    drawn = []
    for path in (ROOT / "latent_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tqdm":
                drawn.append(path.relative_to(ROOT / "latent_jax").as_posix())
    assert sorted(drawn) == ["bars.py", "training/progress.py"]
