"""M2: the language model over the ids that a method makes of the text.

Source      Lester et al. 2024, "Training LLMs over Neurally Compressed Text" (arXiv 2404.03626),
            sections 3.5 and 3.6, table 4: rows of 512 tokens, batch 256, 200,000 steps (26.2
            billion tokens), z-loss 1e-4, Adafactor, rsqrt decay after 10,000 steps, relative
            positions in every layer, ReLU. The paper does not state the gated feed-forward, but
            only with it do its shapes have the parameter counts of their names (2b is 1.6 billion).
Arguments   method         any literature name. For methods that M1 drives, the rows must have been
                           encoded by launch/prepare.py encode or launch/sweep.py. Latent[...] has
                           an encoder and a decoder of two layers, as wide as M2
            beta           weight of the language model's loss; for Latent[...] only
            lm_gradient    how its gradient reaches the encoder; for Latent[...] only
            size           number of parameters outside of embeddings: 25m, 113m, 403m, 2b and M1's
                           3m as in the paper; 100k, 300k and 1m for a laptop
            budget         UNIT:AMOUNT, see latent_jax/methods/budget.py; empty = the paper's 26.2
                           billion tokens, or 200,000 tokens for the laptop's sizes
            seed           seed of parameters and data
            optimizer      adafactor (the paper's, with rsqrt decay), or adamw (with cosine decay);
                           empty = the paper's, or adamw for the laptop's sizes
            row_length     tokens in a row
            context_bytes  raw bytes of text in a row, in place of row_length; 0 = off
Commands    python launch/train.py --config "configs/m2.py:method=Bytes,size=300k" \\
                --config.data.source=files --config.data.files="('text/*.jsonl.xz',)"
            python launch/train.py --config "configs/m2.py:method=Bytes,size=25m" \\
                --config.data.source=tfds --config.data.tfds_name=c4/en:3.1.0
            python launch/train.py \\
                --config "configs/m2.py:method=EqualInfoAC[b=32,v=65k],size=25m" \\
                --config.window_rule=paper --config.data.source=encoded \\
                --config.data.files="('runs/rows',)"
            python launch/sweep.py laptop
            python launch/sweep.py lester_2024 --dry_run
"""

import math

from configs import common
from configs.args import parse_args
from configs.lester import set_decoder, set_optimizer
from latent_jax.methods import names
from latent_jax.methods.budget import parse, set_in
from latent_jax.methods.registry import family
from latent_jax.nearest import check_word

SHAPES = {
    "100k": dict(d_model=48, n_layers=3, n_heads=3),
    "300k": dict(d_model=80, n_layers=3, n_heads=5),
    "1m": dict(d_model=128, n_layers=4, n_heads=8),
    "3m": dict(d_model=256, n_layers=3, n_heads=4),
    "25m": dict(d_model=512, n_layers=6, n_heads=8),
    "113m": dict(d_model=768, n_layers=12, n_heads=12),
    "403m": dict(d_model=1024, n_layers=24, n_heads=16),
    "2b": dict(d_model=2048, n_layers=24, n_heads=32),
}
"""Feed-forward layers are 4 times as wide as the model. Heads are 64 wide as in the paper, except
for 100k and 300k (16 wide) and 1m (32 wide)."""

LAPTOP_SIZES = ("100k", "300k", "1m")

PAPER_TOKENS = 200_000 * 256 * 512
LAPTOP_TOKENS = 200_000


def get_config(arguments: str = ""):
    """Return one run."""
    a = parse_args(
        arguments,
        method="Bytes",
        size="100k",
        budget="",
        seed=0,
        optimizer="",
        row_length=512,
        context_bytes=0,
        beta=0.1,  # as in configs/compressors.py
        lm_gradient="input",
    )
    check_word("size", a.size, SHAPES)
    laptop = a.size in LAPTOP_SIZES
    optimizer = a.optimizer or ("adamw" if laptop else "adafactor")
    config = common.default()
    config.name = f"{a.method} {a.size}"
    config.method = a.method
    config.seed = a.seed
    config.row_length = a.row_length
    config.context_bytes = a.context_bytes
    config.batch_size = 2 if laptop else 256
    set_decoder(config, SHAPES[a.size])
    if family(names.parse(a.method).family).rotary:
        config.model.positions = "rotary"
    if not family(names.parse(a.method).family).reads_ids:
        width, n_heads = config.model.d_model, config.model.n_heads
        config.autoencoder.update(d_model=width, n_heads=n_heads, n_layers=2)
        config.compressor.ssm_head_dim = math.gcd(64, 2 * width)
        config.latent.update(beta=a.beta, lm_gradient=a.lm_gradient)
    else:
        config.z_loss = 1e-4
    budget = parse(a.budget or f"tokens:{LAPTOP_TOKENS if laptop else PAPER_TOKENS}")
    set_in(config.budget, budget)
    set_optimizer(
        config,
        optimizer,
        warmup_steps=20 if laptop else 10_000,
        adamw_learning_rate=3e-3 if laptop else 1e-3,
    )
    if laptop:
        config.evaluation_bytes = 100_000
        config.training.eval_every = 0
        config.training.save_every = 100
        config.training.keep_latest = 1
        config.training.keep_best = 0
    else:
        config.evaluation_bytes = 5_000_000
        config.training.eval_every = 10_000
        config.training.save_every = 1_000
        config.data.num_workers = 8
    return config
