"""Collectives of programs in which they are known, and as the compiler of TPUs writes them."""

import pathlib

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from latent_jax.costs.collectives import Collective, collectives, totals

N = 4


def compiled_text(function, shape, names=("data",), sizes=(N,)):
    """Return the text of a function of each device's share of `shape`, rows split over "data"."""
    mesh = jax.make_mesh(sizes, names, axis_types=(AxisType.Auto,) * len(sizes))
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False
    )
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.jit(mapped).lower(x).compile().as_text()


@pytest.fixture(autouse=True)
def four_devices(monkeypatch):
    devices = jax.devices()[:N]
    make_mesh = jax.make_mesh
    monkeypatch.setattr(jax, "make_mesh", lambda *a, **k: make_mesh(*a, **k, devices=devices))


def test_a_sum_in_a_loop_counts_each_time():
    def step(x):
        return jax.lax.scan(lambda x, _: (jax.lax.psum(jnp.sin(x), "data"), None), x, length=5)[0]

    (found,) = collectives(compiled_text(step, (8, 16)), N)
    assert found == Collective("all-reduce", 2 * 16 * 4, N, 5, False)
    assert found.sent_bytes == 5 * 2 * 3 / 4 * 2 * 16 * 4


def test_nested_loops_multiply():
    def inner(x, _):
        return jax.lax.psum(jnp.sin(x), "data"), None

    def outer(x, _):
        return jax.lax.scan(inner, x, length=3)[0] + 1, None

    text = compiled_text(lambda x: jax.lax.scan(outer, x, length=7)[0], (8, 16))
    assert totals(collectives(text, N))["all_reduce_count"] == 21


@pytest.mark.parametrize(
    ("kind", "step", "payload", "share"),
    [
        (
            "all-gather",
            lambda x: jax.lax.all_gather(x, "data", tiled=True)[:2],
            8 * 16 * 4,
            3 / 4,
        ),
        (
            "reduce-scatter",
            lambda x: jax.lax.psum_scatter(x, "data", scatter_dimension=1, tiled=True),
            2 * 16 * 4,
            3 / 4,
        ),
        (
            "collective-permute",
            lambda x: jax.lax.ppermute(x, "data", [(i, (i + 1) % N) for i in range(N)]),
            2 * 16 * 4,
            1.0,
        ),
        (
            "all-to-all",
            lambda x: jax.lax.all_to_all(x, "data", 1, 0, tiled=True),
            2 * 16 * 4,
            3 / 4,
        ),
    ],
)
def test_payload_and_what_is_sent(kind, step, payload, share):
    found = [each for each in collectives(compiled_text(step, (8, 16)), N) if each.kind == kind]
    assert sum(each.payload_bytes for each in found) == payload
    assert sum(each.sent_bytes for each in found) == share * payload


def test_groups_are_those_of_one_axis():
    def step(x):
        return jax.lax.psum(jnp.sin(x), "model")

    (found,) = collectives(compiled_text(step, (8, 16), ("data", "model"), (2, 2)), N)
    assert (found.group_size, found.sent_bytes) == (2, 4 * 16 * 4)


def test_a_branch_is_kept_apart():
    def step(x):
        return jax.lax.cond(
            jnp.sum(x) > 0, lambda x: jax.lax.psum(jnp.sin(x), "data"), lambda x: x, x
        )

    sums = totals(collectives(compiled_text(step, (8, 16)), N))
    assert sums["branch_collective_count"] == 1
    assert sums["branch_collective_bytes"] == 2 * 16 * 4
    assert sums["collective_count"] == sums["link_bytes"] == 0


TPU_PROGRAM = pathlib.Path(__file__).with_name("tpu_program.hlo")
"""In the form of a compiled program for a TPU, cut down to what matters here."""


def test_a_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="has an ENTRY"):
        collectives("HloModule nothing", N)


def test_what_the_compiler_of_tpus_writes():
    assert collectives(TPU_PROGRAM.read_text(), N) == [
        Collective("all-gather", 64 * 32 * 2, 4, 1, False),  # spread over two fusions
        Collective("reduce-scatter", 64 * 32 * 2, 4, 12, False),  # a sum of which a part is kept
        Collective("collective-permute", 16 * 32 * 2, 4, 1, False),
        Collective("all-reduce", 4 + 8 * 4, 2, 1, False),
    ]
