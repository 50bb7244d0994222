"""Small programs of every family under every strategy, compiled for a slice of four TPUs."""

import math

import pytest

from latent_jax.experiments.aot.records import prove
from latent_jax.experiments.aot.table import tables
from latent_jax.experiments.aot.target import make_target
from tests.experiments.aot.targets import needs_libtpu, small

pytestmark = needs_libtpu

PAIRS = (
    ("gpt", "pmap"),
    ("gpt", "fsdp"),
    ("gpt", "tensor"),
    ("relative", "pmap"),
    ("relative", "tensor"),
    ("snippets", "fsdp"),
    ("conv1d", "pmap"),
    ("conv1d", "fsdp"),
    ("conv1d", "tensor"),
    ("ssm", "tensor"),
    ("attention_pool", "fsdp"),
    ("linear_merge", "pmap"),
    ("sequence_linear", "tensor"),
    ("fsq", "pmap"),
)
"""Every family once, and every strategy with a GPT, relative positions or snippets, and latents."""


def proof(family, strategy, programs):
    config = small(family)
    config.training.strategy = strategy
    if strategy == "tensor":
        config.training.model_parallel = 2
    records = prove(config, make_target("v5e:2x2"), 1.0, programs)
    print(tables(records))
    return records


def check(record, strategy):
    assert record["n_devices"] == 4 and record["chip"] == "TPU v5e"
    assert record["fits"] and record["chip_memory_bytes"] == 16 * 2**30
    parts = ("argument_bytes", "output_bytes", "temporary_bytes", "code_bytes")
    assert all(record[part] >= 0 for part in parts)
    assert record["argument_bytes"] > 0
    assert record["peak_bytes"] == sum(map(record.get, parts)) - record["shared_bytes"]
    assert all(math.isfinite(record[f"{roof}_bound_ms"]) for roof in ("flops", "memory", "link"))
    # A batch that is split is summed up at the end, whatever the strategy.
    assert record["all_reduce_count"] >= 1 and record["link_bytes"] > 0
    if strategy == "fsdp":
        assert record["all_gather_count"] >= 1, "parameters that are split are gathered"
    # A device holds at least its share of the parameters.
    share = {"pmap": 1.0, "fsdp": 1 / 4, "tensor": 1 / 2}[strategy]
    assert record["argument_bytes"] > share * 4 * record["n_parameters"]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "strategy"), PAIRS)
def test_a_train_step_compiles(family, strategy):
    (record,) = proof(family, strategy, ["train"])
    check(record, strategy)


def test_an_evaluation_step_compiles():
    (record,) = proof("relative", "pmap", ["evaluation"])
    check(record, "pmap")


def test_what_does_not_fit_says_so():
    config = small("gpt", batch_size=4)
    config.model.update(n_layers=1, d_model=16_384, n_heads=128)
    (record,) = prove(config, make_target("v5e:2x2"), 1.0, ["train"])
    assert record["fits"] is False
    needed = record.get("peak_bytes", record.get("temporary_bytes"))
    assert needed > record["chip_memory_bytes"]
    assert "No compiler" not in tables([record])
