"""One arm of a comparison of what thoughts hold: latent reasoning on chains, supervised.

Source      the controls that latent_reasoning.md asks for: Coconut (arXiv 2412.06769), Pause tokens
            (arXiv 2310.02226), and curricula with a learned constant in place of thoughts
Arguments   method      Thoughts[none], [pause,k=3], [filler,k=3], [written] or [latent,k=3]
            size        100k, the one size
            budget      UNIT:AMOUNT, see latent_jax/methods/budget.py
            seed        of everything
            curriculum  share of the training in which thoughts replace written tokens
            named       weight of naming the token that each thought stands for
            decoder     weight of decoding the written step from the thoughts (SIM-CoT)
            aligned     weight of being, behind thoughts, as behind the written step (CODI)
            iterations  Jacobi iterations; 0 = one thought after the other
            layout      streams, or inline: blocks read the thoughts of earlier ones
            problems    problems to train on, beside those held out
Commands    python launch/sweep.py reasoning
            python launch/train.py --config "configs/reasoning_arms.py:method=Thoughts[written]"
Hardware    2 CPU cores: a core for 4 minutes
Result      configs/results/latent_reasoning.md
"""

from ml_collections import ConfigDict

from configs.args import parse_args
from configs.latent_reasoning import phase
from latent_jax.methods.budget import parse, set_in
from latent_jax.nearest import check_word


def get_config(arguments: str = "") -> ConfigDict:
    """Return one run."""
    a = parse_args(
        arguments,
        method="Thoughts[latent,k=3]",
        size="100k",
        budget="flops:3e12",
        seed=0,
        curriculum=0.0,
        named=0.0,
        decoder=0.0,
        aligned=0.0,
        iterations=0,
        layout="streams",
        problems=100_000,
    )
    check_word("size", a.size, ("100k",))
    config = phase(a.method, operations=3, slots=3, seed=a.seed)
    config.name = f"{a.method}, seed {a.seed}"
    config.thoughts.update(curriculum=a.curriculum, iterations=a.iterations)
    config.thoughts.update(named_weight=a.named, decoder_weight=a.decoder, align_weight=a.aligned)
    config.thoughts.layout = a.layout
    if a.layout == "inline":
        config.thoughts.longest_step = 9  # "8", newline, "#### 8", end
    config.thoughts.text_weight = 1.0 if a.method == "Thoughts[none]" else 0.0
    # Each seed has permutations and held-out problems of its own, the same ones in all arms.
    config.chains.seed, config.chains.n_problems = a.seed, a.problems
    config.batch_size = 32
    set_in(config.budget, parse(a.budget))
    config.optimizer.warmup_steps = 50
    config.training.eval_every = config.training.save_every = 1_000
    return config
