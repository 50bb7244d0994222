import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from latent_jax.models.gpt import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=19, max_length=12, n_layers=2, d_model=16, n_heads=2)
IDS = jax.random.randint(jax.random.key(3), (2, 10), 0, 19)


@functools.cache
def _variables(config=CONFIG):
    return jax.jit(GPT(config).init)(jax.random.key(0), IDS)


@functools.partial(jax.jit, static_argnames=("config", "method", "train"))
def apply(config, variables, *inputs, method=None, train=False, rngs=None):
    words = {} if method in ("embed", "logits") else {"train": train}
    return GPT(config).apply(variables, *inputs, method=method, rngs=rngs, **words)


def test_shapes_and_dtypes():
    logits = apply(CONFIG, _variables(), IDS)
    chex.assert_shape(logits, (2, 10, 19))
    assert logits.dtype == jnp.float32
    features = apply(CONFIG, _variables(), IDS, method="features")
    chex.assert_shape(features, (2, 10, 16))
    chex.assert_trees_all_equal(apply(CONFIG, _variables(), features, method="logits"), logits)


def test_bfloat16_computes_in_bfloat16_and_keeps_parameters_and_logits_float32():
    config = dataclasses.replace(CONFIG, dtype="bfloat16")
    variables = _variables(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert apply(config, variables, IDS, method="features").dtype == jnp.bfloat16
    logits = apply(config, variables, IDS)
    assert logits.dtype == jnp.float32
    exact = apply(CONFIG, variables, IDS)
    np.testing.assert_allclose(logits, exact, atol=3e-2)
    assert float(jnp.abs(logits - exact).max()) > 0, "bfloat16 changed nothing"


@pytest.mark.parametrize("attention_implementation", ["tiled", "xla"])
def test_logits_depend_on_the_past_only(attention_implementation):
    config = dataclasses.replace(CONFIG, attention_implementation=attention_implementation)
    vectors = jax.random.normal(jax.random.key(1), (1, 10, 16))
    weights = jax.random.normal(jax.random.key(2), (19,))

    def score(vectors):
        # One random direction in logit space: no cancellation hides a dependence.
        return apply(config, _variables(), vectors)[0] @ weights

    jacobian_TTD = jax.jit(jax.jacobian(score))(vectors)[:, 0]
    reads_TT = np.abs(jacobian_TTD).max(axis=-1)
    assert (np.triu(reads_TT, 1) == 0).all(), "a logit depends on a later input"
    assert (reads_TT[np.tril_indices(10)] > 0).all(), "a logit misses an earlier input"


def test_ids_and_their_embeddings_give_the_same_logits():
    vectors = apply(CONFIG, _variables(), IDS, method="embed")
    chex.assert_trees_all_equal(
        apply(CONFIG, _variables(), vectors), apply(CONFIG, _variables(), IDS)
    )
    others = apply(CONFIG, _variables(), vectors[:, ::-1])
    assert float(jnp.abs(others - apply(CONFIG, _variables(), IDS)).max()) > 1e-2


def test_dropout_needs_training_and_a_key():
    config = dataclasses.replace(CONFIG, dropout=0.3)
    evaluated = apply(config, _variables(), IDS)
    chex.assert_trees_all_equal(evaluated, apply(CONFIG, _variables(), IDS))
    draws = [
        apply(config, _variables(), IDS, train=True, rngs={"dropout": jax.random.key(i)})
        for i in (0, 0, 1)
    ]
    chex.assert_trees_all_equal(draws[0], draws[1])
    assert float(jnp.abs(draws[0] - draws[2]).max()) > 1e-3


def test_gpt2_small_has_its_published_size():
    config = GPTConfig(vocab_size=50257, max_length=1024, n_layers=12, d_model=768, n_heads=12)
    variables = jax.eval_shape(GPT(config).init, jax.random.key(0), jnp.zeros((1, 8), jnp.int32))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 124_439_808


def test_gpt2_initialization():
    config = dataclasses.replace(CONFIG, vocab_size=300, max_length=200, d_model=128, n_layers=2)
    params = _variables(config)["params"]
    blocks = params["stack"]["blocks"]
    deviations = {
        0.02: [params["token_embedding"]["embedding"], blocks["feed_forward"]["up"]["kernel"]],
        0.01: [params["position_embedding"]["embedding"]],
        # 1 / sqrt(2 n_layers) for what writes to the residual stream
        0.02 / 2: [blocks["feed_forward"]["down"]["kernel"], blocks["attention"]["out"]["kernel"]],
    }
    for deviation, leaves in deviations.items():
        for leaf in leaves:
            np.testing.assert_allclose(jnp.std(leaf), deviation, rtol=0.03)


def test_errors_name_the_way_out():
    with pytest.raises(ValueError, match=r"13 positions, the model 12: shorten the rows"):
        GPT(CONFIG).init(jax.random.key(0), jnp.zeros((1, 13), jnp.int32))
    with pytest.raises(ValueError, match=r"vocab_size must be >= 1, got 0"):
        dataclasses.replace(CONFIG, vocab_size=0)


def _compiled_flops(config, length):
    """Count the FLOPs of a forward pass of two rows as the compiler does, per position."""
    ids = jax.ShapeDtypeStruct((2, length), jnp.int32)
    variables = jax.eval_shape(GPT(config).init, jax.random.key(0), ids)
    compiled = jax.jit(GPT(config).apply).lower(variables, ids).compile()
    return compiled.cost_analysis()["flops"] / (2 * length)


def test_flops_agree_with_the_compiler():
    """The compiler also counts element-wise work, a share of about 1 / d_model."""
    length, width = 64, 512
    config = GPTConfig(
        vocab_size=4096,
        max_length=length,
        n_layers=1,
        d_model=width,
        n_heads=4,
        activation="relu",
        attention_implementation="xla",
        scan_unroll=1,
    )
    deeper = dataclasses.replace(config, n_layers=2, scan_unroll=2)
    flops, deeper_flops = config.forward_flops(length), deeper.forward_flops(length)
    one, two = _compiled_flops(config, length), _compiled_flops(deeper, length)
    np.testing.assert_allclose(one, sum(flops.values()), rtol=0.02)
    one_layer = sum(deeper_flops.values()) - sum(flops.values())
    np.testing.assert_allclose(two - one, one_layer, rtol=0.02)
    looped = _compiled_flops(dataclasses.replace(deeper, scan_unroll=1), length)
    assert looped < 0.95 * two, "a loop's body is counted once: the unrolled count proves something"


def test_flops_by_component():
    flops = CONFIG.forward_flops(10)
    assert flops == {
        "embedding": 0.0,
        "attention": 2.0 * (8 * 16**2 + 4 * 10 * 16),
        "feed_forward": 2.0 * 16 * 16**2,
        "head": 2.0 * 16 * 19,
    }


LESTER = dataclasses.replace(
    CONFIG,
    positions="relative",
    relative_buckets=4,
    relative_distance=8,
    gated=True,
    activation="relu",
    norm="rms",
    use_bias=False,
)
"""The decoder of Lester et al. 2024 in small."""


def test_the_decoder_of_lester_has_its_published_size():
    """Table 4 of the paper: 3m without embeddings is 3 x (4 D^2 + 3 D F) and the small parts."""
    config = dataclasses.replace(
        LESTER,
        vocab_size=257,
        n_layers=3,
        d_model=256,
        n_heads=4,
        d_ff=1024,
        relative_buckets=32,
        relative_distance=128,
    )
    variables = jax.eval_shape(GPT(config).init, jax.random.key(0), IDS)
    stack = variables["params"]["stack"]
    n_matrices = 3 * (4 * 256**2 + 3 * 256 * 1024)
    n_small = 3 * (2 * 256 + 4 * 32) + 256  # two norms and a table a layer, and the final norm
    assert sum(leaf.size for leaf in jax.tree.leaves(stack)) == n_matrices + n_small
    assert n_matrices == 3_145_728
    assert set(variables["params"]) == {"stack", "token_embedding"}


def test_relative_positions_take_rows_of_any_length():
    variables = _variables(LESTER)
    longer = jnp.tile(IDS, (1, 3))
    logits = apply(LESTER, variables, longer)
    np.testing.assert_allclose(logits[:, :10], apply(LESTER, variables, IDS), atol=1e-5)
    swapped = apply(LESTER, variables, IDS[:, jnp.array([1, 0, *range(2, 10)])])
    assert float(jnp.abs(swapped[:, -1] - logits[:, 9]).max()) > 1e-5, "the order is not seen"


LLAMA = dataclasses.replace(
    CONFIG,
    positions="rotary",
    n_heads=4,
    n_kv_heads=2,
    gated=True,
    activation="silu",
    norm="rms",
    use_bias=False,
)
"""A Llama with tied embeddings in small."""


def test_rotary_positions_take_rows_of_any_length_and_have_no_table():
    variables = _variables(LLAMA)
    assert set(variables["params"]) == {"stack", "token_embedding"}
    longer = jnp.tile(IDS, (1, 3))
    logits = apply(LLAMA, variables, longer)
    np.testing.assert_allclose(logits[:, :10], apply(LLAMA, variables, IDS), atol=1e-5)
    swapped = apply(LLAMA, variables, IDS[:, jnp.array([1, 0, *range(2, 10)])])
    assert float(jnp.abs(swapped[:, -1] - logits[:, 9]).max()) > 1e-5, "the order is not seen"
    other = dataclasses.replace(LLAMA, rope_theta=100.0)
    assert float(jnp.abs(apply(other, variables, IDS) - logits[:, :10]).max()) > 1e-6


def test_caches_are_smaller_by_the_group_factor():
    sizes = [
        sum(leaf.size for leaf in dataclasses.replace(LLAMA, n_kv_heads=n).empty_cache(3, 12))
        for n in (0, 4, 2, 1)
    ]
    assert sizes == [sizes[0], sizes[0], sizes[0] / 2, sizes[0] / 4]


QWEN2 = dataclasses.replace(LLAMA, qkv_bias=True, norm_epsilon=0.05)
"""A Qwen2 in small, and an epsilon that shows beside initial numbers of 0.02."""


def test_queries_keys_and_values_alone_have_a_bias():
    variables = _variables(QWEN2)
    block = variables["params"]["stack"]["blocks"]
    with_bias = {
        f"{part}/{layer}"
        for part in ("attention", "feed_forward")
        for layer, leaves in block[part].items()
        if "bias" in leaves
    }
    assert with_bias == {"attention/query", "attention/key_value"}
    whole = _variables(dataclasses.replace(QWEN2, n_kv_heads=0))["params"]["stack"]["blocks"]
    assert "bias" in whole["attention"]["query_key_value"]
    assert "bias" not in whole["attention"]["out"]
    variables = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(1), leaf.shape), variables
    )
    before = apply(QWEN2, variables, IDS)
    for layer in ("query", "key_value"):
        moved = jax.tree.map(lambda leaf: leaf, variables)
        moved["params"]["stack"]["blocks"]["attention"][layer]["bias"] += 1.0
        assert float(jnp.abs(apply(QWEN2, moved, IDS) - before).max()) > 1e-2
    assert QWEN2.forward_flops(10) == LLAMA.forward_flops(10)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_epsilon_is_that_of_the_config_in_every_norm(norm):
    config = dataclasses.replace(LLAMA, norm=norm)
    variables = _variables(config)
    small, large = (
        apply(dataclasses.replace(config, norm_epsilon=epsilon), variables, IDS)
        for epsilon in (1e-12, 0.9)
    )
    # The stream has a deviation of 0.02 at first, so an epsilon of 0.9 makes all norms small.
    assert float(jnp.std(large)) < 0.1 * float(jnp.std(small))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"qkv_bias": True, "use_bias": True}, "set use_bias=False"),
        ({"norm_epsilon": 0.0}, "norm_epsilon must be more than 0"),
        ({"norm_epsilon": 2.0}, "norm_epsilon must be at most 1"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LLAMA, **words)


@pytest.mark.parametrize(
    "config", [CONFIG, LESTER, LLAMA, QWEN2], ids=["gpt2", "lester", "llama", "qwen2"]
)
def test_steps_equal_the_whole_row(config):
    variables, model = _variables(config), GPT(config)
    step = jax.jit(functools.partial(model.apply, method="step"))
    cache, found = config.empty_cache(2, 12), []
    for t in range(IDS.shape[1]):
        logits, cache = step(variables, IDS[:, t], cache, jnp.array([t, t]))
        found.append(logits)
    np.testing.assert_allclose(jnp.stack(found, 1), apply(config, variables, IDS), atol=1e-5)


@pytest.mark.parametrize(
    ("network", "words"),
    [(LESTER, {"n_heads": 4}), (LLAMA, {"n_heads": 8, "n_kv_heads": 2})],
    ids=["lester", "llama"],
)
def test_gated_flops_agree_with_the_compiler(network, words):
    config = dataclasses.replace(
        network,
        vocab_size=4096,
        n_layers=1,
        d_model=512,
        **words,
        relative_buckets=32,
        relative_distance=128,
        attention_implementation="xla",
        scan_unroll=1,
    )
    expected = sum(config.forward_flops(64).values())
    np.testing.assert_allclose(_compiled_flops(config, 64), expected, rtol=0.02)
    ungated = sum(dataclasses.replace(config, gated=False).forward_flops(64).values())
    assert expected > 1.15 * ungated
    if config.n_kv_heads:
        every = sum(dataclasses.replace(config, n_kv_heads=0).forward_flops(64).values())
        assert every == expected + 2 * 2 * 512 * (512 - 128)
