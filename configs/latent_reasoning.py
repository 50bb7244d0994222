"""Interleaved latent reasoning on made problems: thoughts at the breakpoints of a solution.

Source      Fifty, "Interleaved latent reasoning" (2025), a post-mortem: phase 1
Arguments   method     what blocks hold, such as Thoughts[latent,k=3] or Thoughts[pause,k=3]
            steps      optimizer steps
            curriculum share of the steps in which thoughts replace written tokens; 0 = none
Commands    python launch/train.py --config configs/latent_reasoning.py --workdir runs/thoughts
"""

from ml_collections import ConfigDict

from configs import common
from configs.args import parse_args


def get_config(arguments: str = "") -> ConfigDict:
    """Return one run."""
    a = parse_args(arguments, method="Thoughts[latent,k=3]", steps=1500, curriculum=0.6, seed=0)
    config = common.default()
    config.method = a.method
    config.seed = a.seed
    config.data.source = "chains"
    config.batch_size = 128
    config.thoughts.curriculum = a.curriculum
    layout = config.thoughts
    config.row_length = layout.text + layout.blocks_text + layout.blocks * layout.slots
    config.model.update(
        d_model=64, n_layers=2, n_heads=4, positions="rotary", norm="rms", use_bias=False
    )
    config.budget.steps = a.steps
    config.optimizer.learning_rate = 3e-3
    config.optimizer.warmup_steps = 50
    config.training.eval_every = 250
    config.training.save_every = 500
    config.evaluation_bytes = 20_000
    return config
