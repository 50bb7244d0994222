"""The key that gives windows the paper's rule, in every config file that reads ids."""

import pytest

from configs import language_model, m2
from latent_jax.methods.names import parse
from latent_jax.methods.settings import check_settings, state_rule
from latent_jax.methods.tokenizers import make_tokenizer
from tests.launching import launch

WINDOWS = [f"EqualInfoAC[b={b},v={v}]" for b in (16, 32, 64, 128) for v in ("256", "65k")]


@pytest.mark.parametrize("method", WINDOWS)
@pytest.mark.parametrize("file", [language_model, m2])
def test_one_key_gives_every_window_the_papers_rule_and_the_name_says_so(file, method):
    config = file.get_config(f"method={method}")
    assert state_rule(config) == {} and parse(config.method)["rule"] in ("exact", "likeliest")
    config.window_rule = "paper"
    with pytest.raises(ValueError, match="window_rule=paper is not the rule of EqualInfoAC"):
        check_settings(config)  # nobody has stated it
    changed = state_rule(config)
    assert config.method == changed["method"] and config.method.endswith(",rule=paper]")
    assert parse(config.method) == parse(method[:-1] + ",rule=paper]")
    if file is m2:
        assert config.name == f"{config.method} 100k"
    check_settings(config)
    assert state_rule(config) == {}, "once is enough"


def test_a_rule_that_is_stated_already_may_be_asked_for_again():
    config = m2.get_config("method=EqualInfoAC[b=32,v=256,rule=paper]")
    config.window_rule = "paper"
    assert state_rule(config) == {}
    check_settings(config)
    # "exact" is the usual rule of these windows: no name states it.
    config = m2.get_config("method=EqualInfoAC[b=32,v=256]")
    config.window_rule = "exact"
    assert state_rule(config) == {} and config.method == "EqualInfoAC[b=32,v=256]"
    check_settings(config)


@pytest.mark.parametrize(
    ("method", "rule", "message"),
    [
        ("Bytes", "paper", "Bytes has no windows: leave it empty"),
        ("AC[v=256]", "paper", "has no windows"),
        ("Latent[conv1d,c=2,k=16]", "paper", "has no windows"),
        ("EqualInfoAC[b=32,v=256,rule=delay]", "paper", "states another rule than window_rule"),
        ("EqualInfoAC[b=16,v=65k,rule=likeliest]", "paper", "states another rule"),
        ("EqualInfoAC[b=32,v=256,reset=never]", "paper", "give reset=every, or rule=exact"),
        ("EqualInfoAC[b=12,v=4k]", "paper", "a byte may cost up to 16 bits under the paper's rule"),
        ("EqualInfoAC[b=32,v=256]", "likeliest", "must be one token of at most 16 bits"),
        ("EqualInfoAC[b=32,v=256]", "papr", "window_rule"),
    ],
)
def test_it_is_refused_where_it_makes_no_sense(method, rule, message):
    config = m2.get_config(f"method={method}")
    config.window_rule = rule
    with pytest.raises(ValueError, match=message):
        state_rule(config)
    assert config.method == method


def test_the_windows_are_then_the_papers():
    text = b"The three currently living species are: African savanna elephants, African forest"
    config = m2.get_config("method=EqualInfoAC[b=16,v=65k]")
    usual = make_tokenizer(parse(config.method), lanes=2)
    config.window_rule = "paper"
    state_rule(config)
    paper = make_tokenizer(parse(config.method), lanes=2)
    assert usual.is_lossless and not paper.is_lossless  # a table of texts, and windows with zeros
    assert usual.flops_per_byte == 0 < paper.flops_per_byte
    assert paper.name == config.method and usual.name != paper.name
    assert usual.encode(text).tolist() != paper.encode(text).tolist()


def test_the_command_line_shows_it():
    words = ("--config=configs/m2.py:method=EqualInfoAC[b=16,v=65k]", "--config.window_rule=paper")
    told = launch("train.py", *words, "--print_config")
    assert told.returncode == 0, told.stderr
    rows = {line.split(" = ")[0]: line for line in told.stdout.splitlines()}
    assert "EqualInfoAC[b=16,v=65536,rule=paper]" in rows["method"]
    assert "command line" in rows["method"] and "Lester et al. 2024" in rows["window_rule"]
    assert "'EqualInfoAC[b=16,v=65536,rule=paper] 100k'" in rows["name"]
    assert "--config.window_rule=paper" in launch("train.py", "--help").stdout
    refused = launch("train.py", "--config=configs/m2.py", words[1], "--print_config")
    assert refused.returncode == 2 and "Bytes has no windows" in refused.stderr
