"""A GPT over the ids of any tokenizer: the baseline of every other method.

Source      Radford et al. 2019 (GPT-2); size=base is GPT-2 small.
Arguments   method  Bytes, BPE[v=N], SentencePiece[v=N]; with v=256 or v=65k also GZip[v=N],
                    StaticAC[v=N], AC[v=N] and EqualInfoAC[b=16|32|64|128,v=N]. M1 drives AC and
                    EqualInfoAC (except the compiled [b=16,v=65k]), and is too slow to encode during
                    training: encode the text beforehand with launch/prepare.py encode. Also
                    HNet[n=N], whose networks over chunks have rotary positions
            size    nano, micro, mini, small or base: the language models of configs/latent_lm.py
Commands    python launch/train.py --config "configs/language_model.py:method=BPE[v=4096],size=mini"
"""

from configs import common
from configs.args import parse_args
from configs.latent_lm import BATCH_SIZE, BUDGET_BYTES, LEARNING_RATE, ROW_LENGTH
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family


def get_config(arguments: str = ""):
    """Return one run."""
    a = parse_args(arguments, method="Bytes", size="micro")
    config = common.default()
    common.set_size(config, a.size)
    config.method = a.method
    if family(parse(a.method).family).rotary:
        config.model.positions = "rotary"
    config.row_length = ROW_LENGTH[a.size]
    config.batch_size = BATCH_SIZE[a.size]
    config.optimizer.learning_rate = LEARNING_RATE[a.size]
    config.budget.bytes = BUDGET_BYTES[a.size]
    if a.size in ("small", "base"):
        config.model.dropout = 0.05
        config.data.num_workers = 4
    return config
