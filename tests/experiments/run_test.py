import pydoc_data.topics

import pytest

from configs import language_model
from latent_jax.experiments import run as module
from tests.costs.made_traces import write_trace


@pytest.fixture
def config(tmp_path):
    for name in ("if", "while", "with"):
        (tmp_path / f"{name}.txt").write_text(pydoc_data.topics.topics[name])
    config = language_model.get_config("method=Bytes,size=nano")
    config.row_length, config.batch_size, config.training.profile = 16, 8, 3
    config.data.update(source="files", files=(f"{tmp_path}/*.txt",), cache_dir=f"{tmp_path}/cache")
    config.data.update(validation_percent=40.0, test_percent=0.0)
    return config


def test_only_a_trace_of_this_start_is_summed_up(config, tmp_path, monkeypatch, capsys):
    def train_and_trace(*_, run_folder, **__):
        write_trace(run_folder.profile, {"/device:GPU:0": {"Stream #1": [("dot", 0, 4)]}}, 3)
        return {}

    monkeypatch.setattr(module, "train", train_and_trace)
    module.run(config, tmp_path / "run")
    assert "3 steps on 1 device in " in capsys.readouterr().out
    monkeypatch.setattr(module, "train", lambda *_, **__: {})
    module.run(config, tmp_path / "run")
    assert "steps on" not in capsys.readouterr().out
