"""Programs of config files that have several runs."""

import pytest

from configs import blt, language_model
from latent_jax.commands.compile_runs import compile_runs_and_print
from latent_jax.reports.tables import read_table

WORDS = dict(n_devices=1, cuda_chip=None, bytes_per_token=4.0, programs=["evaluation"])


def test_every_run_of_a_config_file_is_lowered_in_turn(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "costs.json"
    config = blt.get_config("baseline=false")
    for run in config.runs.values():
        run.model.update(d_model=16, n_heads=2, d_ff=32)
        run.update(batch_size=2, row_length=32)
    words = "configs/blt.py:baseline=false"
    compile_runs_and_print(config, words, "cuda", json_path=str(path), **WORDS)
    records = read_table(path)
    assert [record["method"] for record in records] == ["Bytes", "BLT[n=4.5]"]
    printed = capsys.readouterr().out
    assert printed.index("Run entropy\n") < printed.index("Run patches\n")
    assert [*tmp_path.iterdir()] == [path], "no run folder is made"
    # Again, it begins a new file unless it adds to the old one.
    compile_runs_and_print(config, words, "cuda", json_path=str(path), append=True, **WORDS)
    assert read_table(path) == records
    assert "has evaluation of BLT[n=4.5]" in capsys.readouterr().out


def test_a_wrong_run_is_named_before_anything_is_lowered():
    config = blt.get_config()
    config.runs.patches.batch_size = -1
    with pytest.raises(ValueError, match=r"^runs\.patches: batch_size"):
        compile_runs_and_print(config, "configs/blt.py", "cuda", **WORDS)
    with pytest.raises(ValueError, match="topology"):
        compile_runs_and_print(language_model.get_config("size=nano"), "a.py", "none", **WORDS)
