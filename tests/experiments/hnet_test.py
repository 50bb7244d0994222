"""A hierarchical run, stopped and resumed: thresholds are part of what is kept."""

import pydoc_data.topics

import chex
import jax
import pytest

from configs import hnet
from latent_jax.experiments.evaluate import load_run
from latent_jax.experiments.run import run


@pytest.fixture
def config(tmp_path):
    text = "".join(pydoc_data.topics.topics.values())
    for i in range(40):
        (tmp_path / f"{i}.txt").write_text(text[500 * i : 500 * i + 500])
    config = hnet.get_config("n=3,baseline=false").runs.hnet
    config.update(row_length=32, batch_size=8, evaluation_bytes=500)
    config.model.update(d_model=16, n_heads=2, n_layers=1, d_ff=0)
    config.hierarchy.layers = 1
    config.budget.update(bytes=0.0, steps=4.0)
    config.optimizer.warmup_steps = 1
    config.training.update(save_every=2, keep_latest=3, log_every=1, eval_every=0)
    files = (f"{tmp_path}/*.txt",)
    config.data.update(source="files", files=files, cache_dir=f"{tmp_path}/cache")
    config.data.update(validation_percent=20.0, test_percent=0.0)
    return config


def test_a_run_that_is_resumed_ends_as_one_that_was_not_stopped(config, tmp_path):
    record = run(config, tmp_path / "run", pictures=False)
    assert record["bytes_per_chunk_1"] > 1 and 0 <= record["overflow_share_1"] < 1
    kept = jax.device_get(load_run(tmp_path / "run", "latest").variables)
    threshold = kept["rate"]["stage"]["chunker"]["threshold"]
    assert threshold["n_steps"] == 4 and threshold["threshold"] != 0
    config.training.restore_step = 2
    again = run(config, tmp_path / "run", pictures=False)
    resumed = jax.device_get(load_run(tmp_path / "run", "latest").variables)
    chex.assert_trees_all_equal(resumed, kept)
    assert again["bits_per_byte"] == record["bits_per_byte"]
