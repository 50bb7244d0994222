"""Every flag of a command with verbs is used by a verb, and refused by the others."""

import dataclasses
import runpy
from dataclasses import fields
from pathlib import Path

import pytest
from absl import flags

import latent_jax.data  # noqa: F401  Grain defines flags of its own, once
from latent_jax.analysis.options import option
from latent_jax.command_verbs import name_cases, option_cases, run_case, run_verbs
from tests.launching import launch

LAUNCH = Path(__file__).parents[1] / "launch"
SCRIPTS = ("analyze.py", "benchmark.py", "compress.py", "evaluate.py", "prepare.py")


@pytest.fixture
def command(defined):
    """Return a list of calls, and cases that note them there."""
    width = flags.DEFINE_integer("test_width", 8, "Of a line.")
    runs = flags.DEFINE_list("test_runs", [], "Folders.")
    out = flags.DEFINE_string("test_out", "", "To write.")
    defined += [width, runs, out]
    calls = []

    def note(name):
        return lambda *arguments, **words: calls.append((name, arguments, words))

    return calls, {
        "draw": (note("draw"), dict(width=width, out=out)),
        "draw --test_runs": (note("draw runs"), dict(runs=runs, out=out)),
        "count": (note("count"), dict(out=out)),
    }


def give(name, value):
    flags.FLAGS[name].value, flags.FLAGS[name].present = value, 1


def test_a_verb_gets_its_flags_and_no_others(command):
    calls, cases = command
    give("test_width", 3)
    run_case("draw", cases)
    assert calls == [("draw", (), {"width": 3, "out": ""})]
    with pytest.raises(ValueError, match=r"^count does not use --test_width; it is for: draw$"):
        run_case("count", cases)


def test_a_flag_can_change_what_a_verb_reads(command):
    calls, cases = command
    give("test_runs", ["a"])
    run_case("draw", cases, "first")
    assert calls == [("draw runs", ("first",), {"runs": ["a"], "out": ""})]
    give("test_width", 8)  # given, though it is the default
    with pytest.raises(ValueError, match=r"^draw --test_runs does not use --test_width; it is for"):
        run_case("draw", cases)


def test_a_flag_that_changes_nothing_may_be_given(command):
    calls, cases = command
    give("test_runs", [])
    run_case("draw", cases)
    assert calls == [("draw", (), {"width": 8, "out": ""})]
    with pytest.raises(ValueError, match=r"^count does not use --test_runs; it is for: draw --t"):
        run_case("count", cases)


def test_help_says_which_verbs_use_a_flag(command):
    _, cases = command
    name_cases(cases)
    help = {name: flags.FLAGS[name].help for name in ("test_width", "test_runs", "test_out")}
    assert help == {
        "test_width": "draw: Of a line.",
        "test_runs": "draw: Folders.",
        "test_out": "To write.",
    }


@dataclasses.dataclass(frozen=True)
class Drawing:
    test_width: int = option(8, "Of a line.", lower_bound=1)
    test_names: tuple[str, ...] = option((), "May be repeated.")
    test_files: tuple[str, ...] = option((), "Between commas.", commas=True)


@dataclasses.dataclass(frozen=True)
class Counting(Drawing):
    test_note: str | None = option(None, "To write.")


def test_options_are_flags_and_come_back(defined):
    before, calls = set(flags.FLAGS), []
    cases = option_cases(lambda *words: calls.append(words), {"draw": Drawing, "count": Counting})
    defined += [flags.FLAGS[name] for name in set(flags.FLAGS) - before]
    assert {flag.name for flag in defined} == {field.name for field in fields(Counting)}
    run_case("draw", cases)
    flags.FLAGS(["x", "--test_names=a,b", "--test_names=c", "--test_files=d,e", "--test_note=f"])
    run_case("count", cases)
    assert calls == [
        ("draw", Drawing()),
        ("count", Counting(8, ("a,b", "c"), ("d", "e"), "f")),
    ]
    with pytest.raises(ValueError, match="draw does not use --test_note; it is for: count"):
        run_case("draw", cases)
    with pytest.raises(flags.IllegalFlagValueError, match="--test_width=0"):
        flags.FLAGS(["x", "--test_width=0"])


def test_one_flag_has_one_meaning(defined):
    @dataclasses.dataclass(frozen=True)
    class Other:
        test_width: int = option(9, "Of a line.", lower_bound=1)

    before = set(flags.FLAGS)
    with pytest.raises(ValueError, match="--test_width of b has another default or help"):
        option_cases(print, {"a": Drawing, "b": Other})
    assert set(flags.FLAGS) == before


@pytest.mark.parametrize(
    ("words", "takes_files", "message"),
    [
        ([], False, "write a verb first: draw, count"),
        (["drow"], False, r"unknown verb 'drow' \(did you mean 'draw'\?\)"),
        (["draw", "x"], False, "unexpected 'x': options are written --name=value"),
        (["draw"], True, "draw needs files"),
    ],
)
def test_words_that_are_wrong(command, monkeypatch, words, takes_files, message):
    calls, cases = command
    monkeypatch.setattr("latent_jax.command_verbs.run_command", lambda main, **_: main(words))
    with pytest.raises(ValueError, match=message):
        run_verbs(cases, takes_files)
    assert not calls


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_flag_is_used(script, defined):
    before = set(flags.FLAGS)
    names = runpy.run_path(str(LAUNCH / script))
    defined += [flags.FLAGS[name] for name in set(flags.FLAGS) - before]
    used = {flag.name for _, words in names["CASES"].values() for flag in words.values()}
    assert used == {flag.name for flag in defined}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("configs/nope.py:size=3", "error: there is no config file configs/nope.py; "),
        ("configs/latent_lm.py --config.modle.x=3", "error: 'modle' Did you mean \"model\""),
    ],
)
def test_a_wrong_config_is_one_line(config, message):
    ended = launch("train.py", "--config", *config.split())
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(message)
