"""M1: the byte model that drives the arithmetic coder.

Source      Lester et al. 2024, "Training LLMs over Neurally Compressed Text" (arXiv 2404.03626),
            sections 3.2 and 3.5, tables 4 and 12: rows of 1,024 bytes, batch 128, z-loss 1e-4,
            Adafactor, rsqrt decay after 10,000 steps; 2.5 million steps of C4 give 1.457 bits/byte.
            The paper does not state the gated feed-forward, but only with it do its shapes have the
            parameter counts of their names.
Arguments   size       3m: the paper's shape (3 layers of 256, feed-forward 1,024).
                       nano: 2 layers of 192 for a CPU; rows of 512 bytes
            optimizer  adafactor (the paper's, with rsqrt decay) or adamw (with cosine decay)
            snippets   rows whose number is a multiple of this are cut into snippets of 16 bytes, so
                       that M1 learns to predict without context, as at the start of
                       equal-information windows; 0 = no snippets, as in the paper
            windows    folder of a compiled code; snippets begin where its windows begin. shipped =
                       the code in this package; anywhere = consecutive snippets
            quantized  false, or true: the integers of a model file are in the loop, from weights
                       that launch/prepare.py quantize wrote
Commands    python launch/train.py --config configs/m1.py --config.data.source=files \\
                --config.data.files="('enwiki/*.jsonl.xz',)"
            python launch/train.py --config configs/m1.py:size=3m,snippets=0 --workdir runs/m1_3m \\
                --config.data.source=tfds --config.data.tfds_name=c4/en:3.1.0
            python launch/prepare.py m1 --workdir runs/m1_3m --out runs/m1_3m.msgpack
Hardware    size=nano: an hour on 2 CPU cores. size=3m: 6e18 FLOPs, which is accelerators' work; it
            has not been run
"""

from configs import common
from configs.args import parse_args
from configs.lester import set_decoder, set_optimizer
from latent_jax.methods.budget import parse, set_in
from latent_jax.nearest import check_word

SHAPES = {
    "nano": dict(n_layers=2, d_model=192, n_heads=3, d_ff=768),
    "3m": dict(n_layers=3, d_model=256, n_heads=4, d_ff=1024),
}
ROW_LENGTH = {"nano": 512, "3m": 1024}
BATCH_SIZE = {"nano": 16, "3m": 128}
BUDGETS = {"nano": "bytes:50e6", "3m": f"tokens:{2_500_000 * 128 * 1024}"}
WARMUP_STEPS = {"nano": 200, "3m": 10_000}


def get_config(arguments: str = ""):
    """Return one run."""
    a = parse_args(
        arguments,
        size="nano",
        optimizer="adafactor",
        snippets=2,
        windows="shipped",
        quantized=False,
    )
    check_word("size", a.size, SHAPES)
    config = common.default()
    config.method = "Bytes"
    config.row_length = ROW_LENGTH[a.size]
    config.batch_size = BATCH_SIZE[a.size]
    set_in(config.budget, parse(BUDGETS[a.size]))
    set_decoder(config, SHAPES[a.size])
    config.quantized = a.quantized
    config.z_loss = 1e-4
    config.evaluation_bytes = 300_000
    if a.size == "3m":
        config.training.eval_every = 10_000
        config.training.save_every = 1_000
        config.data.num_workers = 8
    config.snippets.every = a.snippets
    config.snippets.length = 16
    config.snippets.windows = "" if a.windows == "anywhere" else a.windows
    set_optimizer(config, a.optimizer, warmup_steps=WARMUP_STEPS[a.size], adamw_learning_rate=3e-3)
    return config
