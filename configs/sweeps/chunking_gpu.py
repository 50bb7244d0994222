"""What a model should cut bytes into, at 25 times the FLOPs per byte of the laptop's study.

Source      as configs/sweeps/chunking_laptop.py, whose arms these are
Arguments   files    path or glob of text; empty = the embedded default, which is too short
            bytes    raw bytes that each cell reads
            arms     names of `ARMS` of chunking_laptop, joined by "+"; empty = `COMPARED`
            entropy  run folder of a byte model, which adds BLT by entropies; train it on the same
                     text
            seeds    seeds of each arm, from 0
Commands    python launch/train.py --workdir runs/blt_gpu --config \\
                "configs/blt.py:baseline=false,entropy=12000000,files=enwiki_part*.jsonl.xz"
            python launch/sweep.py \\
                "chunking_gpu:files=enwiki_part*.jsonl.xz,entropy=runs/blt_gpu/entropy"
            python launch/report.py runs/sweeps/chunking_gpu \\
                --results configs/results/sweep_chunking_gpu.json
Hardware    one GPU, planned for ten minutes; the same command resumes a stopped one
"""

from configs.args import parse_args
from configs.sweeps.chunking_laptop import ARMS, cells_of
from latent_jax.methods.cells import Sweep

COMPARED = ("bytes", "bpe", "hnet", "hnet2", "stride4", "space", "concept")
"""Arms of the first claims; a cell takes about a minute, half of which compiles."""


def get_sweep(arguments: str = "") -> Sweep:
    """Return a cell for each seed and arm.

    Raises:
        ValueError: there is no such arm, or an arm lacks its entropy model.
    """
    a = parse_args(arguments, files="", bytes=12_000_000, arms="", entropy="", seeds=1)
    arms = a.arms.split("+") if a.arms else [*COMPARED, *["blt"] * bool(a.entropy)]
    return Sweep(
        cells=cells_of(arms, "25m", a, main=tuple(ARMS)),
        config="configs/chunking_arms.py",
        overrides={"data.source": "files", "data.files": (a.files,)} if a.files else {},
    )
