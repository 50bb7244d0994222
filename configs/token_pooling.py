"""Dynamic token pooling and Hourglass: bytes pooled between boundaries, beside the byte model.

Source      Nawrot et al. 2023, "Efficient Transformers with Dynamic Token Pooling" (arXiv
            2211.09761): the mean of each chunk, a transformer over chunks, repetition beside the
            encoder's result. Nawrot et al. 2021, "Hierarchical Transformers Are More Efficient
            Language Models" (Hourglass, arXiv 2110.13711): every n bytes joined and mapped.
            Blocks are those of configs/hnet.py: rotary positions, gated SiLU and RMS norm, where
            the papers have relative ones, GELU or ReLU, and norms behind the blocks. Here a
            threshold follows the rate that is asked for; control=0 is the paper.
Arguments   family      TokenPooling or Hourglass, whose arguments are n and up
            n           bytes per chunk
            router      gumbel, spikes, bpe, sentencepiece, whitespace or stride
            up          of Hourglass: repeat, or attention to all chunks as well, as in the paper
            v           ids of the tokenizer that teaches, of bpe and sentencepiece; 0 = 4096
            control     1 or 0; -1 = 1, or 0 where boundaries are not learned
            size        nano, micro, mini, small or base: width and depth of the network over chunks
            budget      raw bytes of training
            baseline    also train a byte GPT as wide and as deep as all networks of the model
                        together, on the same bytes
            seed        of parameters and data
Commands    python launch/train.py --config configs/token_pooling.py --workdir runs/pooling
            python launch/train.py --config configs/token_pooling.py:router=spikes,control=0
            python launch/train.py --config configs/token_pooling.py:router=bpe,v=1024,n=4
            python launch/train.py --config configs/token_pooling.py:family=Hourglass,n=3
            python launch/train.py --config configs/token_pooling.py:family=Hourglass,up=attention
            python launch/generate.py --workdir runs/pooling/pooling --prompt 'The list '
Hardware    2 CPU cores, minutes at size=nano
Measured    with an earlier control of the rate; one seed, 49 steps of 8 kB (budget=400000), which
            is too short to compare methods:
            gumbel: 4.30 bits per byte held out; in training 4.08 bytes per chunk by the prior;
            held out 3.1 where 4 was asked for, because the threshold lags behind log-odds that
            still move (it stood 0.12 below where it should; their spread was 0.35).
            bpe,v=1024 (d_model 64, one block on each side): 4.89; held out 3.7 bytes per chunk;
            80 % of the boundaries are the tokenizer's, and 47 % of those of the tokenizer, which
            are 2.5 bytes apart, are found
"""

from ml_collections import ConfigDict

from configs.args import parse_args
from configs.hnet import shared
from latent_jax.methods.hourglass import Hourglass
from latent_jax.methods.token_pooling import TokenPooling
from latent_jax.nearest import check_word


def get_config(arguments: str = "") -> ConfigDict:
    """Return the run `pooling`, and `bytes` beside it.

    Raises:
        ValueError: a family is given arguments of the other one.
    """
    a = parse_args(
        arguments,
        family="TokenPooling",
        n=4,
        router="gumbel",
        up="repeat",
        v=0,
        control=-1,
        size="nano",
        budget=2_000_000,
        baseline=True,
        seed=0,
    )
    check_word("family", a.family, (TokenPooling.name, Hourglass.name))
    options = [f"router={a.router}"] if a.router != "gumbel" else []
    options += [f"v={a.v}"] if a.v else []
    options += [f"control={a.control}"] if a.control >= 0 else []
    if a.family == Hourglass.name and options:
        raise ValueError(f"Hourglass cuts every n bytes: leave {', '.join(options)} out")
    if a.family == TokenPooling.name and a.up != "repeat":
        raise ValueError(f"up={a.up} is of Hourglass: leave it out, or state family=Hourglass")
    options += [f"up={a.up}"] if a.up != "repeat" else []
    pooling = shared(a, f"{a.family}[{','.join([f'n={a.n}', *options])}]")
    runs = {"pooling": pooling}
    if a.baseline:
        runs["bytes"] = shared(a, "Bytes")
        runs["bytes"].model.n_layers += 2 * pooling.hierarchy.layers
    return ConfigDict({"runs": runs})
