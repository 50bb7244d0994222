"""Windows found from all positions at once, beside a loop that reads one after the other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from latent_jax.data.python_docs import PythonDocs
from latent_jax.methods.artefacts import load_compiled
from latent_jax.platform import PLATFORMS
from latent_jax.tasks.snippets import cut
from latent_jax.tasks.window_starts import window_sizes, window_starts
from latent_jax.tokenizers import CompiledCode
from latent_jax.tokenizers.trie import Trie, longest

SEPARATOR = 256


def sequential_starts(ids_BT, windows):
    """The reference: one node for each row, which reads the row's bytes in turn."""
    owner_S, base_S = windows.slots >> 32, windows.slots & 0xFFFFFFFF
    starts_BT = np.zeros(ids_BT.shape, bool)
    for row, starts in zip(ids_BT, starts_BT, strict=True):
        base = 0
        for i, label in enumerate(row):
            if label == SEPARATOR:
                base = 0
                continue
            starts[i] = owner_S[base + label] != base
            base = base_S[(windows.root if starts[i] else base) + label]
    return starts_BT


def find(ids_BT, windows):
    return np.asarray(jax.jit(functools.partial(window_starts, windows=windows))(ids_BT))


@pytest.fixture(scope="module")
def shipped():
    return load_compiled()


@pytest.fixture(scope="module")
def deep():
    """A tree with one text that is longer than most rows here."""
    texts = [bytes([b]) for b in range(256)] + [b"a" * n for n in range(2, 41)] + [b"ab", b"ba"]
    return CompiledCode.of_texts("deep", texts)


def rows(text, n_rows, row_length, seed=0):
    """Cut a text into rows, and put separators anywhere: also two in a row, first and last."""
    ids = np.frombuffer(text[: n_rows * row_length], np.uint8).astype(np.int32)
    ids_BT = ids.reshape(n_rows, row_length).copy()
    ids_BT[np.random.default_rng(seed).random(ids_BT.shape) < 0.01] = SEPARATOR
    ids_BT[0, [0, -1]] = SEPARATOR
    ids_BT[-1] = SEPARATOR
    return ids_BT


@pytest.mark.parametrize("row_length", [1, 7, 100, 512])
def test_real_text_is_cut_as_in_the_loop(shipped, row_length):
    text = b"".join(d.text for _, d in zip(range(8), PythonDocs().documents(), strict=False))
    ids_BT = rows(text, 12, row_length)
    found = find(ids_BT, shipped.trie)
    np.testing.assert_array_equal(found, sequential_starts(ids_BT, shipped.trie))
    if row_length > 2:
        assert 0.1 < found[:-1].mean() < 0.7 and not found[-1].any()
        # Every row but those that end with a window of one byte ends inside of what could go on.
        assert not found[1:-1, -1].all()


def test_random_bytes_are_cut_as_in_the_loop(shipped):
    draws = np.random.default_rng(0)
    # Letters make windows of several bytes, bytes of one.
    text = np.concatenate([draws.integers(97, 123, 4000), draws.integers(0, 256, 4000)])
    ids_BT = rows(text.astype(np.uint8).tobytes(), 16, 500)
    found = find(ids_BT, shipped.trie)
    np.testing.assert_array_equal(found, sequential_starts(ids_BT, shipped.trie))
    assert found[1:8].mean() < 0.6 < 0.8 < found[9:15].mean()


@pytest.mark.parametrize("row_length", [1, 40, 41, 128])
def test_a_window_may_be_longer_than_the_row(deep, row_length):
    ids_BT = np.full((4, row_length), ord("a"), np.int32)
    ids_BT[1, row_length // 2] = SEPARATOR
    ids_BT[2, row_length // 2] = ord("b")
    ids_BT[3] = np.random.default_rng(0).choice([97, 97, 97, 98, SEPARATOR], row_length)
    found = find(ids_BT, deep.trie)
    np.testing.assert_array_equal(found, sequential_starts(ids_BT, deep.trie))
    assert found[0].sum() == -(-row_length // 40)


def test_sizes_are_those_of_the_longest_matches(deep):
    assert longest(deep.trie) == 40
    row_BT = jnp.array([[97, 97, 98, 97, SEPARATOR, 98]])
    sizes = jax.jit(lambda row_BT: window_sizes(row_BT, deep.trie, 40))(row_BT)
    np.testing.assert_array_equal(sizes, [[2, 2, 2, 1, 0, 1]])


def test_longest(shipped):
    assert longest(shipped.trie) == max(map(len, shipped.pieces))


def test_a_tree_that_the_table_cannot_hold_is_refused():
    slots = np.full(1 << 22, -1)
    with pytest.raises(ValueError, match="4,194,304 slots does not fit into 22 bits"):
        window_starts(np.zeros((1, 4), np.int32), Trie(slots, slots, 1))


def primitives(jaxpr):
    """Names of all primitives of a program, also of those inside others."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jaxprs_in_params(equation.params):
            yield from primitives(inner)


def test_nothing_is_read_one_after_the_other(shipped):
    """No loop: as many look-ups as the longest window has bytes, and two for each halving."""
    for row_length, n_halvings in ((512, 9), (1024, 10)):
        ids_BT = jax.ShapeDtypeStruct((8, row_length), np.int32)
        traced = jax.make_jaxpr(functools.partial(window_starts, windows=shipped.trie))(ids_BT)
        names = list(primitives(traced.jaxpr))
        assert not {"while", "scan", "scatter", "sort"} & set(names)
        assert names.count("gather") == longest(shipped.trie) + 2 * n_halvings


@pytest.mark.parametrize("platform", PLATFORMS)
def test_cutting_is_no_loop_on_any_platform(shipped, platform):
    def program(function):
        ids_BT = jax.ShapeDtypeStruct((8, 256), np.int32)
        traced = jax.jit(function).trace(ids_BT)
        return traced.lower(lowering_platforms=(platform,)).as_text()

    cutting = program(lambda ids_BT: cut(ids_BT, jnp.ones(ids_BT.shape), 16, shipped.trie))
    assert "stablehlo.gather" in cutting and "stablehlo.while" not in cutting
    loop = program(
        lambda ids_BT: jax.lax.scan(lambda n, ids_B: (n + ids_B, n), 0 * ids_BT[0], ids_BT)[1]
    )
    assert "stablehlo.while" in loop
