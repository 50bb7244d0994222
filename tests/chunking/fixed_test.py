"""What every compressor and its decompressor promise, for every kind, factor and raggedness."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from latent_jax.chunking import fixed
from latent_jax.chunking.fixed import compressors
from latent_jax.chunking.fixed.base import CompressorConfig
from latent_jax.chunking.fixed.registry import register
from latent_jax.contracts import Chunks

D_MODEL = 16
RAGGED = (13, 9, 1, 0)
"""Real positions per row, of T = 13: full, ending inside a group, a single one, none."""

every_kind = pytest.mark.parametrize("kind", compressors())
every_factor = pytest.mark.parametrize("factor", [1, 2, 4, 8])


def make_config(kind, factor, **words):
    options = dict(ssm_state=4, ssm_head_dim=8)
    return fixed.make_config(
        kind, options, factor=factor, **dict(d_model=D_MODEL, max_length=16) | words
    )


def ragged_batch(config, length=13):
    x = jax.random.normal(jax.random.key(0), (len(RAGGED), length, config.d_model))
    mask = jnp.arange(length)[None] < jnp.asarray(RAGGED)[:, None]
    return x, mask


def build(config, x, mask):
    """Return (parameters of both sides, a jitted way there and back)."""
    compressor, decompressor = config.compressor(), config.decompressor()

    def there_and_back(variables, x, mask):
        latents = compressor.apply(variables[0], x, mask)
        return latents, decompressor.apply(variables[1], latents.z_BKD, latents)

    def init(key):
        there, back = jax.random.split(key)
        latents, variables = compressor.init_with_output(there, x, mask)
        return variables, decompressor.init(back, latents.z_BKD, latents)

    return jax.jit(init)(jax.random.key(1)), jax.jit(there_and_back)


def reads(function, x):
    """Return bool[out, in]: whether each step of a function's result depends on each step of x."""
    change = jax.jit(jax.jacobian(lambda x: jnp.sum(jnp.sin(function(x)), axis=-1)))(x)
    return np.any(np.asarray(change) != 0, axis=-1)


CAUSAL = [(kind, factor, {}) for kind in compressors() for factor in (1, 4)]
CAUSAL += [("conv1d", 4, dict(kernel_size=size)) for size in (4, 5)]


@pytest.mark.parametrize(("kind", "factor", "words"), CAUSAL)
def test_what_is_called_causal_reads_nothing_later(kind, factor, words):
    config = make_config(kind, factor, **words)
    x = jax.random.normal(jax.random.key(0), (12, D_MODEL))
    mask = jnp.ones((1, 12), bool)
    variables, there_and_back = build(config, x[None], mask)
    latents, _ = there_and_back(variables, x[None], mask)
    group_T = np.arange(12) // config.factor
    np.testing.assert_array_equal(latents.chunk_of_BT[0], group_T)
    n_latents = latents.z_BKD.shape[1]
    there = reads(lambda x: config.compressor().apply(variables[0], x[None], mask).z_BKD[0], x)
    back = reads(
        lambda z: config.decompressor().apply(variables[1], z[None], latents)[0], latents.z_BKD[0]
    )
    later_there = group_T[None] > np.arange(n_latents)[:, None]
    later_back = np.arange(n_latents)[None] > group_T[:, None]
    assert config.is_causal == (not there[later_there].any(), not back[later_back].any())


@every_kind
@every_factor
def test_length_and_mask_are_restored_and_padding_is_inert(kind, factor):
    config = make_config(kind, factor)
    x, mask = ragged_batch(config)
    variables, there_and_back = build(config, x, mask)
    latents, restored = jax.device_get(there_and_back(variables, x, mask))

    assert isinstance(latents, Chunks)
    n_latents = -(-13 // factor)
    assert latents.z_BKD.shape == (len(RAGGED), n_latents, D_MODEL)
    assert latents.aux_loss.shape == () and latents.aux_loss.dtype == np.float32
    n_real = -(-np.asarray(RAGGED) // factor)
    np.testing.assert_array_equal(latents.mask_BK, np.arange(n_latents)[None] < n_real[:, None])
    assert restored.shape == x.shape
    assert np.isfinite(restored).all()
    # What is not real is zero; what is real is not. Latents know their own group only, so the
    # last real one may restore positions behind the end of the row.
    np.testing.assert_array_equal((latents.z_BKD != 0).any(axis=-1), latents.mask_BK)
    is_restored = (restored != 0).any(axis=-1)
    assert is_restored[np.asarray(mask)].all()
    assert not is_restored[np.arange(13)[None] >= factor * n_real[:, None]].any()

    # Other values in the padding change nothing at all; another real value does.
    garbage = np.where(mask[..., None], x, np.nan)
    again, restored_again = jax.device_get(there_and_back(variables, garbage, mask))
    np.testing.assert_array_equal(latents.z_BKD, again.z_BKD)
    np.testing.assert_array_equal(restored, restored_again)
    changed = np.array(x)
    changed[1, 8] += 1.0
    assert (there_and_back(variables, changed, mask)[0].z_BKD[1] != latents.z_BKD[1]).any()


@every_kind
def test_a_row_alone_equals_the_row_in_a_longer_padded_batch(kind):
    config = make_config(kind, 2)
    x, mask = ragged_batch(config)
    variables, there_and_back = build(config, x, mask)
    latents, restored = there_and_back(variables, x, mask)
    alone, restored_alone = there_and_back(variables, x[1:2, :9], mask[1:2, :9])
    chex.assert_trees_all_close(latents.z_BKD[1:2, :5], alone.z_BKD, atol=1e-5)
    chex.assert_trees_all_close(restored[1:2, :9], restored_alone, atol=1e-5)


@every_kind
def test_gradient_reaches_every_real_position_and_every_parameter(kind):
    config = make_config(kind, 4)
    x, mask = ragged_batch(config)
    variables, there_and_back = build(config, x, mask)

    def loss(variables, x):
        # Not the plain sum: its gradient would vanish behind the norm of ssm.
        return jnp.sum(jnp.sin(there_and_back(variables, x, mask)[1]))

    grads, x_grad = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, x)
    chex.assert_tree_all_finite((grads, x_grad))
    influence = jnp.max(jnp.abs(x_grad), axis=-1)
    np.testing.assert_array_equal(influence > 0, mask)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):  # none, where it learns nothing
        assert jnp.any(grad != 0), jax.tree_util.keystr(path)


@every_kind
def test_bfloat16_computes_near_float32_with_float32_parameters(kind):
    def run(dtype):
        config = make_config(kind, 2, dtype=dtype)
        x, mask = ragged_batch(config)
        variables, there_and_back = build(config, x, mask)
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype("float32")}
        latents, restored = there_and_back(variables, x, mask)
        assert latents.z_BKD.dtype == restored.dtype == jnp.dtype(dtype)
        return restored.astype(jnp.float32)

    exact, rounded = run("float32"), run("bfloat16")
    assert 0 < jnp.linalg.norm(exact - rounded) < 0.05 * jnp.linalg.norm(exact)


@every_kind
def test_variance_survives_the_way_there(kind):
    config = make_config(kind, 4, d_model=64, max_length=32)
    x = jax.random.normal(jax.random.key(0), (8, 32, 64))
    variables, there_and_back = build(config, x, jnp.ones((8, 32), bool))
    latents, restored = there_and_back(variables, x, jnp.ones((8, 32), bool))
    assert 0.5 < jnp.std(latents.z_BKD) < 2.0
    assert 0.3 < jnp.std(restored) < 3.0


@every_kind
def test_training_learns_to_reconstruct(kind):
    """Vectors of D / 4 dimensions fit through the bottleneck, and training finds the way.

    Not for sequence_linear: it mixes no features, so half of every vector is out of its reach. What
    has no parameters learns nothing, and still gives more than zeros.
    """
    config = make_config(kind, 2)
    mask = jnp.ones((16, 8), bool)
    basis = jax.random.normal(jax.random.key(7), (D_MODEL // 4, D_MODEL)) / 2

    def draw(key):
        return jax.random.normal(key, (16, 8, D_MODEL // 4)) @ basis

    variables, there_and_back = build(config, draw(jax.random.key(0)), mask)
    optimizer = optax.adam(1e-2)

    def error(variables, x):
        return jnp.sum((there_and_back(variables, x, mask)[1] - x) ** 2) / jnp.sum(x**2)

    def step(carry, key):
        variables, state = carry
        loss, grads = jax.value_and_grad(error)(variables, draw(key))
        updates, state = optimizer.update(grads, state, variables)
        return (optax.apply_updates(variables, updates), state), loss

    @jax.jit
    def train(variables, keys):
        return jax.lax.scan(step, (variables, optimizer.init(variables)), keys)

    (variables, _), losses = train(variables, jax.random.split(jax.random.key(2), 200))
    held_out = jax.jit(error)(variables, draw(jax.random.key(3)))
    is_learned = bool(jax.tree.leaves(variables))
    reachable = 0.6 if kind == "sequence_linear" else 0.3 if is_learned else 0.9
    assert held_out < reachable, f"{kind}: {held_out:.3f} of the energy is lost"
    if is_learned and kind != "sequence_linear":
        assert losses[0] > 0.5


@every_kind
def test_flops_agree_with_the_compiler(kind):
    # Wide enough for the element-wise work, which the compiler counts too, to weigh little.
    options = dict(n_heads=2, sequence_groups=2)
    config = fixed.make_config(kind, options, factor=4, d_model=512, max_length=128)
    batch, length = 32, 126
    compressor, decompressor = config.compressor(), config.decompressor()
    x = jax.ShapeDtypeStruct((batch, length, 512), jnp.float32)
    mask = jax.ShapeDtypeStruct((batch, length), bool)
    latents, variables = jax.eval_shape(compressor.init_with_output, jax.random.key(0), x, mask)

    def counted(function, *args):
        flops = jax.jit(function).lower(*args).compile().cost_analysis()["flops"]
        return flops / (batch * length)

    expected, few_a_number = config.forward_flops(length), 4 * config.d_model
    assert expected["compress"] == pytest.approx(
        counted(compressor.apply, variables, x, mask), rel=0.08, abs=few_a_number
    )

    z = latents.z_BKD
    variables = jax.eval_shape(decompressor.init, jax.random.key(0), z, latents)
    assert expected["decompress"] == pytest.approx(
        counted(decompressor.apply, variables, z, latents), rel=0.08, abs=few_a_number
    )


@every_kind
def test_wrong_shapes_are_refused(kind):
    config = make_config(kind, 2)
    compressor, decompressor = config.compressor(), config.decompressor()
    key = jax.random.key(0)
    with pytest.raises(ValueError, match=r"the row has 17 positions.*raise max_length"):
        compressor.init(key, jnp.zeros((1, 17, D_MODEL)), jnp.ones((1, 17), bool))
    with pytest.raises(ValueError, match="positions are 8 wide"):
        compressor.init(key, jnp.zeros((1, 4, 8)), jnp.ones((1, 4), bool))

    def back(n_latents, length):
        z = jnp.zeros((1, n_latents, D_MODEL))
        decompressor.init(key, z, config.chunks(z, jnp.ones((1, n_latents), bool), length))

    with pytest.raises(ValueError, match="the row has 17 positions"):
        back(9, 17)
    with pytest.raises(ValueError, match=r"9 positions at factor 2 make \(5, 16\)"):
        back(4, 9)


@pytest.mark.parametrize(
    "words, message",
    [
        (dict(kind="conv2d"), "unknown compressor kind 'conv2d' .did you mean 'conv1d'"),
        (dict(dtype="float16"), "unknown dtype 'float16'"),
        (dict(factor=0), "factor must be at least 1"),
        (dict(kernel_size=3, factor=4), "would skip positions"),
        (dict(kind="linear_merge", d_model=16, factor=3), "factor must divide d_model"),
        (dict(kind="attention_pool", d_model=16, n_heads=3), "n_heads must divide d_model"),
        (dict(kind="sequence_linear", d_model=16, sequence_groups=5), "sequence_groups must"),
        (dict(kind="ssm", d_model=16, ssm_head_dim=64), "head_dim must divide"),
    ],
)
def test_impossible_configs_are_refused(words, message):
    kind = words.pop("kind", "conv1d")
    with pytest.raises(ValueError, match=message):
        fixed.make_config(kind, **words)


def test_half_a_compressor_is_refused_with_what_it_lacks():
    class Half(CompressorConfig):
        """Has no modules."""

        kind = "half"

    with pytest.raises(TypeError, match=r"Half in .* lacks compressor, decompressor, forward_f"):
        register(Half)

    class Other(type(make_config("conv1d", 2))):
        """Has the name of another one."""

    with pytest.raises(ValueError, match="two compressors are called conv1d"):
        register(Other)
    assert compressors()["conv1d"] is not Other and "half" not in compressors()


def test_results_of_other_shapes_are_refused():
    config = make_config("linear_merge", 4)
    x, _ = ragged_batch(config)  # 13 positions, 4 latents
    z, mask_BK = jnp.zeros((4, 4, D_MODEL)), jnp.ones((4, 4), bool)
    chunks = config.chunks(z, mask_BK, 13)
    assert config.checked_chunks(chunks, x) is chunks and config.checked_positions(x, chunks) is x
    cases = [
        (
            config.chunks,
            (z[:, 1:], mask_BK, 13),
            r"linear_merge have shape \(3, 16\); 13 ",
        ),
        (config.chunks, (z[..., 1:], mask_BK, 13), r"positions at factor 4 make \(4, 16\)"),
        (config.chunks, (z, mask_BK[:, 1:], 13), r"mask of latents .* have shape \(4, 3\)"),
        (config.checked_chunks, (z, x), "linear_merge gives ArrayImpl and not Chunks of"),
        (
            config.checked_chunks,
            (chunks._replace(z_BKD=z[:, 1:]), x),
            r"latents .* shape \(3, 16\)",
        ),
        (config.checked_chunks, (chunks._replace(chunk_of_BT=mask_BK), x), "chunk_of_BT .* have"),
        (config.checked_chunks, (chunks._replace(aux_loss=z), x), "aux_loss .* have shape"),
        (config.checked_positions, (x[:, 1:], chunks), r"restored positions .* \(4, 12, 16\)"),
    ]
    for function, arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            function(*arguments)
