"""What a model should cut bytes into: fixed, taught and learned chunks at equal FLOPs per byte.

Source      H-Net (arXiv 2507.07955), the Byte Latent Transformer (2412.09871), dynamic token
            pooling (2211.09761), Hourglass (2110.13711), ConceptMoE (2601.21420), Synergy
            (2507.12769), SpaceByte (2404.14408) and "You can learn tokenization with RL"
            (2602.13940), beside Bytes, BPE and SentencePiece
Arguments   files    path or glob of text; empty = the embedded default
            bytes    raw bytes that each cell reads
            arms     names of `ARMS`, joined by "+"; empty = all but those of BLT by entropies
            entropy  run folder of a byte model, which adds the arms of BLT by entropies; train it
                     on the same text
            seeds    seeds of the arms in `MAIN`, from 0; all others have seed 0 alone
Commands    python launch/train.py --workdir runs/blt --config \\
                "configs/blt.py:baseline=false,entropy=4000000,files=enwiki_part*.jsonl.xz"
            python launch/sweep.py \\
                "chunking_laptop:files=enwiki_part*.jsonl.xz,entropy=runs/blt/entropy"
            python launch/report.py runs/sweeps/chunking_laptop \\
                --results configs/results/sweep_chunking.json
Hardware    2 CPU cores, within 75 minutes; the same command resumes a stopped one
Result      configs/results/chunking.md
"""

from collections.abc import Collection, Sequence
from typing import Any

from ml_collections import ConfigDict

from configs.args import parse_args
from latent_jax.methods.cells import Sweep
from latent_jax.nearest import check_word

ARMS = {
    "bytes": "Bytes",
    "bpe": "BPE[v=4096]",
    "sentencepiece": "SentencePiece[v=4096]",
    "hnet": "HNet[n=4]",
    "hnet2": "HNet[n=2,stages=2]",
    "stride4": "HNet[n=4,router=stride]",
    "space": "HNet[n=6,router=whitespace]",
    "free": "HNet[n=4,control=0]",
    "concept": "ConceptMoE[n=1.5,v=4096]",
    "synergy": "Synergy[n=4]",
    "placed": "Synergy[n=4,positions=rotary]",
    "stride2": "HNet[n=2,router=stride]",
    "stride8": "HNet[n=8,router=stride]",
    "gumbel": "TokenPooling[n=4]",
    "spikes": "TokenPooling[n=4,router=spikes]",
    "taught": "TokenPooling[n=4,router=bpe]",
    "hourglass": "Hourglass[n=4]",
    "experts": "ConceptMoE[n=1.5,v=4096,experts=4]",
    "auto": "HNet[n=auto]",
    "policy": "HNet[n=4,router=policy]",
    "blt": "BLT[n=4]",
    "rise": "BLT[n=4,router=rise]",
}
"""Name -> method. "free" leaves the rate to the ratio loss, as H-Net's paper does. "placed" is
"synergy" with positions in the middle. "auto" is as wide as `model` is by default, and its n is
solved for the FLOPs at that rate, so that training, which computes all chunks that there is room
for, costs a third more; the width of all others is solved. "policy" reads each row twice."""

BY_ENTROPY = ("blt", "rise")
"""Arms that need an entropy model. It has read bytes beyond those of the arms, and what its
training took is in the record of its own run. It is part of a forward pass and is not trained, so
that training costs these arms less than the others, a quarter less with that of the command."""

MAIN = ("bytes", "bpe", "hnet", "hnet2", "stride4", "space", "free", "concept", "synergy", "placed")
MAIN += ("blt",)
"""Arms of the claims, which have several seeds."""


def get_sweep(arguments: str = "") -> Sweep:
    """Return a cell for each seed and arm.

    Raises:
        ValueError: see `cells_of`.
    """
    a = parse_args(arguments, files="", bytes=500_000, arms="", entropy="", seeds=3)
    arms = a.arms.split("+") if a.arms else [arm for arm in ARMS if a.entropy or _is_free(arm)]
    overrides = {"data.source": "files", "data.files": (a.files,)} if a.files else {}
    cells = cells_of(arms, "1m", a)
    return Sweep(cells=cells, config="configs/chunking_arms.py", overrides=overrides)


def cells_of(
    arms: Sequence[str], size: str, a: ConfigDict, main: Collection[str] = MAIN
) -> list[dict[str, Any]]:
    """Return a cell for each seed and arm; all arms of a seed come before the next seed.

    Args:
        arms: names of `ARMS`.
        size: of configs/chunking_arms.py.
        a: the arguments bytes, seeds and entropy.
        main: arms that have more than one seed.

    Raises:
        ValueError: there is no such arm, or an arm lacks its entropy model.
    """
    for arm in arms:
        check_word("arm", arm, ARMS)
        if not (a.entropy or _is_free(arm)):
            raise ValueError(
                f"the arm {arm} reads the entropies of another model: state entropy=, its folder"
            )
    return [
        {
            "method": ARMS[arm],
            "size": size,
            "budget": f"bytes:{a.bytes}",
            "seed": seed,
            **({} if _is_free(arm) else {"entropy": a.entropy}),
        }
        for seed in range(a.seeds)
        for arm in arms
        if not seed or arm in main
    ]


def _is_free(arm: str) -> bool:
    return arm not in BY_ENTROPY
