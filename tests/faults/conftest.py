"""One small run for all tests of faults, which damage copies of it."""

import json
import pydoc_data.topics
import shutil

import pytest

from configs import language_model
from latent_jax.experiments.run import run


def tiny(folder, **changes):
    """Return the configuration of a run of six steps over bytes, saved at steps 2, 4 and 6."""
    config = language_model.get_config("method=Bytes,size=nano")
    config.update(row_length=32, batch_size=8, evaluation_bytes=500, context_bytes=0)
    config.budget.update(bytes=0.0, tokens=0.0, steps=6.0)
    config.model.update(d_model=16, n_heads=2, n_layers=1, d_ff=0)
    config.optimizer.warmup_steps = 1
    config.data.update(source="files", files=(f"{folder}/text.jsonl",), cache_dir=f"{folder}/cache")
    config.training.update(log_every=1, eval_every=2, save_every=2, keep_latest=3, progress=False)
    config.training.update(changes)
    return config


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A folder with some text."""
    folder = tmp_path_factory.mktemp("text")
    texts = "".join(pydoc_data.topics.topics.values())
    lines = [json.dumps({"text": texts[i : i + 100]}) for i in range(0, 200_000, 100)]
    (folder / "text.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def finished(text, tmp_path_factory):
    """A finished run, which no test changes."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(tiny(text), folder, pictures=False)
    return folder


@pytest.fixture
def workdir(finished, tmp_path):
    """A copy of the run that a test may damage."""
    return shutil.copytree(finished, tmp_path / "run")
