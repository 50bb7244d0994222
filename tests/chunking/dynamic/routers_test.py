"""Routers: what each decides, that none sees what is later, and how one is registered."""

import fractions
import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic import registry
from latent_jax.chunking.dynamic.chunker import ChunkerConfig, DynamicChunker
from latent_jax.chunking.dynamic.parts import Router, Sight
from latent_jax.chunking.dynamic.registry import register, routers
from latent_jax.chunking.dynamic.row import Row, row_of_chunks
from latent_jax.chunking.dynamic.stride import Stride

READ_THE_ONE_BEFORE = ("cosine", "bernoulli", "policy")
"""Routers that compare a position with the one before it."""

TEXT = b"An owl's 2 eyes\xe2\x80\x94 see.\nThen it flew"
IDS = jnp.array([[256, *TEXT[:22], 256, *TEXT[22:]]], jnp.int32)
T, D = IDS.shape[1], 8
STARTS = IDS == 256
X = jax.random.normal(jax.random.key(0), (1, T, D))
SIGNAL = 3.0 * jax.random.uniform(jax.random.key(5), (1, T))


def config(kind, **words):
    return ChunkerConfig(kind=kind, width=D, rate=4.0, **{"slack": 4.0} | words)


def row(mask=None):
    mask = jnp.ones(IDS.shape, bool) if mask is None else mask
    return Row(IDS, STARTS, mask, jnp.cumsum(STARTS, axis=1), jnp.float32(T - 2), SIGNAL)


def chunked(config, x=X, mask=None):
    module = DynamicChunker(config)
    variables = jax.jit(module.init)(jax.random.key(1), X, row())
    return jax.jit(module.apply)(variables, x, row(mask)), variables


@pytest.mark.parametrize("kind", routers())
def test_boundaries_are_where_documents_start_and_not_in_padding(kind):
    mask = (jnp.arange(T) < T - 5)[None]
    (chunks, cut, p, _), variables = chunked(config(kind), 4.0 * X, mask)
    assert bool(variables.get("params")) == routers()[kind].learns
    assert p.dtype == jnp.float32 and ((p >= 0) & (p <= 1)).all()
    assert cut.is_first_BT[0, 0] and cut.is_first_BT[0, 23] and (p[STARTS] == 1).all()
    assert not cut.is_first_BT[0, T - 5 :].any()
    assert chunks.stats["n_chunks"] == cut.is_first_BT.sum() > 2
    inner = row_of_chunks(row(mask), cut)
    n = int(chunks.stats["n_chunks"])
    np.testing.assert_array_equal(inner.ids_BT[0, :n], IDS[0][cut.is_first_BT[0]])
    assert inner.starts_BT.sum() == 2 and inner.n_units == n


@pytest.mark.parametrize("kind", routers())
def test_no_boundary_depends_on_what_is_later(kind):
    (_, _, p, _), variables = chunked(config(kind))
    module = DynamicChunker(config(kind))

    def probabilities(x):
        return module.apply(variables, x[None], row())[2][0]

    reads = np.any(np.asarray(jax.jit(jax.jacobian(probabilities))(X[0])) != 0, axis=-1)
    age = np.arange(T)[:, None] - np.arange(T)[None]
    if routers()[kind].is_soft and not routers()[kind].reads_signal:
        free = ~np.asarray(STARTS[0])
        expected = (age == 0) | ((age == 1) & (kind in READ_THE_ONE_BEFORE))
        expected &= free[:, None]
        np.testing.assert_array_equal(reads, expected)
    else:
        assert not reads.any()
    # Other bytes later on change nothing before them.
    signal = SIGNAL.at[0, 15:].multiply(0.5)
    changed = row()._replace(ids_BT=IDS.at[0, 15:22].set(120), signal_BT=signal)
    other = jax.jit(module.apply)(variables, X, changed)[2]
    np.testing.assert_array_equal(other[0, :15], p[0, :15])


@pytest.mark.parametrize("kind", routers())
@pytest.mark.parametrize("control_steps", [0, 5])
def test_steps_decide_as_the_whole_row(kind, control_steps):
    if control_steps and not routers()[kind].is_soft:
        return
    (_, _, p, _), variables = chunked(config(kind, control_steps=control_steps))
    if control_steps:
        moved = jax.tree.map(lambda leaf: leaf - 0.7, variables["rate"])
        variables = {**variables, "rate": moved}
        whole = DynamicChunker(config(kind, control_steps=5)).apply(variables, X, row())[2]
        assert float(jnp.abs(whole - p).max()) > 0.05
        p = whole
    module = DynamicChunker(config(kind, control_steps=control_steps))
    step = jax.jit(lambda *inputs: module.apply(variables, *inputs, method="step"))
    last = module.config.empty_last(1, "float32")
    for t in range(T):
        found, _, last = step(X[:, t], IDS[:, t], STARTS[:, t], last, SIGNAL[:, t])
        np.testing.assert_allclose(found, p[:, t], atol=1e-6)
    cut = module.apply(variables, X, row())[1]
    expected = module.apply(variables, X, row(), cut, jnp.array([T]), method="last")
    chex.assert_trees_all_equal(last, expected)


@pytest.mark.parametrize("kind", [kind for kind, cls in routers().items() if cls.is_soft])
def test_the_rate_of_evaluation_is_what_the_threshold_holds(kind):
    """Whether boundaries of training are drawn or not, on rows of other draws."""
    module = DynamicChunker(config(kind, control_steps=50))
    shape = (16, 512)
    starts = jnp.zeros(shape, bool).at[:, 0].set(True)
    ids = jnp.where(starts, 256, 65)
    rest = (ids, starts, jnp.ones(shape, bool), None, jnp.float32(ids.size))
    signal = functools.partial(jax.random.uniform, shape=shape)
    params = module.init(jax.random.key(1), X, row())

    @jax.jit
    def train(variables, key):
        def step(state, key):
            x = jax.random.normal(key, (*shape, D))
            words = dict(train=True, mutable=["rate"], rngs={"boundaries": key})
            seen = Row(*rest, signal(key))
            _, state = module.apply({**params, **state}, x, seen, **words)
            return {"rate": state["rate"]}, None

        return jax.lax.scan(step, {"rate": variables["rate"]}, jax.random.split(key, 100))[0]

    state = train(params, jax.random.key(2))

    @jax.jit
    def apply(key):
        x = jax.random.normal(key, (*shape, D))
        return module.apply({**params, **state}, x, Row(*rest, signal(key)))[1].mask_BK.sum()

    n_chunks = sum(int(apply(key)) for key in jax.random.split(jax.random.key(3), 4))
    assert 4 * ids.size / n_chunks == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("kind", routers())
def test_training_differs_from_evaluation_where_boundaries_are_drawn(kind):
    module = DynamicChunker(config(kind))
    variables = module.init(jax.random.key(1), X, row())

    @jax.jit
    def boundaries(key):
        words = dict(train=True, rngs={"boundaries": key})
        return module.apply(variables, X, row(), **words)[1].is_first_BT

    calm = module.apply(variables, X, row())[1].is_first_BT
    drawn = [boundaries(key) for key in jax.random.split(jax.random.key(4), 3)]
    assert all(found[STARTS].all() for found in drawn)
    if routers()[kind].draws:
        assert (drawn[0] != calm).any() and (drawn[0] != drawn[1]).any()
    else:
        assert all((found == calm).all() for found in drawn)


@pytest.mark.parametrize("kind", [kind for kind, cls in routers().items() if cls.learns])
@pytest.mark.parametrize("train", [True, False])
def test_what_follows_teaches_those_that_nothing_else_does(kind, train):
    """A gradient through what poolings and ways back read; the losses of the others read theirs."""
    module, cls = DynamicChunker(config(kind)), routers()[kind]
    variables = module.init(jax.random.key(1), X, row())

    @jax.jit
    def slopes(params):
        def sums(params):
            words = dict(train=train, rngs={"boundaries": jax.random.key(3)})
            _, _, _, read = module.apply({"params": params}, X, row(), **words)
            return jnp.sum(read.p_BT), jnp.sum(read.own_BT)

        size = [jnp.sum(jnp.abs(x)) for x in jax.tree.leaves(jax.jacrev(sums)(params)[0])]
        own = [jnp.sum(jnp.abs(x)) for x in jax.tree.leaves(jax.jacrev(sums)(params)[1])]
        return sum(size), sum(own)

    through, own = slopes(variables["params"])
    assert own > 0 and (through > 0) == (not cls.taught_by and not cls.by_reward)


def test_the_cosine_is_that_of_neighbours_at_first():
    (_, _, p, _), variables = chunked(config("cosine"))
    for kernel in jax.tree.leaves(variables["params"]):
        np.testing.assert_array_equal(kernel, np.eye(D))
    a, b = np.asarray(X[0, 4]), np.asarray(X[0, 5])
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert p[0, 5] == pytest.approx((1 - cosine) / 2, abs=1e-6)
    same = jnp.broadcast_to(X[:, :1], X.shape)
    (_, cut, p, _), _ = chunked(config("cosine"), same)
    np.testing.assert_allclose(p[0][~STARTS[0]], 0.0, atol=1e-6)
    assert cut.mask_BK.sum() == 2


def test_a_vector_of_zeros_has_a_finite_gradient():
    module = DynamicChunker(config("cosine"))
    variables = module.init(jax.random.key(1), X, row())

    def total(x):
        return module.apply(variables, x, row())[2].sum()

    chex.assert_tree_all_finite(jax.grad(total)(jnp.zeros_like(X)))


def test_strides_are_counted_from_the_start_of_each_document():
    (_, cut, _, _), _ = chunked(config("stride"))
    expected = [*range(0, 23, 4), *range(23, T, 4)]
    np.testing.assert_array_equal(np.flatnonzero(cut.is_first_BT[0]), expected)


@pytest.mark.parametrize("rate", [4.5, 4.37, 1.25, 1000.1])
def test_a_stride_of_a_fraction_is_exact_in_long_documents(rate):
    since = np.concatenate([np.arange(50_000), 2_000_000_000 + np.arange(50_000)])
    ids = jnp.zeros((1, len(since)), jnp.int32)
    sight = Sight(None, None, ids, ids, jnp.asarray(since, jnp.int32)[None])
    found = since[np.asarray(jax.jit(Stride(width=D, rate=rate))(sight)[0]) == 1]
    n = fractions.Fraction(str(rate))
    boundaries = (math.ceil(math.ceil(first / n) * n) for first in since.tolist())
    assert found.tolist() == sorted(set(boundaries) & set(since.tolist()))


def test_words_end_at_the_first_byte_that_is_none_of_theirs():
    (_, cut, _, _), _ = chunked(config("whitespace"))
    pieces = np.split(np.asarray(IDS[0]), np.flatnonzero(cut.is_first_BT[0])[1:])
    text = [bytes(piece[piece < 256].astype(np.uint8)) for piece in pieces]
    # The lead byte of a dash is no letter, and its continuation bytes are.
    words = [b"An", b" owl", b"'s", b" 2", b" eyes", b"\xe2\x80\x94", b" see"]
    assert text == [*words, b".\nThen", b" it", b" flew"]


def test_a_router_says_what_it_is():
    with pytest.raises(TypeError, match=r"Half in .*routers_test.py lacks kind, a word, __call__"):
        register(type("Half", (Router,), {"__doc__": "A router."}))
    with pytest.raises(TypeError, match="above a class that extends Router, Pooling or"):
        register(int)
    call = {"__call__": lambda self, sight: None, "__doc__": "Another one.", "kind": "cosine"}
    with pytest.raises(ValueError, match="two routers are called cosine"):
        register(type("Cosine", (Router,), call))
    assert (
        registry._KINDS["router"]["cosine"].__module__.endswith("cosine")
        and "half" not in routers()
    )
    assert next(iter(routers())) == "cosine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(kind="cosin"), "unknown router 'cosin' .did you mean 'cosine'"),
        (dict(kind="stride", control_steps=3), "stride decides by 0 and 1, which no threshold"),
        (dict(kind="cosine", rate=1.0), "rate must be more than 1"),
        (dict(kind="cosine", slack=0.5), "slack must be at least 1"),
    ],
)
def test_what_cannot_be_cut_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        ChunkerConfig(**{"width": D, "rate": 4.0} | words)
