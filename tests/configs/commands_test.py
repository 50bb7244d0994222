"""The commands on the paper's page and in the docstrings of its configs: each is parsed."""

import functools
import inspect
import itertools
import re
import subprocess

import pytest
from absl import flags
from ml_collections import config_flags

from configs import m1, m2
from configs.sweeps import chinchilla, lester_2024
from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.experiments.study import state_rules
from latent_jax.experiments.sweep.loading import config_of, config_words, load_sweep
from latent_jax.methods.lester_2024 import DATASETS, published
from latent_jax.methods.names import parse
from latent_jax.methods.settings import check_settings
from latent_jax.methods.solve import solve_steps
from latent_jax.methods.tasks import make_task
from tests.launching import ROOT, launch

PAGE = (ROOT / "configs" / "results" / "lester.md").read_text()
TEXTS = [PAGE, *(inspect.getdoc(module) for module in (m1, m2, chinchilla, lester_2024))]


def commands(text):
    """Return the words of every command of a text, as bash reads them."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = re.findall(r"(?m)^\s*(?:Commands\s+)?python (launch/.*)$", joined)
    script = "\n".join(f"printf '%s\\0' {line}; echo" for line in lines)
    read = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return [line.split("\0")[:-1] for line in read.stdout.splitlines()]


ALL = [words for text in TEXTS for words in commands(text)]
TRAINED = [words[1:] for words in ALL if words[0] == "launch/train.py"]
SWEPT = [words[1:] for words in ALL if words[0] == "launch/sweep.py"]
OTHERS = [words for words in ALL if words[0] not in ("launch/train.py", "launch/sweep.py")]


@functools.cache
def flags_of(script):
    told = launch(script.removeprefix("launch/"), "--help").stdout
    return set(re.findall(r"(?m)^\s+--(?:\[no\])?(\w+):", told))


def test_the_paper_s_settings_are_written_down():
    assert len(TRAINED) >= 6 and len(SWEPT) >= 5 and len(OTHERS) >= 3
    written = [" ".join(words) for words in TRAINED]
    assert any("m1.py:size=3m" in line and "c4/en" in line for line in written)
    assert any("m2.py" in line and "c4/en" in line for line in written)
    assert any("window_rule=paper" in line for line in written)


def parsed(words):
    """Return the config of a command of launch/train.py, as its own flags read it."""
    known = flags.FlagValues()
    argv = ["train.py", *words]
    holder = config_flags.DEFINE_config_file(
        "config", None, flag_values=known, lock_config=True, sys_argv=argv
    )
    for name in ("workdir", "extend"):
        flags.DEFINE_string(name, "", "", flag_values=known)
    assert known(argv) == ["train.py"], "words that are no flags"
    return holder.value


@pytest.mark.parametrize("words", TRAINED, ids=" ".join)
def test_a_command_of_training_is_a_run_that_can_be_made(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = parsed(words)
    state_rules(config)
    check_settings(config)
    assert config.window_rule in ("", "paper")
    if config.window_rule:
        assert config.method.endswith(",rule=paper]")
    if config.data.source == "tfds":
        assert config.data.tfds_name == "c4/en:3.1.0"
    vocabulary = assumed_vocabulary(config, 4.0)
    steps, _ = solve_steps(config, make_task(config, vocabulary))
    if "m1.py:size=3m" in " ".join(words):
        assert (steps, config.row_length, config.batch_size) == (2_500_000, 1024, 128)
        assert config.snippets.every == 0 and config.optimizer.name == "adafactor"
        assert (config.optimizer.schedule, config.optimizer.warmup_steps) == ("rsqrt", 10_000)
    elif "m2.py" in " ".join(words) and "size=25m" in " ".join(words):
        assert (steps, config.row_length, config.batch_size) == (200_000, 512, 256)


@pytest.mark.parametrize("words", SWEPT, ids=" ".join)
def test_a_command_of_a_sweep_names_cells_that_can_be_made(words):
    _, sweep = load_sweep(words[0])
    for cell in sweep.cells:
        check_settings(config_of(sweep, config_words(sweep, cell)))


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_every_other_command_has_its_flags(words):
    named = {re.match(r"--(\w+)", word)[1] for word in words if word.startswith("--")}
    assert named and named <= flags_of(words[0]), named - flags_of(words[0])
    said = [flag for flag in words if flag.startswith("--tokenizer=")]
    said += [f"{a}={b}" for a, b in itertools.pairwise(words) if a == "--tokenizer"]
    names = [str(parse(flag.removeprefix("--tokenizer="))) for flag in said]
    assert len(set(names)) == len(names)
    if "--counts" in words:
        assert {published(parse(name)) for name in names} == set(DATASETS)
