"""Where runs are kept that name no folder, and what is said of one run of several."""

from pathlib import Path

import pytest

from configs import latent_reasoning
from latent_jax.experiments.study import default_workdir, run_config


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
    with pytest.raises(ValueError, match="^runs.phase2: optimizer.warmup_steps must be"):
        run_config(config, tmp_path)
    assert [*tmp_path.iterdir()] == []
