"""What thoughts are worth: latent reasoning and its controls at equal FLOPs.

Source      the controls that latent_reasoning.md asks for: Coconut (arXiv 2412.06769), Pause tokens
            (arXiv 2310.02226), and curricula with a learned constant in place of thoughts
Arguments   arms      names of `ARMS`, joined by "+"; empty = all
            flops     training FLOPs of each run
            seeds     seeds of each arm, from 0
            seed      the first one
Commands    python launch/train.py --config configs/reasoning_arms.py --workdir runs/arms
            python launch/report.py runs/arms --results configs/results/reasoning_arms.json
Hardware    2 CPU cores: about 6 minutes for an arm and a seed; the same command resumes
Result      configs/results/latent_reasoning.md
"""

from ml_collections import ConfigDict

from configs.args import parse_args
from configs.latent_reasoning import phase
from latent_jax.nearest import check_word

ARMS = {
    # method, what differs in the section `thoughts`
    "none": ("Thoughts[none]", {"text_weight": 1.0}),
    "pause": ("Thoughts[pause,k=3]", {}),
    "filler": ("Thoughts[filler,k=3]", {}),
    "written": ("Thoughts[written]", {}),
    "latent": ("Thoughts[latent,k=3]", {}),
    "named": ("Thoughts[latent,k=3]", {"named_weight": 1.0}),
    "curriculum": ("Thoughts[latent,k=3]", {"curriculum": 0.8}),
    "jacobi": ("Thoughts[latent,k=3]", {"curriculum": 0.8, "iterations": 3}),
}
"""Arm -> its method and its config keys. The first four need no thoughts, and "written" says what
the thoughts could hold."""


def get_config(arguments: str = "") -> ConfigDict:
    """Return a run for each arm and seed."""
    a = parse_args(arguments, arms="", flops=3e12, seeds=1, seed=0)
    runs = {}
    for arm in a.arms.split("+") if a.arms else ARMS:
        check_word("arm", arm, ARMS)
        for seed in range(a.seed, a.seed + a.seeds):
            method, words = ARMS[arm]
            config = phase(method, operations=3, slots=3, seed=seed)
            config.name = f"{arm}, seed {seed}"
            config.thoughts.update(words)
            config.batch_size = 128
            config.budget.flops = a.flops
            config.optimizer.warmup_steps = 50
            config.training.eval_every = 400
            config.training.save_every = 400
            runs[f"{arm}_{seed}"] = config
    return ConfigDict({"runs": runs})
