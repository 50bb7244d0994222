"""What the tests of this folder share: whether libtpu is here, and small configs by family."""

import pytest

from configs import language_model, latent_lm, m1
from latent_jax.costs.libtpu import find_libtpu

needs_libtpu = pytest.mark.skipif(
    not find_libtpu(), reason="libtpu, the compiler of TPUs, is not here: launch/test.sh brings it"
)

FAMILIES = {
    "gpt": lambda: language_model.get_config("size=nano"),
    "relative": lambda: relative(language_model.get_config("size=nano")),
    "snippets": lambda: m1.get_config("size=nano,snippets=2,optimizer=adamw"),
    **{
        kind: (lambda kind=kind: latent_lm.get_config(f"size=nano,compressor={kind},codes=64"))
        for kind in ("conv1d", "ssm", "attention_pool", "linear_merge", "sequence_linear")
    },
    "fsq": lambda: latent_lm.get_config("size=nano,quantizer=fsq,codes=64"),
    "hnet": lambda: language_model.get_config("size=nano,method=HNet[n=4]"),
    "pooling": lambda: language_model.get_config("size=nano,method=TokenPooling[n=4]"),
    "continuous": lambda: latent_lm.get_config("size=nano,quantizer=none"),
}
"""One config of every family of programs, as small as the config files have them."""


def relative(config):
    """Return a config with relative positions."""
    config.model.positions = "relative"
    return config


def small(family: str, batch_size: int = 8, row_length: int = 128):
    """Return a config of `FAMILIES` with few short rows."""
    config = FAMILIES[family]()
    config.batch_size, config.row_length = batch_size, row_length
    return config
