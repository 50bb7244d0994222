"""What a run that makes chunks cut of what it wrote. tests/experiments has the command."""

from types import SimpleNamespace

import pytest

from latent_jax.bench.chunk_rates import flops_at_rates
from latent_jax.bench.writing import _cut
from latent_jax.contracts import Written
from latent_jax.generation.written import LENGTH
from tests.small_hierarchy import TEXT, make_config, variables_of

CONFIG = make_config("stride", outer="attention", slack=1.0)  # a chunk of every 3 bytes


def run_of(method="HNet[n=3,router=stride]", config=CONFIG):
    return SimpleNamespace(
        task=SimpleNamespace(model_config=config),
        variables=variables_of(CONFIG),
        config=SimpleNamespace(method=method),
    )


def written(kept, text):
    return Written(kept, kept, text, len(text), 1.0, LENGTH)


def test_lanes_that_cut_at_once_let_the_main_network_rest():
    record = _cut(run_of(), [written(TEXT[:5], TEXT[5:14])] * 2, 9)
    assert record["bytes_per_chunk"] == 3 and record["main_steps_share"] == pytest.approx(1 / 3)
    # Of 15 positions of a lane 5 begin a chunk; 14 bytes are paid for, 9 are new.
    flops = 14 / 9 * flops_at_rates(CONFIG, 14, [3.0])
    assert record["generation_flops_per_byte"] == pytest.approx(flops)


def test_lanes_that_cut_at_different_steps_do_not():
    lanes = [written(TEXT[:5], TEXT[5:14]), written(TEXT[:6], TEXT[6:15])]
    record = _cut(run_of(), lanes, 9)
    assert record["bytes_per_chunk"] == 3 and record["main_steps_share"] == pytest.approx(2 / 3)
    # A lane that has ended counts no longer.
    record = _cut(run_of(), [written(TEXT[:5], TEXT[5:14]), written(TEXT[:6], b"")], 9)
    assert record["main_steps_share"] == pytest.approx(1 / 3)


def test_other_runs_have_no_chunks_of_bytes():
    assert _cut(run_of("Bytes", SimpleNamespace()), [written(b"a", b"b")], 9) == {}
    assert _cut(run_of("ConceptMoE[n=1.5,v=300]"), [written(b"a", b"b")], 9) == {}
