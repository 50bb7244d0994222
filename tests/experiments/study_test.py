"""Where runs are kept that name no folder."""

from pathlib import Path

import pytest

from latent_jax.experiments.study import default_workdir


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
