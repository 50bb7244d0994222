"""What `launch/compress.py explain` shows, of messages and of texts."""

import json
import re

import numpy as np
import pytest

from latent_jax.codec.compress import open_tokenizer
from latent_jax.codec.explain_message import bar, drawing, explain_messages
from latent_jax.codec.explain_text import explain_text, grouped, information_of, tokens_of
from latent_jax.codec.token_lines import COLOURS, cut_lines, token_lines
from latent_jax.reports.terminal import takes_colour
from latent_jax.tokenizers import BPE, Bytes, CompiledCode
from latent_jax.tokenizers.intervals import Alphabet
from tests.analysis.pictures import drawn
from tests.launching import launch

SENTENCE = "The three currently living species are: African savanna elephants."


@pytest.fixture(scope="module")
def windows():
    """Windows of 16 bits by the package's integer M1, with two tokens each."""
    return open_tokenizer("EqualInfoAC[b=16,v=256]", lanes=16)


def test_a_message_is_explained_with_all_messages_of_its_length(tmp_path, capsys):
    paths = {name: tmp_path / f"{name}.json" for name in ("messages", "summary")}
    explain_messages(
        ["XY", "YXX"],
        "X=2/3,Y=1/3",
        json_path=paths["messages"],
        summary_path=paths["summary"],
        picture=tmp_path / "intervals.png",
    )
    shown = capsys.readouterr().out
    assert "P(X) = 2/3, P(Y) = 1/3: 0.918 bits per symbol" in shown
    assert "XY: probability 2/9, 2.170 bits of information, 2 in the codeword, 3 from" in shown
    records = json.loads(paths["messages"].read_text())
    assert [record["message"] for record in records[:4]] == ["XX", "XY", "YX", "YY"]
    assert [record["codeword"] for record in records[:4]] == [".01", ".10", ".110", ".1111"]
    assert [record["coder_codeword"] for record in records[:4]] == [".00", ".100", ".110", ".1111"]
    assert len(records) == 4 + 8
    summary = json.loads(paths["summary"].read_text())
    assert [record["n_messages"] for record in summary] == [2**n for n in range(1, 11)]
    for record in summary:
        entropy = record["entropy_bits_per_symbol"]
        for code in ("codeword", "coder"):
            mean = record[f"{code}_bits_per_symbol"]
            assert entropy <= mean <= entropy + 2 / record["length"]
    drawn(tmp_path / "intervals.png")


def test_intervals_are_drawn_where_they_lie():
    lines = drawing(Alphabet.parse("X=1/2,Y=1/2"), "YX").splitlines()
    ruler, y, yx, point, inside = lines[2:]
    left = ruler.index("|")
    assert y[left:].startswith(" " * 32 + "[" + "=" * 30 + ")   [1/2, 1)")
    assert yx[left + 32] == "[" and yx[left + 47] == ")" and yx.endswith("[1/2, 3/4)")
    assert point[left + 40] == "*" and point.endswith("5/8 = .101")
    assert inside[left + 32] == "[" and inside.endswith("[1/2, 3/4) = .10...")
    assert bar(Alphabet.parse("X=0.999,Y=0.001").interval("XYY")) == " " * 63 + "|"


def test_tables_of_too_many_messages_hold_those_given(capsys):
    (record,) = explain_messages(["XYXXYXY"], "X=2/3,Y=1/3")
    assert record["message"] == "XYXXYXY"
    assert "Of the 128 messages of 7 symbols, those given" in capsys.readouterr().out


def test_tokens_have_the_text_the_bits_and_the_ids_of_the_tokenizer(windows):
    text = SENTENCE.encode()
    tokens = tokens_of(windows, text)
    assert b"".join(token.text for token in tokens) == text
    assert [token.id for token in tokens] == windows.encode(text).tolist()
    assert all(token.bits == f"{token.id:08b}" for token in tokens)
    assert [token.window for token in tokens] == [i // 2 for i in range(len(tokens))]
    for window in grouped(tokens):
        alone = windows.decode([token.id for token in window])
        assert alone == b"".join(token.text for token in window), "a window is read alone"


def test_bytes_of_a_window_tell_as_much_as_it_has_bits(windows):
    cut = grouped(tokens_of(windows, SENTENCE.encode()))
    told = information_of(windows, cut)
    assert [len(bits) for bits in told] == [sum(len(t.text) for t in window) for window in cut]
    # The last codes of a window are few, so its last byte may tell more than the code that it got.
    assert all(0 < sum(bits) < 18 for bits in told)
    assert 14 < np.mean([sum(bits) for bits in told[:-1]]) < 16
    alone = information_of(windows, cut[1:2])[0]
    assert alone == told[1], "M1 forgets after each window"


def test_ac_is_one_stream_and_its_information_is_its_length():
    tokenizer = open_tokenizer("AC[v=256]", lanes=4)
    cut = grouped(tokens_of(tokenizer, SENTENCE.encode()))
    assert all(len(window) == 1 for window in cut)
    told = sum(map(sum, information_of(tokenizer, cut)))
    n_bits = sum(len(window[0].bits) for window in cut)
    # The end of the text costs up to 14 bits, the last token up to 7 zeros.
    assert told <= n_bits <= told + 14 + 2 + 7


def test_a_text_is_shown_with_brackets_or_colours(windows):
    cut = grouped(tokens_of(windows, SENTENCE.encode()))
    plain = cut_lines(cut, 40, False)
    assert plain.replace("\n", "").replace("][", "")[1:-1] == SENTENCE
    assert max(map(len, plain.splitlines())) <= 40
    coloured = cut_lines(cut, 40, True)
    assert f"\x1b[30;48;5;{COLOURS[0]}m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured).replace("\n", "") == SENTENCE
    rows = token_lines(cut, 60, False).split("\n\n")
    texts, bits, ids = zip(*(row.split("\n") for row in rows), strict=True)
    assert " ".join(bits).split() == [token.bits for window in cut for token in window]
    assert " ".join(ids).split() == [str(token.id) for window in cut for token in window]
    assert "".join(texts).count("[") == len(cut) == "".join(texts).count("]")
    assert max(len(line) for row in rows for line in row.split("\n")) <= 60


class Stream:
    def __init__(self, is_terminal):
        self.isatty = lambda: is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "words", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_is_for_terminals_whose_users_want_it(monkeypatch, is_terminal, words, expected):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    assert takes_colour(Stream(is_terminal)) is expected


def test_a_text_is_printed_kept_and_drawn(windows, tmp_path, capsys):
    path, picture = tmp_path / "tokens.json", tmp_path / "windows.png"
    text = "naïve — \x07 " + SENTENCE
    records = explain_text([text], lambda: windows, json_path=path, picture=picture)
    shown = capsys.readouterr().out
    n_windows = records[-1]["window"]
    assert f"{n_windows} windows of 16 bits, {2 * n_windows} tokens" in shown
    assert "the first byte of a window tells" in shown and "\x07" not in shown
    assert json.loads(path.read_text()) == records
    assert sum(record["n_bytes"] for record in records) == len(text.encode())
    drawn(picture)


def test_a_table_of_windows_and_plain_bytes_are_shown_too(capsys):
    code = CompiledCode.of_texts("Pairs", [bytes([b]) for b in range(256)])
    for tokenizer in (code, Bytes()):
        records = explain_text(["two"], lambda tokenizer=tokenizer: tokenizer)
        assert [record["text"] for record in records] == ["t", "w", "o"]
    assert "3 windows of 8 bits" in capsys.readouterr().out


def test_ids_that_are_no_bits_are_refused():
    tokenizer = BPE.train([b"a text a text"] * 3, 258)
    with pytest.raises(ValueError, match=r"has \d+ ids, which are no groups of bits: name a"):
        explain_text(["a text"], lambda: tokenizer)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", "b"], "one text at a time, in quotes; got 2"),
        ([""], "a text of 0 bytes: explain shows 1 to 2,000"),
        (["x" * 2001], "a text of 2,001 bytes"),
    ],
)
def test_texts_that_cannot_be_shown_open_no_tokenizer(texts, message):
    with pytest.raises(ValueError, match=message):
        explain_text(texts, pytest.fail)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("XY", "--p=X=2/3,Y=1/2"), "the probabilities sum to 7/6, and must sum to 1"),
        (("XZ", "--p=X=2/3,Y=1/3"), "'Z' of the message 'XZ' has no probability"),
        (("X" * 30, "--p=X=2/3,Y=1/3"), "a message of 30 symbols: an example has 1 to 24"),
        (("--p=X=2/3,Y=1/3",), "explain needs a text: write it after the verb, in quotes"),
        (("XY", "--p=X=2/3,Y=1/3", "--lanes=3"), "explain --p does not use --lanes"),
        (("two", "texts"), "one text at a time, in quotes; got 2"),
        (("a text", "--summary=x"), "explain does not use --summary; it is for: explain --p"),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    result = launch("compress.py", "explain", *arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and message in result.stderr


def test_the_command_keeps_every_byte_of_a_text(tmp_path):
    path = tmp_path / "tokens.json"
    result = launch("compress.py", "explain", "a//b/./c/", "--method=GZip[v=256]", f"--json={path}")
    assert result.returncode == 0, result.stderr
    assert "".join(r["text"] for r in json.loads(path.read_text())) == "a//b/./c/"
    assert "\x1b" not in result.stdout
