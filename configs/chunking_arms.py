"""One arm of a comparison of what a model should cut bytes into, at equal FLOPs per byte.

Source      the comparisons of H-Net (arXiv 2507.07955, table 2) and of the Byte Latent Transformer
            (arXiv 2412.09871, table 1): equal raw bytes, and equal FLOPs per byte
Arguments   method   any method that reads ids: Bytes, BPE[v=4096], HNet[n=4], BLT[n=4], ...
            size     1m or 25m, FLOPs of a forward pass per byte: the width of the network
                     `model`, and then its feed-forward parts, are as wide as they allow
            budget   UNIT:AMOUNT, see latent_jax/methods/budget.py
            seed     of parameters and data
            entropy  of BLT with a router that reads entropies: the run folder of its entropy model
Commands    python launch/sweep.py chunking_laptop
            python launch/train.py --config "configs/chunking_arms.py:method=HNet[n=4]"
Hardware    2 CPU cores: a core for some minutes; 25m is for one GPU
Result      configs/results/chunking.md
"""

import dataclasses

from ml_collections import ConfigDict

from configs import common
from configs.args import parse_args
from latent_jax.methods.budget import parse as parse_budget
from latent_jax.methods.budget import set_in
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.nearest import check_word


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a size asks for.

    Attributes:
        flops_per_byte: of a forward pass, per raw byte.
        n_layers: of the network `model`.
        n_heads: of its attention.
        d_model: its width where nothing solves it.
        batch_size: rows of a step.
        context_bytes: of a row.
        learning_rate: at its highest.
    """

    flops_per_byte: float
    n_layers: int
    n_heads: int
    d_model: int
    batch_size: int
    context_bytes: int
    learning_rate: float


# Rows of 1m are read one by one: with 4 of them and 3e-3 attention has not got beyond the unigram
# after 250 kB (Bytes 4.52 bits per byte), with 1 and 1e-3 it is at 3.75.
SIZES = {
    "1m": Size(
        flops_per_byte=1e6,
        n_layers=4,
        n_heads=4,
        d_model=64,
        batch_size=1,
        context_bytes=1024,
        learning_rate=1e-3,
    ),
    "25m": Size(
        flops_per_byte=25e6,
        n_layers=8,
        n_heads=6,
        d_model=384,
        batch_size=16,
        context_bytes=2048,
        learning_rate=1e-3,
    ),
}


def get_config(arguments: str = "") -> ConfigDict:
    """Return one run."""
    a = parse_args(
        arguments, method="HNet[n=4]", size="1m", budget="bytes:1000000", seed=0, entropy=""
    )
    check_word("size", a.size, SIZES)
    size = SIZES[a.size]
    config = common.default()
    config.method, config.seed = a.method, a.seed
    config.name = f"{a.method}, seed {a.seed}"
    config.model.update(
        d_model=size.d_model,
        n_heads=size.n_heads,
        n_layers=size.n_layers,
        d_ff=8 * size.d_model // 3,
        positions="rotary",
        norm="rms",
        activation="silu",
        gated=True,
        use_bias=False,
    )
    # Two Mamba-2 blocks, which have no feed-forward part, weigh about one of attention.
    outer = getattr(family(parse(a.method).family), "outer", "attention")
    config.hierarchy.layers = 2 if outer == "mamba" else 1
    config.hierarchy.window = 0
    config.hierarchy.group = 2  # passes of each row, of the router that learns by reward
    config.hierarchy.entropy_model = a.entropy
    set_flops(config, size.flops_per_byte)
    config.context_bytes = size.context_bytes
    config.batch_size = size.batch_size
    set_in(config.budget, parse_budget(a.budget))
    config.evaluation_bytes = 200_000
    config.optimizer.learning_rate = size.learning_rate
    config.optimizer.warmup_steps = 20
    config.training.eval_every = 500
    config.training.save_every = 100
    config.training.keep_latest = 1
    config.data.num_workers = 0
    return config


def set_flops(config: ConfigDict, flops_per_byte: float) -> None:
    """Set forward FLOPs per byte: n=auto solves the chunks for them, and all others the width."""
    if parse(config.method).options.get("n") == "auto":
        config.hierarchy.flops_per_byte = flops_per_byte
    else:
        config.update(inference_flops_per_byte=flops_per_byte, inference_fit="d_ff")
