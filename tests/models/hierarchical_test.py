"""Hierarchical models: nothing later is read, documents, padding, widths, FLOPs."""

import dataclasses
import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic import routers
from latent_jax.layers.middle import MiddleConfig
from latent_jax.layers.reach import AttentionReach, MambaReach
from latent_jax.models.hierarchical import HierarchicalModel
from tests.small_hierarchy import SEPARATOR, T, make_config, rows, variables_of

CASES = {
    **{kind: make_config(kind) for kind in routers()},
    "overflow": make_config(slack=1.0, rate=6.0),
    "overflow by stride": make_config("stride", slack=1.0, rate=3.0),
    "two stages": make_config(stages=2, widths=(8, 12), width=16, rate=2.0),
    "attention": make_config(outer="attention", window=5),
    "controlled": make_config(control_steps=5),
    "mean": make_config(pooling="mean", way_back="repeat", residual="identity"),
    "cross": make_config(outer="attention", window=5, cross=2, width=16),
    "n-grams": make_config("stride", ngrams=7),
    "mean, two stages": make_config("stride", stages=2, rate=2.0, pooling="mean"),
    "linear": make_config("stride", pooling="linear", way_back="repeat", residual="identity"),
    "up": make_config("stride", outer="attention", up=True, way_back="repeat", residual="identity"),
    "joint": make_config(joint=True, residual="identity"),
    "plain middle": make_config(middle=dict(positions="none"), layers=2),
    "experts": make_config(middle=dict(n_experts=2, n_chosen=1, expert_slack=1.0)),
}
SLOW = (
    "mean, two stages",
    "bernoulli",
    "policy",
    "spikes",
    "taught",
    "linear",
    "plain middle",
    "experts",
    "rise",
    "entropy_rise",
    "n-grams",
    "stride",
    "whitespace",
    "overflow by stride",
    "attention",
    "controlled",
    "mean",
    "joint",
)
"""Whose programs are not compiled in every run: of their routers and networks others are tested."""


def cases(*names):
    """Return the cases as parameters of a test."""
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@functools.partial(jax.jit, static_argnames="config")
def features(config, variables, ids, mask=None):
    return HierarchicalModel(config).apply(variables, ids, mask, method="features")


@functools.partial(jax.jit, static_argnames="config")
def influence(config, variables, ids):
    """Return how the result at each position of a row changes with each embedding, [T, T]."""
    model = HierarchicalModel(config)

    def score(x_TD):
        def run(module):
            row = module._row(ids[None], None, None, config.apart)
            row = row._replace(signal_BT=module.signal(row))
            y_BTD, _ = module.stage(x_TD[None], row)
            return jnp.sum(jnp.sin(3 * y_BTD[0]), axis=-1)

        return model.apply(variables, method=run)

    x_TD = variables["params"]["token_embedding"]["embedding"][ids]
    return jnp.abs(jax.jacobian(score)(x_TD)).max(axis=-1)


@pytest.mark.parametrize("name", cases(*CASES))
def test_nothing_later_is_read_and_everything_before_is(name):
    config, ids = CASES[name], rows()
    variables = variables_of(config)
    reads_TT = np.asarray(influence(config, variables, ids[0]))
    assert (np.triu(reads_TT, 1) == 0).all(), "a position depends on a later one"
    if name not in ("attention", "cross"):  # a window may end before the next chunk begins
        assert (reads_TT[np.tril_indices(T)] > 0).all(), "a position misses an earlier one"
    # The gradient does not see where chunks begin; other bytes later on do.
    x, notes = features(config, variables, ids)
    for at in (9, 14, 20):
        other, _ = features(config, variables, ids.at[:, at:].set(ids[:, at:] // 2 + 3))
        chex.assert_trees_all_close(other[:, :at], x[:, :at], atol=1e-5)
        assert float(jnp.abs(other[:, at:] - x[:, at:]).max()) > 1e-3
    assert (notes.stats["n_overflow_1"] > 0) == name.startswith("overflow")


def test_a_boundary_that_moves_changes_nothing_before_it():
    """At every position: another byte there, which makes or ends a chunk or does neither."""
    config, ids = CASES["cosine"], rows()
    variables = variables_of(config)
    x, notes = features(config, variables, ids)
    counts = set()
    for at in range(1, T):
        other, changed = features(config, variables, ids.at[:, at].set(7 * at % 256))
        chex.assert_trees_all_close(other[:, :at], x[:, :at], atol=1e-5)
        counts.add(float(changed.stats["n_chunks_1"] - notes.stats["n_chunks_1"]))
    assert len(counts) > 1, "no byte moved a boundary"


DOCUMENTS = (
    "cosine",
    "overflow by stride",
    "two stages",
    "attention",
    "mean",
    "cross",
    "linear",
    "up",
)


@pytest.mark.parametrize("name", cases(*DOCUMENTS))
def test_documents_see_each_other_or_do_not(name):
    ids = rows()
    second = 1 + int(np.flatnonzero(ids[0, 1:] == SEPARATOR)[0])
    together = CASES[name]
    apart = dataclasses.replace(together, apart=True)
    variables = variables_of(together)
    reads = np.asarray(influence(together, variables, ids[0]))
    assert reads[second:, :second].max() > 1e-3
    reads = np.asarray(influence(apart, variables, ids[0]))
    # Differences of cumulative sums are rounded by what was summed before.
    assert reads[second:, :second].max() < 1e-5
    if name not in ("attention", "cross"):
        assert reads[np.tril_indices(second)].min() > 0
    x, _ = features(apart, variables, ids)
    other, _ = features(apart, variables, ids.at[0, 2:second].set(66))
    if name != "overflow by stride":  # there an earlier document takes the room of a later one
        chex.assert_trees_all_close(other[0, second:], x[0, second:], atol=1e-5)
        alone, _ = features(apart, variables, jnp.pad(ids[:1, second:], ((0, 1), (0, second))))
        chex.assert_trees_all_close(alone[0, : T - second], x[0, second:], atol=1e-4)


def test_padding_is_inert_and_is_not_counted():
    config, ids = CASES["two stages"], rows()
    variables = variables_of(config)
    mask = jnp.arange(T)[None] < jnp.array([[15], [0]])
    x, notes = features(config, variables, ids, mask)
    other, again = features(config, variables, jnp.where(mask, ids, 77), mask)
    chex.assert_trees_all_close(x[0, :15], other[0, :15], atol=1e-5)
    chex.assert_trees_all_equal(notes.stats, again.stats)
    whole, _ = features(config, variables, ids)
    chex.assert_trees_all_close(x[0, :15], whole[0, :15], atol=1e-5)
    assert 0 < notes.stats["n_chunks_2"] < notes.stats["n_chunks_1"] < 15


def test_one_program_serves_all_texts():
    config, traced = CASES["cosine"], []

    @jax.jit
    def program(variables, ids):
        traced.append(1)
        return HierarchicalModel(config).apply(variables, ids)

    for shift in range(3):
        program(variables_of(config), (rows() + 31 * shift) % 256)
    assert len(traced) == 1


def test_the_residual_begins_at_zero_and_parameters_are_float32():
    config = dataclasses.replace(CASES["two stages"], dtype="float32")
    drawn = jax.jit(HierarchicalModel(config).init)(jax.random.key(0), rows()[:, :4])
    stage = drawn["params"]["stage"]
    for residual in (stage["residual"], stage["inner"]["residual"]):
        np.testing.assert_array_equal(residual["kernel"], 0.0)
    assert stage["pad"].shape == (4,) and stage["inner"]["pad"].shape == (4,)
    assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {jnp.dtype("float32")}


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="width 16 holds a network of width 8: inner networks are"):
        make_config(widths=(16,), width=8)
    stage = make_config(outer="attention").stage
    with pytest.raises(ValueError, match="a decoder of width 16 in a stage of 8"):
        dataclasses.replace(stage, decoder=MambaReach.of(16, 1, 4, "float32"))
    plain = AttentionReach(MiddleConfig.of(stage.outer.stack, positions="none"))
    with pytest.raises(ValueError, match="no way back that attention could be added to"):
        dataclasses.replace(CASES["cross"].stage, up=CASES["up"].stage.up)
    with pytest.raises(ValueError, match="encoder and decoder have positions=none: only a network"):
        dataclasses.replace(stage, outer=plain)
    assert make_config(joint=True).stage.after.reads_chunks and not stage.after.reads_chunks


def test_a_joint_decoder_reads_the_averaged_concept_of_each_position():
    """As the demo of ConceptMoE: with confidences in the stream, and without them in the memory."""
    config, ids = CASES["joint"], rows()
    variables, seen = variables_of(config), {}

    def keep(call, args, kwargs, context):
        result = call(*args, **kwargs)
        name = context.module.name
        if name == "decoder" and context.method_name == "__call__":
            seen["memory"] = kwargs["memory_BTD"]
        if name == "back" or type(context.module).__name__ == "Smooth":
            seen["chunks"] = result[1]
        return result

    with nn.intercept_methods(keep):
        _, notes = HierarchicalModel(config).apply(variables, ids, method="features")
    chunk_of_BT = notes.boundaries[0].cut.chunk_of_BT
    for row in range(2):
        np.testing.assert_array_equal(seen["memory"][row], seen["chunks"][row][chunk_of_BT[row]])
    assert float(jnp.abs(seen["memory"]).max()) > 0.1
    # Documents that do not see each other take nothing of chunks of earlier ones, as in the stream.
    reads = np.asarray(influence(dataclasses.replace(config, apart=True), variables, ids[0]))
    second = 1 + int(np.flatnonzero(ids[0, 1:] == SEPARATOR)[0])
    assert reads[second:, :second].max() < 1e-5


@pytest.mark.parametrize("stages", [1, 2])
def test_flops_agree_with_xla(stages):
    # Wide enough for the element-wise work, which XLA counts too, to weigh little.
    more = dict(joint=True, outer="attention", residual="identity") if stages == 1 else {}
    config = make_config(
        stages=stages, widths=(256,) * stages, width=512, rate=4.0, slack=1.25, layers=1, **more
    )
    ids = jax.ShapeDtypeStruct((2, 256), jnp.int32)
    variables = jax.eval_shape(HierarchicalModel(config).init, jax.random.key(0), ids)
    variables = {"params": variables["params"]}
    lowered = jax.jit(HierarchicalModel(config).apply).lower(variables, ids)
    counted = lowered.cost_analysis()["flops"] / (2 * 256)
    flops = config.forward_flops(256)
    assert sum(flops.values()) == pytest.approx(counted, rel=0.04)
    at_rate = config.forward_flops(256, at_rate=True)
    share = 0.8**stages
    assert 0.6 * share < at_rate["main"] / flops["main"] < share, "less than there is room for"
    assert at_rate["head"] == flops["head"] == 2 * 256 * 257
