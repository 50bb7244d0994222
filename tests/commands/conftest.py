"""A trained reasoner that the tests of several commands analyze."""

import pytest

from configs import latent_reasoning
from latent_jax.experiments.run import run


@pytest.fixture(scope="session")
def reasoner(tmp_path_factory):
    """The folder of a reasoner after two steps."""
    folder = tmp_path_factory.mktemp("reasoner")
    config = latent_reasoning.get_config("steps=2,policy_steps=0,baseline=0,k=2").runs.phase1
    config.model.update(d_model=16, n_heads=2, n_layers=1)
    config.chains.n_problems = 600
    config.data.cache_dir = str(folder / "cache")
    config.batch_size = 8
    config.thoughts.segment = 0  # no solutions are written in training
    config.evaluation_bytes = 200
    config.optimizer.warmup_steps = 1
    config.training.update(eval_every=2, save_every=2)
    run(config, folder / "run")
    return str(folder / "run")
