"""The VQ module against a readable NumPy reference, and what may and may not change its state."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.quantizers import QuantizerConfig, make_quantizer
from tests.compiled import apply, init

B, K, D, V = 3, 16, 12, 8
KEY = jax.random.key(7)
PLAIN = {
    "code_dim": 0,
    "metric": "euclidean",
    "gradient": "straight_through",
    "kmeans_iterations": 0,
    "restart_threshold": 0.0,
}


def _setup(**words):
    module = make_quantizer(QuantizerConfig(codebook_size=V, d_model=D, **words))
    z_BKD = jax.random.normal(jax.random.key(0), (B, K, D))
    mask_BK = jnp.arange(K)[None] < jnp.array([K, 5, 9])[:, None]
    return module, init(module, jax.random.key(1), z_BKD, mask_BK), z_BKD, mask_BK


@functools.partial(jax.jit, static_argnums=0)
def _step(module, variables, z_BKD, mask_BK, key=KEY):
    """One training call: (quantized, variables with the new state)."""
    quantized, state = module.apply(
        variables, z_BKD, mask_BK, train=True, rngs={"quantizer": key}, mutable=["codebook"]
    )
    return quantized, {**variables, **state}


def _with_spread_codes(variables):
    """Codes far apart, so that several of them are chosen."""
    codes = jax.random.normal(jax.random.key(5), variables["codebook"]["codes"].shape)
    return {**variables, "codebook": {**variables["codebook"], "codes": codes}}


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_training_steps_equal_a_numpy_reference(metric):
    decay, weight = 0.8, 0.4
    module, variables, z_BKD, mask_BK = _setup(
        **{**PLAIN, "metric": metric}, ema_decay=decay, commitment_weight=weight
    )
    variables = _with_spread_codes(variables)

    def normalize(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True) if metric == "cosine" else x

    codes = np.array(variables["codebook"]["codes"], np.float64)
    if metric == "cosine":
        codes = normalize(codes)
        variables["codebook"]["codes"] = jnp.asarray(codes, jnp.float32)
    mask = np.array(mask_BK).reshape(-1)
    usage = np.full(V, mask.sum() / V)
    for step in range(3):
        z_BKD = jax.random.normal(jax.random.key(step), (B, K, D))
        quantized, variables = _step(module, variables, z_BKD, mask_BK)

        z = normalize(np.array(z_BKD, np.float64).reshape(-1, D))
        chosen = np.array([np.argmin([np.sum((row - c) ** 2) for c in codes]) for row in z])
        errors = np.sum((z - codes[chosen]) ** 2, axis=-1)[mask]
        np.testing.assert_array_equal(quantized.codes_BK.reshape(-1), chosen)
        np.testing.assert_allclose(quantized.z_q_BKD.reshape(-1, D), codes[chosen], atol=1e-5)
        np.testing.assert_allclose(quantized.aux_loss, weight * errors.mean(), rtol=1e-4)
        np.testing.assert_allclose(
            quantized.stats["quantization_error_sum"], errors.sum(), rtol=1e-4
        )
        counts = np.bincount(chosen[mask], minlength=V)
        np.testing.assert_array_equal(quantized.stats["code_counts"], counts)
        assert len(np.unique(chosen)) > 2

        for v in range(V):
            rows = z[mask & (chosen == v)]
            total = decay * usage[v] * codes[v] + (1 - decay) * rows.sum(axis=0)
            usage[v] = decay * usage[v] + (1 - decay) * len(rows)
            codes[v] = normalize(total / usage[v])
        np.testing.assert_allclose(variables["codebook"]["codes"], codes, atol=1e-5)
        np.testing.assert_allclose(variables["codebook"]["usage"], usage, rtol=1e-5)


def test_a_learned_codebook_gets_the_codebook_loss_and_ema_does_not():
    gradients = {}
    for update in ("learned", "ema"):
        module, variables, z_BKD, mask_BK = _setup(
            **PLAIN, codebook_update=update, commitment_weight=0.0
        )
        variables = _with_spread_codes(variables)
        params = variables.pop("params", {})

        def loss(params, module=module, variables=variables, z_BKD=z_BKD, mask_BK=mask_BK):
            return apply(module, {"params": params, **variables}, z_BKD, mask_BK).aux_loss

        value, gradients[update] = jax.jit(jax.value_and_grad(loss))(params)
        assert (value > 0) == (update == "learned")
    assert gradients["ema"] == {}
    codes = variables["codebook"]["codes"]
    chosen = apply(module, variables, z_BKD, mask_BK).codes_BK
    z, chosen, mask = z_BKD.reshape(-1, D), chosen.reshape(-1), np.array(mask_BK).reshape(-1)
    expected = np.zeros((V, D))
    for n in np.flatnonzero(mask):
        expected[chosen[n]] += 2 * np.array(codes[chosen[n]] - z[n]) / mask.sum()
    np.testing.assert_allclose(gradients["learned"]["offsets"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("update", "metric", "code_dim"),
    [("ema", "cosine", 4), ("ema", "euclidean", 0), ("learned", "cosine", 0)]
    + [("learned", "euclidean", 4)],
)
def test_lookup_gives_what_the_call_gave(update, metric, code_dim):
    module, variables, z_BKD, mask_BK = _setup(
        codebook_update=update, metric=metric, code_dim=code_dim
    )
    _, variables = _step(module, variables, z_BKD, mask_BK)
    quantized = apply(module, variables, z_BKD, mask_BK)
    looked_up = apply(module, variables, quantized.codes_BK, method="lookup")
    chex.assert_trees_all_close(looked_up, quantized.z_q_BKD, atol=1e-6)
    chex.assert_shape(looked_up, (B, K, D))
    assert len(np.unique(quantized.codes_BK)) > 2


@pytest.mark.parametrize("words", [{}, PLAIN], ids=["default", "plain"])
def test_masked_latents_change_neither_statistics_nor_state(words):
    module, variables, z_BKD, mask_BK = _setup(**words)
    other = jnp.where(mask_BK[..., None], z_BKD, 50.0)
    real = jnp.where(mask_BK[..., None], 1.5 * z_BKD + 1.0, z_BKD)
    outcomes = [_step(module, variables, z, mask_BK) for z in (z_BKD, other, real)]
    (first, first_state), (second, second_state), (_, moved_state) = outcomes
    chex.assert_trees_all_close(second.stats, first.stats)
    chex.assert_trees_all_close(second.aux_loss, first.aux_loss)
    chex.assert_trees_all_close(second_state, first_state)
    difference = moved_state["codebook"]["codes"] - first_state["codebook"]["codes"]
    assert jnp.max(jnp.abs(difference)) > 1e-3
    assert float(first.stats["n_latents"]) == float(first.stats["code_counts"].sum()) == K + 14


def test_a_batch_without_real_latents_changes_no_codes_and_founds_no_codebook():
    module, variables, z_BKD, mask_BK = _setup()
    quantized, after = _step(module, variables, z_BKD, jnp.zeros_like(mask_BK))
    chex.assert_trees_all_equal(after["codebook"], variables["codebook"])
    assert float(quantized.aux_loss) == 0.0
    _, founded = _step(module, after, z_BKD, mask_BK)
    assert jnp.any(founded["codebook"]["codes"] != variables["codebook"]["codes"])


def test_only_a_training_step_with_a_mutable_codebook_changes_it():
    module, variables, z_BKD, mask_BK = _setup()
    _, evaluated = module.apply(variables, z_BKD, mask_BK, mutable=["codebook"])
    chex.assert_trees_all_equal(evaluated["codebook"], variables["codebook"])
    module.apply(variables, z_BKD, mask_BK, train=True)  # needs no random key either
    _, trained = _step(module, variables, z_BKD, mask_BK)
    assert int(trained["codebook"]["steps"]) == 1
    assert jnp.any(trained["codebook"]["codes"] != variables["codebook"]["codes"])


def test_kmeans_runs_at_the_first_training_step_only_and_serves_that_step():
    words = {"restart_threshold": 0.0, "ema_decay": 0.999999}
    module, variables, z_BKD, mask_BK = _setup(**words)
    random_codes = apply(module, variables, z_BKD, mask_BK).stats["quantization_error_sum"]
    first, after_first = _step(module, variables, z_BKD, mask_BK)
    assert first.stats["quantization_error_sum"] < 0.5 * random_codes
    _, after_second = _step(module, after_first, 2.0 + z_BKD, mask_BK)
    chex.assert_trees_all_close(
        after_second["codebook"]["codes"], after_first["codebook"]["codes"], atol=1e-3
    )


@pytest.mark.parametrize("update", ["ema", "learned"])
def test_dead_codes_restart_at_their_period_and_come_into_use(update):
    module, variables, z_BKD, mask_BK = _setup(
        kmeans_iterations=0,
        restart_period=3,
        restart_threshold=0.3,
        ema_decay=0.5,
        codebook_update=update,
    )
    # One code is near all latents: with mean usage everywhere, the others die in two steps.
    state = variables["codebook"]
    codes = -jnp.ones_like(state["codes"]).at[0].set(-1.0)
    projected = z_BKD @ variables["params"]["project_in"]["kernel"]
    codes = codes.at[0].set(projected.mean(axis=(0, 1)))
    variables = {**variables, "codebook": {**state, "codes": codes}}
    used, restarted = [], []
    for step in range(4):
        before = variables["codebook"]["codes"]
        quantized, variables = _step(
            module, variables, z_BKD, mask_BK, jax.random.fold_in(KEY, step)
        )
        counts = quantized.stats["code_counts"]
        used.append(int(jnp.sum(counts > 0)))
        restarted.append(float(quantized.stats["n_restarted"]))
        if restarted[-1] and update == "learned":  # nothing else moves a learned codebook here
            moved_V = jnp.any(before != variables["codebook"]["codes"], axis=-1)
            assert int(jnp.sum(moved_V)) == restarted[-1]
    assert restarted[:2] == [0.0, 0.0] and restarted[3] == 0.0
    assert restarted[2] > 0
    assert used[3] >= used[2] + restarted[2] - 1


# With a period of 1 a restart is due after every step at first; after 39 steps none is, after 40
# and 160 one is, with a threshold of a quarter and a sixteenth.
@pytest.mark.parametrize("steps, restarted", [(3, V - 1), (38, 0), (39, 0), (159, 0)])
def test_late_in_a_run_a_code_that_is_merely_rare_stays(steps, restarted):
    module, variables, z_BKD, mask_BK = _setup(
        **{**PLAIN, "restart_threshold": 0.5}, restart_period=1, ema_decay=0.5
    )
    # One code takes every latent; the others fall to 3/8 of the mean usage in this step.
    state = variables["codebook"]
    mean = jnp.sum(mask_BK) / V
    codes = jnp.full_like(state["codes"], 100.0).at[0].set(0.0)
    usage = jnp.full_like(state["usage"], 0.6 * mean)
    state = {**state, "codes": codes, "usage": usage, "steps": jnp.int32(steps)}
    quantized, after = _step(module, {**variables, "codebook": state}, z_BKD, mask_BK)
    np.testing.assert_allclose(
        after["codebook"]["usage"][1:].max(), 0.3 * mean if not restarted else 0.8 * mean, rtol=1e-5
    )
    assert float(quantized.stats["n_restarted"]) == restarted
    # What is dead is found late in a run as well.
    state["usage"] = jnp.zeros_like(usage)
    quantized, _ = _step(module, {**variables, "codebook": state}, z_BKD, mask_BK)
    assert (float(quantized.stats["n_restarted"]) > 0) == (steps != 38)


def test_equal_keys_give_equal_states_and_other_keys_other_ones():
    module, variables, z_BKD, mask_BK = _setup()
    one, two, three = (
        _step(module, variables, z_BKD, mask_BK, jax.random.key(seed))[1]["codebook"]["codes"]
        for seed in (3, 3, 4)
    )
    chex.assert_trees_all_equal(one, two)
    assert jnp.any(one != three)


def test_bfloat16_latents_keep_float32_statistics():
    module, variables, z_BKD, mask_BK = _setup()
    quantized, after = _step(module, variables, z_BKD.astype(jnp.bfloat16), mask_BK)
    assert quantized.z_q_BKD.dtype == jnp.bfloat16
    chex.assert_type([quantized.aux_loss, *quantized.stats.values()], jnp.float32)
    chex.assert_type(quantized.codes_BK, jnp.int32)
    chex.assert_type([after["codebook"]["codes"], after["codebook"]["usage"]], jnp.float32)
    assert apply(module, after, quantized.codes_BK, method="lookup").dtype == jnp.float32


def test_log_assignment_is_a_differentiable_softmax_of_distances():
    module, variables, z_BKD, mask_BK = _setup(temperature=0.2, metric="euclidean")
    _, variables = _step(module, variables, z_BKD, mask_BK)
    log_p_BKV = module.apply(variables, z_BKD, method="log_assignment")
    chex.assert_shape(log_p_BKV, (B, K, V))
    np.testing.assert_allclose(jnp.exp(log_p_BKV).sum(axis=-1), 1.0, atol=1e-5)
    projected = apply(module, variables, z_BKD, method="_encode")
    offsets = projected[:, :, None] - variables["codebook"]["codes"][None, None]
    expected = jax.nn.log_softmax(-jnp.sum(jnp.square(offsets), axis=-1) / 0.2)
    np.testing.assert_allclose(log_p_BKV, expected, atol=1e-3)
    codes_BK = apply(module, variables, z_BKD, mask_BK).codes_BK
    chex.assert_trees_all_equal(jnp.argmax(log_p_BKV, axis=-1).astype(jnp.int32), codes_BK)

    def likelihood(variables, z_BKD):
        return jnp.mean(apply(module, variables, z_BKD, method="log_assignment")[..., 0])

    assert jnp.any(jax.jit(jax.grad(likelihood, argnums=1))(variables, z_BKD) != 0)
    to_state = jax.jit(jax.grad(likelihood, allow_int=True))(variables, z_BKD)
    to_state = to_state["codebook"]["codes"]
    chex.assert_trees_all_equal(to_state, jnp.zeros_like(to_state))


def test_the_encoder_gets_a_gradient_and_rotation_differs_from_straight_through():
    gradients = {}
    for gradient in ("rotation", "straight_through"):
        module, variables, z_BKD, mask_BK = _setup(gradient=gradient, metric="euclidean")
        _, variables = _step(module, variables, z_BKD, mask_BK)

        def total(z_BKD, module=module, variables=variables, mask_BK=mask_BK):
            return jnp.sum(jnp.sin(apply(module, variables, z_BKD, mask_BK).z_q_BKD))

        gradients[gradient] = jax.jit(jax.grad(total))(z_BKD)
        assert jnp.all(jnp.isfinite(gradients[gradient]))
        assert jnp.mean(jnp.abs(gradients[gradient])) > 0
    difference = gradients["rotation"] - gradients["straight_through"]
    assert jnp.max(jnp.abs(difference)) > 1e-2


def test_65536_codes_train_from_a_batch_far_smaller_than_the_codebook():
    module = make_quantizer(
        QuantizerConfig(
            codebook_size=65536, d_model=D, code_dim=4, kmeans_iterations=2, restart_period=1
        )
    )
    z_BKD = jax.random.normal(jax.random.key(0), (2, 32, D))
    mask_BK = jnp.ones((2, 32), bool)
    variables = init(module, jax.random.key(1), z_BKD, mask_BK)
    used = jnp.zeros(65536)
    for i in range(3):
        z_BKD = jax.random.normal(jax.random.key(i), (2, 32, D))
        quantized, variables = _step(module, variables, z_BKD, mask_BK, jax.random.key(i))
        used += quantized.stats["code_counts"]
    assert jnp.sum(used > 0) > 64  # more than the first batch could found
    assert jnp.all(jnp.isfinite(variables["codebook"]["codes"]))
