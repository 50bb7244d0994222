import dataclasses

import pytest

from latent_jax.layers.config import TransformerConfig
from latent_jax.platform import Platform

CONFIG = TransformerConfig(vocab_size=11, max_length=8, n_layers=2, d_model=12, n_heads=3)


@pytest.mark.parametrize(
    "words,message",
    [
        ({"activation": "gleu"}, r"unknown activation 'gleu' \(did you mean 'gelu'\?\); known: "),
        ({"remat": "blocks"}, r"unknown remat 'blocks' \(did you mean 'block'\?\)"),
        ({"dtype": "float16"}, r"unknown dtype 'float16' \(did you mean "),
        ({"attention_implementation": "cuddn"}, r"did you mean 'cudnn'\?"),
        ({"n_heads": 5}, r"n_heads must divide d_model: 12 is no multiple of 5"),
        ({"n_layers": 0}, r"n_layers must be at least 1; got 0"),
        ({"scan_unroll": -1}, r"scan_unroll must be at least 0; got -1"),
        ({"norm": "layr"}, r"unknown norm 'layr' \(did you mean 'layer'\?\)"),
        ({"positions": "relativ"}, r"did you mean 'relative'\?"),
        ({"relative_buckets": 6}, r"relative_buckets must be a multiple of 4; got 6"),
        ({"relative_distance": 32}, r"more than relative_buckets=32; got 32"),
        ({"n_kv_heads": 2}, r"n_kv_heads must divide n_heads=3, or be 0 for as many; got 2"),
        ({"n_kv_heads": -1}, r"n_kv_heads must be at least 0; got -1"),
        ({"positions": "rotary", "n_heads": 4}, r"d_model / n_heads must be even; got 3"),
        ({"rope_theta": 1.0}, r"rope_theta must be more than 1; got 1\.0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\); got 1\.0"),
    ],
)
def test_a_word_that_makes_no_network_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **words)


@pytest.mark.parametrize(("kernel", "owner"), [("cudnn", "cuda"), ("splash", "tpu")])
def test_a_kernel_of_another_platform_is_refused(kernel, owner):
    config = dataclasses.replace(CONFIG, attention_implementation=kernel)
    assert config.resolved(Platform(owner)).attention_implementation == kernel
    with pytest.raises(ValueError, match=f"'{kernel}' is a kernel of {owner}, .* for cpu: leave"):
        config.resolved(Platform("cpu"))


def test_derived_sizes():
    assert (CONFIG.head_size, CONFIG.hidden_size) == (4, 48)
    assert dataclasses.replace(CONFIG, d_ff=20).hidden_size == 20
