"""A study of BLT through the loop: its entropy model is trained first, taken, and kept."""

import json
import pydoc_data.topics
import shutil

import chex
import jax
import numpy as np
import pytest

from configs import blt
from latent_jax.commands.generate import make_writer
from latent_jax.experiments.evaluate import evaluate, load_run
from latent_jax.experiments.run import run
from latent_jax.experiments.study import run_config
from latent_jax.generation import Sampling
from latent_jax.reports.records import read_run


def made(folder, **words):
    config = blt.get_config("n=3,baseline=false")
    for one in config.runs.values():
        one.update(row_length=32, batch_size=8, evaluation_bytes=500)
        one.model.update(d_model=16, n_heads=2, n_layers=1, d_ff=0)
        one.budget.update(bytes=0.0, steps=2.0)
        one.optimizer.warmup_steps = 1
        one.training.update(save_every=1, keep_latest=3, log_every=1, eval_every=0)
        files = (f"{folder}/*.txt",)
        one.data.update(source="files", files=files, cache_dir=f"{folder}/cache")
        one.data.update(validation_percent=20.0, test_percent=0.0)
    config.runs.patches.hierarchy.update(cross=2, ngrams=50)
    config.runs.patches.update_from_flattened_dict(words)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Some text, and the runs of a study of two steps each."""
    folder = tmp_path_factory.mktemp("blt")
    text = "".join(pydoc_data.topics.topics.values())
    for i in range(40):
        (folder / f"{i}.txt").write_text(text[500 * i : 500 * i + 500])
    run_config(made(folder), folder / "study")
    return folder


def test_the_entropy_model_is_taken_and_stays_and_all_else_learns(folder):
    entropy = jax.device_get(load_run(folder / "study" / "entropy", "latest").variables)
    patches = [
        jax.device_get(load_run(folder / "study" / "patches", str(step)).variables)
        for step in (1, 2)
    ]
    for variables in patches:
        chex.assert_trees_all_equal(variables["params"]["entropy_model"], entropy["params"])
    first, second = (variables["params"] for variables in patches)
    for name in first.keys() - {"entropy_model"}:
        # Of a norm's scale, which is 1, the first steps of so small a network may round to none.
        moved = jax.tree.map(
            lambda a, b: a.ndim == 1 or bool(np.any(a != b)), first[name], second[name]
        )
        assert all(jax.tree.leaves(moved)), name
    record = json.loads((folder / "study" / "patches" / "config.json").read_text())
    assert json.loads(record["hierarchy"]["entropy_network"])["d_model"] == 16
    assert record["hierarchy"]["entropy_model"].endswith("study/entropy")
    starts = json.loads((folder / "study" / "patches" / "environment.json").read_text())
    assert "study/entropy" in json.dumps(starts), "where the entropies come from is kept"


def test_a_run_is_read_resumed_and_written_with_without_the_other_folder(folder, tmp_path):
    kept = shutil.copytree(folder / "study" / "patches", tmp_path / "patches")
    before = evaluate(kept)["bits_per_byte"]
    ended = read_run(kept).split("validation")[-1]["bits_per_byte"]
    config = made(folder, **{"hierarchy.entropy_model": str(folder / "study" / "entropy")})
    config = config.runs.patches
    hidden = (folder / "study" / "entropy").rename(folder / "hidden")
    try:
        assert evaluate(kept)["bits_per_byte"] == before
        config.training.restore_step = 1
        again = run(config, kept, pictures=False)
        writer = make_writer(load_run(kept))
        (written,) = writer.write(
            [b"A lambda "], jax.random.split(jax.random.key(0), 1), Sampling(), n_bytes=4
        )
        with pytest.raises(ValueError, match=r"entropy_model=.*study/entropy does not exist"):
            run(config, tmp_path / "new")
    finally:
        hidden.rename(folder / "study" / "entropy")
    assert again["bits_per_byte"] == ended and written.nats > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"hierarchy.entropy_model": ""}, "reads the entropies of a byte model: train one"),
        ({"hierarchy.entropy_model": "run:other"}, "entropy_model=run:other names a run of the"),
        ({"hierarchy.entropy_model": "nowhere"}, "hierarchy.entropy_model=nowhere: nowhere is no"),
    ],
)
def test_what_names_no_run_is_refused(words, message, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        run_config(made(folder, **words), tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_run_whose_width_is_not_known_yet_is_refused(folder, tmp_path):
    config = made(folder)
    config.runs.entropy.context_bytes = 64
    with pytest.raises(ValueError, match="run:entropy: rows or width of that run are solved when"):
        run_config(config, tmp_path / "study")


def test_a_resumed_run_keeps_its_network(folder, tmp_path):
    kept = shutil.copytree(folder / "study" / "patches", tmp_path / "patches")
    source = str(folder / "study" / "entropy")
    words = {"hierarchy.entropy_model": source, "hierarchy.entropy_network": '{"d_model": 8}'}
    with pytest.raises(ValueError, match="entropy_network differs from that of the run folder"):
        run(made(folder, **words).runs.patches, kept)


def test_another_network_than_that_of_the_run_is_refused(folder, tmp_path):
    source = str(folder / "study" / "entropy")
    stated = json.loads((folder / "study" / "patches" / "config.json").read_text())
    other = json.loads(stated["hierarchy"]["entropy_network"]) | {"d_model": 32}
    words = {
        "hierarchy.entropy_model": source,
        "hierarchy.entropy_network": json.dumps(other),
    }
    config = made(folder, **words).runs.patches
    with pytest.raises(ValueError, match=r"params/entropy_model/.* name another run by hierarchy"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
