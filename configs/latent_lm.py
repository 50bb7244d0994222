"""The latent language model of Fifty 2025, "Language, Entropy, and Language Modeling".

Source      cfifty.github.io/writings/latent_lm.html: 512 bytes a row, dropout 0.05, GPT-2 small
            over the codes, C = 2, learning rate 5e-5, OpenWebText. The blog does not state codebook
            size, beta and optimizer; they were chosen by measurement, see
            configs/results/restoration.md and codebooks.md. configs/fifty.py has all that the blog
            states, for both of its models; here the learning rate and rows follow the size.
Arguments   size        nano, micro, mini, small or base (configs/common.py)
            compressor  conv1d, ssm, attention_pool, linear_merge or sequence_linear
            c           bytes per code
            codes       size of the codebook
            quantizer   vq, rvq, fsq or none
            beta        weight of the language model's loss
Commands    python launch/train.py --config configs/latent_lm.py:size=mini,compressor=ssm,c=4
            python launch/train.py --config configs/latent_lm.py:size=base \\
                --config.data.source=tfds --config.data.tfds_name=c4/en
"""

from configs import common
from configs.args import parse_args

ROW_LENGTH = {"nano": 256, "micro": 256, "mini": 256, "small": 512, "base": 512}
BATCH_SIZE = {"nano": 32, "micro": 32, "mini": 32, "small": 64, "base": 128}
LEARNING_RATE = {"nano": 2e-3, "micro": 2e-3, "mini": 1e-3, "small": 5e-4, "base": 3e-4}
BUDGET_BYTES = {"nano": 8e6, "micro": 16e6, "mini": 64e6, "small": 1e9, "base": 1e10}


def get_config(arguments: str = ""):
    """Return one run."""
    a = parse_args(
        arguments,
        size="micro",
        compressor="conv1d",
        c=2,
        codes=1024,
        quantizer="vq",
        beta=1.0,
    )
    config = common.default()
    common.set_size(config, a.size)
    codes = "" if a.quantizer == "none" else f",k={a.codes}"
    quantizer = "" if a.quantizer == "vq" else f",q={a.quantizer}"
    config.method = f"Latent[{a.compressor},c={a.c}{codes}{quantizer}]"
    config.latent.beta = a.beta
    config.row_length = ROW_LENGTH[a.size]
    config.batch_size = BATCH_SIZE[a.size]
    config.optimizer.learning_rate = LEARNING_RATE[a.size]
    config.budget.bytes = BUDGET_BYTES[a.size]
    if a.size in ("small", "base"):
        config.autoencoder.dropout = config.model.dropout = 0.05
        config.data.num_workers = 4
    return config
