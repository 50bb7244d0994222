"""Interleaved latent reasoning on made problems: thoughts at breakpoints, then rewards.

Source      Fifty, "Interleaved latent reasoning" (2025), a post-mortem: its two phases, on chains
            of operations in place of GSM8K
Arguments   steps         optimizer steps of the first phase, supervised
            policy_steps  optimizer steps of the second phase, reinforcement learning; 0 = none
            baseline      optimizer steps of a model without thoughts; 0 = none
            slots         what blocks hold: latent, written, pause, filler or none
            k             slots of a block; 0 = as many as operations between breakpoints
            trunks        1 or 2
            operations    operations between two breakpoints; there are two breakpoints
            curriculum    share of the first phase in which thoughts replace written tokens
            batch         rows of a step of the first phase
            group         solutions of each problem in the second phase
            problems      problems of a step of the second phase
            gradient      how thoughts are trained in the second phase: through, stop, gaussian,
                          dropout or hrpo
            seed          of everything
Commands    python launch/train.py --config configs/latent_reasoning.py --workdir runs/thoughts
            python launch/report.py runs/thoughts --results configs/results/latent_reasoning.json
Hardware    2 CPU cores, see the page
Result      configs/results/latent_reasoning.md
"""

from ml_collections import ConfigDict

from configs import common
from configs.args import parse_args


def get_config(arguments: str = "") -> ConfigDict:
    """Return the runs: both phases."""
    a = parse_args(
        arguments,
        steps=2000,
        policy_steps=60,
        baseline=600,
        slots="latent",
        k=0,
        trunks=1,
        operations=3,
        curriculum=0.8,
        batch=32,
        group=8,
        problems=16,
        gradient="through",
        seed=0,
    )
    k = a.k or a.operations
    options = [a.slots, f"k={k}"] if a.slots in ("latent", "pause", "filler") else [a.slots]
    options += [f"trunks={a.trunks}"] if a.trunks != 1 else []
    method = f"Thoughts[{','.join(options)}]"
    first = phase(method, a.operations, max(k, a.operations), a.seed)
    first.name = f"{method}, supervised"
    first.batch_size = a.batch
    first.budget.steps = a.steps
    first.thoughts.curriculum = a.curriculum if a.slots == "latent" else 0.0
    first.optimizer.warmup_steps = min(50, a.steps - 1)
    first.training.eval_every = max(a.steps // 4, 1)
    first.training.save_every = max(a.steps // 2, 1)
    runs = {"phase1": first}
    if a.baseline:
        none = phase("Thoughts[none]", a.operations, max(k, a.operations), a.seed)
        none.name = "no thoughts"
        none.thoughts.text_weight = 1.0
        none.batch_size = a.batch
        none.budget.steps = a.baseline
        none.optimizer.warmup_steps = min(50, a.baseline - 1)
        none.training.eval_every = none.training.save_every = a.baseline
        runs["none"] = none
    if a.policy_steps:
        second = phase(method, a.operations, max(k, a.operations), a.seed)
        second.name = f"{method}, rewarded"
        second.batch_size = a.problems * a.group
        second.policy.group, second.policy.gradient = a.group, a.gradient
        if a.gradient == "hrpo":  # the first phase had no gate, and trained thoughts without one
            second.policy.gate = 0.1
            second.training.init_patterns = (r"(?!params/thought/gate/).*",)
        second.budget.steps = a.policy_steps
        second.optimizer.learning_rate, second.optimizer.schedule = 1e-4, "constant"
        second.optimizer.warmup_steps = min(5, a.policy_steps - 1)
        second.training.init_from = "run:phase1"
        second.training.eval_every = max(a.policy_steps // 5, 1)
        second.training.save_every = second.training.eval_every
        runs["phase2"] = second
    return ConfigDict({"runs": runs})


def phase(method: str, operations: int, slots: int, seed: int) -> ConfigDict:
    """Return what both phases share."""
    config = common.default()
    config.method = method
    config.seed = seed
    config.data.source = "chains"
    config.chains.n_operations = operations
    config.chains.n_held_out = 1_000 if 2 <= operations <= 7 else 0
    layout = config.thoughts
    layout.text = 20 + 2 * operations  # question, "=d=d", newline, "#### d", end; and some room
    layout.blocks_text = 14
    layout.blocks, layout.slots = 2, slots
    layout.text_weight = 0.0
    config.row_length = layout.text + layout.blocks_text + layout.blocks * layout.slots
    config.model.update(
        d_model=64, n_layers=2, n_heads=4, positions="rotary", norm="rms", use_bias=False
    )
    # Written states are learned late with b2=0.95, and lost in the last stage at a constant rate.
    config.optimizer.learning_rate, config.optimizer.b2 = 2e-3, 0.99
    config.optimizer.schedule, config.optimizer.final_fraction = "cosine", 0.05
    config.optimizer.weight_decay = 0.0
    config.evaluation_bytes = 20_000
    return config
