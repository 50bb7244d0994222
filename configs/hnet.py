"""H-Net: a model over bytes that cuts them into chunks by itself, beside the plain byte model.

Source      Hwang et al. 2025, "Dynamic Chunking for End-to-End Hierarchical Sequence Modeling"
            (arXiv 2507.07955), sections 2 and 3: Mamba-2 blocks around a transformer with rotary
            positions, gated SiLU and RMS norm; ratio loss 0.03; AdamW. Here a threshold follows the
            rate that is asked for; control=0 is the paper.
Arguments   n         bytes per chunk, such as 4 or 4.5; with more stages, chunks per chunk too;
                      auto = those that cost `flops`
            flops     of n=auto: forward FLOPs per byte of the whole model at that rate
            rate_from, rate_steps
                      bytes per chunk at the first step, and the steps from there to n; 0 = n
                      throughout
            stages    1; 2 to 4 for chunks of chunks
            router    cosine (the paper's), stride, whitespace, policy (learns by reward), or those
                      of other papers: bernoulli, gumbel or spikes
            control   1 or 0; -1 = 1, or 0 for routers that decide by themselves
            size      nano, micro, mini, small or base: width and depth of the network over chunks
            budget    raw bytes of training
            baseline  also train a byte GPT as wide and as deep as all networks of the model
                      together, on the same bytes
            seed      of parameters and data
Commands    python launch/train.py --config configs/hnet.py --workdir runs/hnet
            python launch/train.py --config configs/hnet.py:n=3,stages=2 --workdir runs/hnet2
            python launch/train.py --config configs/hnet.py:router=stride,baseline=false
            python launch/train.py --config configs/hnet.py:n=auto,flops=1.4e6
            python launch/generate.py --workdir runs/hnet/hnet --prompt 'The list '
Hardware    2 CPU cores, minutes at size=nano
Result      configs/results/chunking.md
"""

from ml_collections import ConfigDict

from configs import common
from configs.args import parse_args


def get_config(arguments: str = "") -> ConfigDict:
    """Return the run `hnet`, and `bytes` beside it."""
    a = parse_args(
        arguments,
        n="4",
        flops=0.0,
        rate_from=0.0,
        rate_steps=0,
        stages=1,
        router="cosine",
        control=-1,
        size="nano",
        budget=2_000_000,
        baseline=True,
        seed=0,
    )
    options = [f"n={a.n}"]
    options += [f"stages={a.stages}"] if a.stages != 1 else []
    options += [f"router={a.router}"] if a.router != "cosine" else []
    options += [f"control={a.control}"] if a.control >= 0 else []
    hnet = shared(a, f"HNet[{','.join(options)}]")
    hnet.hierarchy.update(flops_per_byte=a.flops, rate_from=a.rate_from, rate_steps=a.rate_steps)
    runs = {"hnet": hnet}
    if a.baseline:
        runs["bytes"] = shared(a, "Bytes")
        # Two blocks without feed-forward parts, as encoders and decoders have, weigh about one.
        runs["bytes"].model.n_layers += hnet.hierarchy.layers * a.stages
    return ConfigDict({"runs": runs})


def shared(a: ConfigDict, method: str) -> ConfigDict:
    """Return what both runs share."""
    config = common.default()
    common.set_size(config, a.size)
    config.method = method
    config.seed = a.seed
    config.model.update(
        positions="rotary", norm="rms", activation="silu", gated=True, use_bias=False
    )
    config.model.d_ff = 8 * config.model.d_model // 3
    config.budget.bytes = float(a.budget)
    config.evaluation_bytes = 200_000
    config.optimizer.learning_rate = 2e-3
    config.optimizer.warmup_steps = 20
    config.training.eval_every = 100
    config.training.save_every = 200
    return config
