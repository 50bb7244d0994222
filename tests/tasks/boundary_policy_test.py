"""The policy of boundaries: its gradient, its groups, its cost."""

import dataclasses
import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.chunking.dynamic.policy import Policy
from latent_jax.models.hierarchical import HierarchicalModel
from latent_jax.tasks.boundary_policy import BoundaryPolicy, advantages, log_probability, repeated
from latent_jax.tasks.hierarchical_language_modeling import HierarchicalLanguageModeling
from latent_jax.tasks.losses import token_nats
from tests.small_hierarchy import make_config

CONFIG = make_config("policy", outer="attention")
TASK = BoundaryPolicy(CONFIG, row_length=6, bytes_per_token=1.0, boundary_weight=0.0, group=2)
IDS = np.frombuffer(b"An owl", np.uint8).astype(np.int32)[None]
SETS = np.array(list(itertools.product([False, True], repeat=5)))
"""All boundaries of a row of 6, of which the first one is always there."""


def batch_of(n_rows):
    ids = np.repeat(IDS, n_rows, axis=0)
    return {
        "ids": jnp.asarray(ids),
        "weights": jnp.ones(ids.shape, jnp.float32),
        "n_bytes": jnp.full(n_rows, 6, jnp.int32),
    }


@pytest.fixture(scope="module")
def variables():
    return jax.jit(TASK.init)(jax.random.key(3), batch_of(1))


def router_of(params):
    return params["stage"]["chunker"]["router"]


def with_router(variables, router):
    params = variables["params"]
    chunker = {**params["stage"]["chunker"], "router": router}
    return {"params": {**params, "stage": {**params["stage"], "chunker": chunker}}}


@pytest.fixture(scope="module")
def exact(variables):
    """The gradient of the expected nats per byte, over positions, from all sets of boundaries."""
    batch = batch_of(len(SETS))

    def expected(router):
        drawn = with_router(variables, router)
        x_BTD, notes = TASK._features(drawn, batch, train=True, rngs={"boundaries": KEY})
        logits = HierarchicalModel(CONFIG).apply(drawn, x_BTD, method="logits")
        nats_B = jax.lax.stop_gradient(token_nats(logits, batch["ids"]).sum(axis=1))
        (stage,) = notes.boundaries
        p_B = jnp.exp(log_probability(stage))
        return jnp.sum(p_B * nats_B) / 6.0 / 6.0, (p_B, stage.cut.is_first_BT)

    with pytest.MonkeyPatch.context() as patch:
        first = jnp.ones((len(SETS), 1), bool)
        every = jnp.concatenate([first, jnp.asarray(SETS)], axis=1)
        patch.setattr(Policy, "draw", lambda self, p, key: (every, every.astype(jnp.float32)))
        router = router_of(variables["params"])
        gradient, (p_B, sets) = jax.jit(jax.grad(expected, has_aux=True))(router)
    np.testing.assert_array_equal(sets[:, 1:], SETS)
    assert p_B.sum() == pytest.approx(1.0, abs=1e-5)
    return np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])


KEY = jax.random.key(7)


@functools.partial(jax.jit, static_argnames=("task", "n_rows"))
def sampled(task, variables, key, n_rows):
    """Return the gradient of the whole loss by the router, a vector."""

    def loss(router):
        return task.loss(with_router(variables, router), batch_of(n_rows), key, 0, True)[0]

    gradient = jax.grad(loss)(router_of(variables["params"]))
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])


@pytest.mark.parametrize("group", [2, 5])
def test_the_sampled_gradient_is_the_exact_one_in_the_mean(variables, exact, group):
    task = dataclasses.replace(TASK, group=group)
    found = np.stack(
        [sampled(task, variables, jax.random.key(i), 512) for i in range(20 if group < 5 else 12)]
    )
    error = found.std(axis=0, ddof=1) / len(found) ** 0.5
    assert (np.abs(found.mean(axis=0) - exact) <= 6.0 * error + 1e-9).all()
    # It is far from zero, and from what another factor would give.
    size = np.linalg.norm(exact)
    distance = np.linalg.norm(found.mean(axis=0) - exact)
    assert distance < 0.25 * size and np.linalg.norm(error) < 0.25 * size


@functools.partial(jax.jit, static_argnames=("task", "train"))
def loss_of(task, variables, batch, train=True):
    return task.loss(variables, batch, KEY, 0, train)


def test_no_gradient_reaches_the_router_through_chunks(variables):
    task = dataclasses.replace(TASK, policy_weight=0.0)
    assert not np.any(sampled(task, variables, KEY, 4))
    assert np.any(sampled(TASK, variables, KEY, 4))


def test_an_advantage_is_over_the_others_of_a_group():
    reward = jnp.array([1.0, 3.0, 0.0, 0.0, 9.0, 6.0, 3.0, 6.0])
    centred = np.asarray(advantages(reward, 4, "centred"))
    np.testing.assert_allclose(centred[:4], [0.0, 8 / 3, -4 / 3, -4 / 3], atol=1e-6)
    np.testing.assert_allclose(centred[4:], [4.0, 0.0, -4.0, 0.0], atol=1e-6)
    scaled = np.asarray(advantages(reward, 4, "scaled")).reshape(2, 4)
    np.testing.assert_allclose(scaled.mean(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=1), 1.0, rtol=1e-6)
    assert not advantages(jnp.ones(4), 4, "scaled").any()
    np.testing.assert_array_equal(repeated(jnp.arange(3), 2), [0, 0, 1, 1, 2, 2])


def test_what_has_no_room_has_no_probability(variables):
    """Of a row that is full behind two chunks, only what fills it counts."""
    read = jax.jit(lambda variables: TASK._features(variables, batch_of(1))[1].boundaries)
    (stage,) = read(variables)
    is_first = jnp.array([[True, False, True, False, False, False]])
    cut = stage.cut._replace(is_first_BT=is_first, first_BK=jnp.array([[0, 2]]))
    p = np.asarray(stage.p_BT[0])
    expected = np.log1p(-p[1]) + np.log(p[2])
    found = log_probability(stage._replace(cut=cut))
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-5)
    roomy = cut._replace(first_BK=jnp.array([[0, 2, 0]]))
    expected += np.log1p(-p[3:]).sum()
    assert float(log_probability(stage._replace(cut=roomy))[0]) == pytest.approx(float(expected))


def test_all_passes_cost_and_one_is_scored(variables):
    plain = HierarchicalLanguageModeling(CONFIG, row_length=6, bytes_per_token=1.0)
    assert TASK.train_flops({"bytes": 7.0}) == 2.0 * plain.train_flops({"bytes": 7.0})
    assert TASK.flops_per_byte == plain.flops_per_byte and TASK.amounts == plain.amounts
    lengths = [length for _, length in plain.stacks]
    assert [length for _, length in TASK.stacks] == [2 * length for length in lengths] != []
    evaluated, (scores, state) = loss_of(TASK, variables, batch_of(4), train=False)
    trained, (drawn, _) = loss_of(TASK, variables, batch_of(4))
    assert drawn["weight"] == scores["weight"] == 24 and drawn["n_bytes"] == 24 and not state
    assert drawn["nats"] / 24 == pytest.approx(float(trained), rel=0.2)
    assert scores["nats"] / 24 == pytest.approx(float(evaluated), rel=1e-6)
    assert scores["n_chunks_1"] % 4 == 0, "nothing is drawn outside of training"
    chex.assert_trees_all_equal_structs(drawn, scores)


@pytest.mark.parametrize("head", ["blocks", "fused"])
def test_other_heads_have_the_same_loss(variables, head):
    task = dataclasses.replace(TASK, z_loss=0.1)
    expected = loss_of(task, variables, batch_of(2))[0]
    found = loss_of(dataclasses.replace(task, head=head), variables, batch_of(2))[0]
    assert found == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(group=1), "group must be at least 2: passes are compared; got 1"),
        (dict(advantage="scald"), "unknown advantage 'scald' .did you mean 'scaled'"),
        (dict(policy_weight=-1.0), "policy_weight must be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TASK, **words)
