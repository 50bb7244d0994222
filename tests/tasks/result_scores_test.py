"""Results, scored a few places at a time, against all logits at once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.trunks import Trunks
from latent_jax.tasks import result_scores
from latent_jax.tasks.latent_reasoning import LatentReasoning
from latent_jax.tasks.losses import token_nats
from latent_jax.tasks.result_scores import likeliest, logits, of_next_row
from tests.small_reasoner import THINKER, moved_variables, small_batch

TASK = LatentReasoning(THINKER, 0.3)


def trunks():
    return Trunks(THINKER.config, moved_variables(TASK)["params"])


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_places_that_are_asked_for_are_those_of_all_logits(monkeypatch, share):
    monkeypatch.setattr(result_scores, "CHUNK", 4)
    rng = np.random.default_rng(0)
    x_BND = jnp.asarray(rng.normal(size=(3, 14, 16)).astype(np.float32))
    ids_BN = jnp.asarray(rng.integers(0, 257, (3, 14)).astype(np.int32))
    is_asked_BN = jnp.asarray(rng.random((3, 14)) < share)
    known = trunks()
    nats_BN, said_BN = jax.jit(lambda *x: likeliest(known, *x))(x_BND, ids_BN, is_asked_BN)
    whole_BNV = logits(known, x_BND)
    expected = np.where(is_asked_BN, token_nats(whole_BNV, ids_BN), 0.0)
    np.testing.assert_allclose(nats_BN, expected, rtol=1e-5)
    np.testing.assert_array_equal(said_BN, np.where(is_asked_BN, whole_BNV.argmax(-1), -1))


def test_no_array_holds_the_logits_of_all_places(monkeypatch):
    monkeypatch.setattr(result_scores, "CHUNK", 4)
    shapes = [
        jax.ShapeDtypeStruct((3, 14, *rest), kind)
        for rest, kind in (((16,), jnp.float32), ((), jnp.int32), ((), bool))
    ]
    known = trunks()
    text = str(jax.make_jaxpr(lambda *x: likeliest(known, *x))(*shapes))
    assert "f32[3,4,257]" in text and "f32[3,14,257]" not in text


def test_a_head_in_blocks_gives_the_same_scores():
    batch = small_batch()
    found = []
    for head in ("whole", "blocks"):
        task = dataclasses.replace(TASK, head=head)
        sums = jax.device_get(jax.jit(task.evaluate)(moved_variables(TASK), batch))
        found.append(task.summarize(sums))
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    lost = [found[0][f"right_share_own_{j}"] - found[0][f"right_share_swapped_{j}"] for j in (1, 2)]
    assert found[0]["lost_right_share"] == pytest.approx(np.mean(lost))


def test_a_row_alone_says_nothing_of_thoughts_that_are_exchanged():
    # Its next row is itself: its thoughts would seem to be of no use.
    batch = {name: x[:1] for name, x in small_batch().items()}
    names = jax.eval_shape(TASK.evaluate, moved_variables(TASK), batch).keys()
    assert "result_nats_with" in names and "result_nats_swapped" not in names
    metrics = TASK.summarize({name: np.ones(()) for name in names})
    assert "result_nats_per_token_with" in metrics and "use_nats_per_token" not in metrics


def test_the_next_row_lends_its_thoughts_where_it_has_a_block():
    v_BJKD = jnp.arange(6.0).reshape(3, 1, 2, 1)
    n_BJ, opens_BJ = jnp.array([[2], [1], [2]]), jnp.array([[4], [3], [0]])
    lent_BJKD, n_lent_BJ, is_paired_BJ = of_next_row(v_BJKD, n_BJ, opens_BJ)
    np.testing.assert_array_equal(lent_BJKD[:, 0, 0, 0], [2, 4, 0])
    assert n_lent_BJ.tolist() == [[1], [1], [2]]
    assert is_paired_BJ.tolist() == [[True], [False], [False]]
