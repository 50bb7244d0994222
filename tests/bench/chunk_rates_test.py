"""What a model makes of a text, against the steps of generation, and what a byte then costs."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.bench.chunk_rates import at_rates, first_positions, flops_at_rates
from latent_jax.generation.hierarchical_decoder import HierarchicalDecoder
from tests.small_hierarchy import SEPARATOR, TEXT, make_config, variables_of

TEXTS = [TEXT[:13], TEXT[20:31]]
CONFIGS = {
    # With a slack of 1 rows of training overflow; those of generation do not.
    "one stage": make_config(slack=1.0),
    "two stages": make_config(stages=2, widths=(8, 12), width=16, rate=2.0, slack=1.0),
    "stride": make_config("stride", outer="attention", slack=1.0),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_main_network_reads_a_chunk_where_it_is_said(name):
    config = CONFIGS[name]
    variables, decoder = variables_of(config), HierarchicalDecoder(config)
    firsts = first_positions(config, variables, TEXTS, 15)
    assert len(firsts) == len(config.stages) and firsts[0].shape == (2, 15)
    # A chunk of an inner stage begins where chunks of all stages around it do.
    assert all(not (inner & ~outer).any() for outer, inner in itertools.pairwise(firsts))
    step = jax.jit(decoder.read_one)
    cache, counts = config.empty_cache(2, 16), []
    for position in range(12):
        at = position - 1
        ids = [SEPARATOR if at < 0 else text[at] if at < len(text) else 0 for text in TEXTS]
        _, cache = step(variables, jnp.array(ids, jnp.int32), cache, None)
        inner = cache.stage.inner
        while hasattr(inner, "inner"):
            inner = inner.inner
        counts.append(np.asarray(inner.n_read_B))
    np.testing.assert_array_equal(np.stack(counts, axis=1), firsts[-1].cumsum(axis=1)[:, :12])
    assert counts[-1].min() > 1 and counts[-1].max() < 12


def test_padding_begins_no_chunk():
    config = CONFIGS["one stage"]
    (found,) = first_positions(config, variables_of(config), TEXTS, 15)
    assert not found[0, 14:].any() and not found[1, 12:].any()


def test_a_byte_costs_what_its_rate_says():
    config = CONFIGS["two stages"]
    usual = sum(config.forward_flops(24, at_rate=True).values())
    assert flops_at_rates(config, 24, [2.0, 2.0]) == pytest.approx(usual)
    rare, often = flops_at_rates(config, 24, [4.0, 3.0]), flops_at_rates(config, 24, [1.0, 1.0])
    assert rare < usual < often
    assert [stage.chunker.rate for stage in at_rates(config, [4.0, 3.0]).stages] == [4.0, 3.0]
    with pytest.raises(ValueError, match="1 rates for 2 stages"):
        at_rates(config, [4.0])
