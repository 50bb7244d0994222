"""What --print_config says of each key."""

import re

import pytest

from configs import common, latent_lm, quickstart
from configs.print_config import describe_config, print_config, read_comments
from tests.launching import launch

COMMENTS = read_comments()


def rows(config, changed=()):
    """Return key -> (value as it is printed, where it was set, comment)."""
    described = {}
    for words, origin, comment in describe_config(config, changed):
        key, _, value = words.partition(" = ")
        described[key] = (value, origin, comment)
    return described


@pytest.mark.parametrize(
    ("key", "comment"),
    [
        ("batch_size", "rows per optimizer step, all devices"),  # behind the statement
        ("seed", "seed of initial parameters, dropout"),  # within it
        ("method", "A literature name, such as BPE[v=4096]; launch"),  # above it
        ("training.log_every", "steps summed into one training record"),  # of a dataclass
        ("data.files", "files: paths, folders, glob patterns"),
        ("data.source", '"python_docs" (embedded default), "files"'),
        ("optimizer.no_weight_decay", 'regexes searched in "/"-joined paths'),
        ("model.n_heads", "H; must divide `d_model`."),  # from its docstring
        ("autoencoder.remat", "auto | none | dots | block."),
    ],
)
def test_a_comment_is_read_wherever_it_stands(key, comment):
    assert COMMENTS[key].startswith(comment)


def test_every_key_of_a_dataclass_has_a_comment():
    described = rows(common.default())
    sections = ("data.", "model.", "autoencoder.", "optimizer.", "training.", "compressor.")
    bare = [key for key, (*_, text) in described.items() if key.startswith(sections) and not text]
    assert bare == []


def test_where_a_key_was_set():
    config = latent_lm.get_config("size=nano,c=4")
    config.optimizer.b1 = 0.5
    described = rows(config, changed={"optimizer.b1"})
    assert described["optimizer.b1"][:2] == ("0.5", "command line")
    assert described["optimizer.learning_rate"][:2] == ("0.002", "config file")
    assert described["training.log_every"][:2] == ("10", "default")
    assert "Latent[conv1d,c=4,k=1024]" in described["method"][0]


def test_several_runs_have_each_key_once_a_run():
    described = rows(quickstart.get_config(), changed={"runs.bpe.seed"})
    assert described["runs.bpe.seed"][1] == "command line"
    assert described["runs.latent.seed"][1] == "default"
    assert described["runs.bpe.training.log_every"][2] == "steps summed into one training record"


def test_the_command_prints_and_does_not_train(tmp_path):
    ended = launch(
        "train.py",
        "--config=configs/latent_lm.py:size=nano",
        "--config.optimizer.b1=0.5",
        f"--workdir={tmp_path / 'run'}",
        "--print_config",
    )
    assert ended.returncode == 0, ended.stderr
    (line,) = [x for x in ended.stdout.splitlines() if x.startswith("optimizer.b1 = ")]
    assert "command line" in line and line.endswith("0 saves its memory under Adafactor")
    assert not (tmp_path / "run").exists()


def test_it_prints_one_line_for_each_key(capsys):
    print_config(common.default(), ())
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(rows(common.default()))


def test_words_stand_in_place_of_the_constant_that_has_them():
    activations = COMMENTS["model.activation"]
    assert "gelu" in activations and " | " in activations
    assert "pmap | fsdp | tensor" in COMMENTS["training.strategy"]
    hidden = {key: text for key, text in COMMENTS.items() if re.search(r"of `?[A-Z]{4,}", text)}
    assert not hidden
