"""Where runs are kept that name no folder, and what is said of one run of several."""

import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import blt, hnet, latent_reasoning
from latent_jax.experiments.study import (
    _settle_init_from,
    default_workdir,
    run_config,
    settled_runs,
)


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("configs/quickstart.py", "quickstart"),
        ("configs/latent_lm.py:compressor=ssm,c=4", "latent_lm-compressor=ssm,c=4"),
        ("configs/language_model.py:method=BPE[v=4096]", "language_model-method=BPE_v=4096_"),
        ("configs/compressors.py:files=../text/*.jsonl.xz", "compressors-files=.._text_.jsonl.xz"),
    ],
)
def test_a_run_folder_is_named_after_config_and_arguments(config, folder):
    assert default_workdir(config) == Path("runs") / folder


def test_an_error_of_one_run_of_several_names_it_and_its_keys(tmp_path):
    config = latent_reasoning.get_config("steps=20,policy_steps=2,baseline=0")
    config.runs.phase2.optimizer.warmup_steps = 2
    out = "--config.runs.phase2.optimizer.warmup_steps=0"
    with pytest.raises(ValueError, match=f"^runs.phase2: 2 steps are not more .* such as {out}"):
        run_config(config, tmp_path)
    config.runs.phase2.optimizer.warmup_steps = -1
    with pytest.raises(ValueError, match=r"^runs.phase2: optimizer.warmup_steps must be"):
        run_config(config, tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_runs_are_settled_before_any_is_trained(tmp_path):
    runs = settled_runs(blt.get_config(), tmp_path)
    assert list(runs) == ["bytes", "entropy", "patches"]
    section = runs["patches"].hierarchy
    assert section.entropy_model == str(tmp_path / "entropy") and section.entropy_network
    alone = hnet.get_config("baseline=false").runs.hnet
    assert settled_runs(alone, tmp_path) == {"": alone}
    with pytest.raises(ValueError, match=r"^runs\.hnet: HNet\[n=0\]: '0' is not a positive"):
        settled_runs(hnet.get_config("n=0"), tmp_path)
    assert [*tmp_path.iterdir()] == []


def settled(workdir):
    """Return where the second of two runs in a folder takes its weights from."""
    runs = {name: {"training": {"init_from": ""}} for name in ("phase1", "phase2")}
    runs["phase2"]["training"]["init_from"] = "run:phase1"
    config = ConfigDict({"runs": runs}).runs
    _settle_init_from(config.phase2, config, workdir)
    return config.phase2.training.init_from


def test_a_run_that_has_begun_keeps_its_source_where_its_folder_was_moved(tmp_path):
    assert settled(tmp_path) == str(tmp_path / "phase1")
    config = tmp_path / "phase2" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"training": {"init_from": "runs/before/phase1"}}))
    assert settled(tmp_path) == "runs/before/phase1"
    # What is no folder of that name is another configuration, and is refused as such.
    config.write_text(json.dumps({"training": {"init_from": "runs/before/other"}}))
    assert settled(tmp_path) == str(tmp_path / "phase1")
