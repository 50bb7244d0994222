"""Small programs of every family under every strategy, compiled for a slice of four TPUs."""

import re

import jax
import pytest

from latent_jax.costs.lowering import assumed_vocabulary
from latent_jax.costs.records import program_costs
from latent_jax.costs.table import tables
from latent_jax.costs.target import make_target
from latent_jax.data import batch_spec
from latent_jax.methods.solve import solve_shape
from latent_jax.methods.tasks import make_task
from latent_jax.platform import Platform
from latent_jax.training.optimizer import path_name
from tests.costs.targets import needs_libtpu, small

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
    ("hnet", "pmap"),
    ("hnet", "fsdp"),
    ("stages", "fsdp"),
    ("pooling", "pmap"),
    ("hourglass", "fsdp"),
    ("concept", "pmap"),
    ("synergy", "fsdp"),
    ("blt", "pmap"),
)
"""Every family once, and every strategy with a GPT, relative positions or snippets, and latents."""


def costs(family, strategy, programs):
    config = small(family)
    config.training.strategy = strategy
    if strategy == "tensor":
        config.training.model_parallel = 2
    records = program_costs(config, make_target("v5e:2x2"), 1.0, programs)
    print(tables(records))
    return records


def sizes(family):
    """Return bytes of a gradient as devices exchange it, and of parameters with AdamW's moments.

    Gradients of kernels are in bfloat16, others in float32. What is frozen has neither.
    """
    config = small(family)
    vocabulary = assumed_vocabulary(config, 1.0)
    config = solve_shape(config, vocabulary)
    task = make_task(config, vocabulary, Platform("tpu"))
    row = batch_spec(1, config.row_length)
    params = jax.eval_shape(task.init, jax.random.key(0), row)["params"]
    leaves = [(path_name(p), x) for p, x in jax.tree_util.tree_leaves_with_path({"params": params})]
    learned = [(p, x) for p, x in leaves if not any(re.search(f, p) for f in task.frozen)]
    exchanged = sum((2 if path.endswith("kernel") else 4) * x.size for path, x in learned)
    return exchanged, 4 * sum(x.size for _, x in leaves) + 8 * sum(x.size for _, x in learned)


def check(record, strategy, exchanged=None, state_bytes=None):
    """What holds for every small program, whatever its family."""
    assert record["n_devices"] == 4 and record["chip"] == "TPU v5e"
    assert record["fits"] and record["chip_memory_bytes"] == 16 * 2**30
    parts = ("argument_bytes", "own_output_bytes", "temporary_bytes", "code_bytes")
    assert all(record[part] >= 0 for part in parts)
    assert record["peak_bytes"] == sum(map(record.get, parts))
    assert all(record[f"{roof}_bound_ms"] > 0 for roof in ("flops", "memory", "link"))
    # Rows stay on their devices: nothing is exchanged but sums and parts of weights.
    assert not record.get("all_to_all_count")
    if record["program"] == "train" and strategy == "pmap":
        # A gradient of every parameter. The tied table has two, of reading and of the head, and
        # relative positions one for every pair of them.
        assert exchanged < record["all_reduce_bytes"] < 1.5 * exchanged
        assert record["argument_bytes"] > state_bytes
        assert not record.get("all_gather_count"), "every device has every weight"
    if record["program"] == "train" and strategy == "fsdp":
        assert record["all_gather_count"] >= 1, "parameters that are split are gathered"
        assert state_bytes / 4 < record["argument_bytes"] < 0.5 * state_bytes
    if record["program"] == "train" and strategy == "tensor":
        assert state_bytes / 2 < record["argument_bytes"] < state_bytes


@pytest.mark.slow
@pytest.mark.parametrize(("family", "strategy"), PAIRS)
def test_a_train_step_compiles(family, strategy):
    (record,) = costs(family, strategy, ["train"])
    check(record, strategy, *sizes(family))


def test_an_evaluation_step_compiles():
    (record,) = costs("relative", "pmap", ["evaluation"])
    check(record, "pmap")
    assert record["all_reduce_count"] >= 1, "the scores are summed up"


def test_what_does_not_fit_says_so():
    config = small("gpt", batch_size=4)
    config.model.update(n_layers=1, d_model=16_384, n_heads=128)
    (record,) = program_costs(config, make_target("v5e:2x2"), 1.0, ["train"])
    assert record["fits"] is False
    needed = record.get("peak_bytes", record.get("temporary_bytes"))
    assert needed > record["chip_memory_bytes"]
    assert "No compiler" not in tables([record])
