"""What the tests of this folder share: whether libtpu is here, and small configs by family."""

import pytest

from configs import language_model, latent_lm, m1
from latent_jax.costs.libtpu import find_libtpu
from latent_jax.methods.entropy_network import describe_network

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
    **{
        name: (lambda method=method: language_model.get_config(f"size=nano,method={method}"))
        for name, method in {
            "hnet": "HNet[n=4]",
            "stages": "HNet[n=2,stages=2]",
            "pooling": "TokenPooling[n=4]",
            "hourglass": "Hourglass[n=4,up=attention]",
            "concept": "ConceptMoE[n=1.5,v=512,experts=2]",
            "synergy": "Synergy[n=4]",
        }.items()
    },
    "blt": lambda: patched(language_model.get_config("size=nano,method=BLT[n=4]")),
    "continuous": lambda: latent_lm.get_config("size=nano,quantizer=none"),
}
"""One config of every family of programs, as small as the config files have them."""


def relative(config):
    """Return a config with relative positions."""
    config.model.positions = "relative"
    return config


def patched(config):
    """Return a config whose chunks follow the entropies of a small model of bytes."""
    entropies = language_model.get_config("size=nano")
    entropies.model.update(n_layers=1, positions="rotary")
    config.hierarchy.entropy_network = describe_network(entropies)
    return config


def small(family: str, batch_size: int = 8, row_length: int = 128):
    """Return a config of `FAMILIES` with few short rows."""
    config = FAMILIES[family]()
    config.batch_size, config.row_length = batch_size, row_length
    return config
