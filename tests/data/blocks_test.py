import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import grain
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from latent_jax.contracts import Document
from latent_jax.data import blocks, packing
from latent_jax.data.blocks import Batches, in_worker
from latent_jax.data.packing import PackedLanes, RowLayout
from latent_jax.tokenizers import Bytes

TEXTS = [bytes([97 + i % 26]) * (3 + 7 * i % 41) for i in range(23)]
N_LANES, ROW_LENGTH = 6, 8


def reference(texts, n_lanes, row_length):
    """Yield ids [B, L] and bytes [B] of batches, id by id: what packing is defined as."""
    separator = Bytes().separator_id

    def lane(first):
        turn = first
        while True:
            yield from (*texts[turn % len(texts)], separator)
            turn += n_lanes

    lanes = [lane(first) for first in range(n_lanes)]
    while True:
        ids = np.array([[next(ids) for _ in range(row_length)] for ids in lanes])
        yield ids, (ids != separator).sum(axis=1)


def documents(texts=TEXTS):
    found = [Document(str(i), text) for i, text in enumerate(texts)]
    return grain.MapDataset.source(found).repeat().map(Bytes().encode_example)


def batches(n_parts, n_lanes=N_LANES, row_length=ROW_LENGTH, texts=TEXTS):
    parts = [
        PackedLanes(documents(texts), range(part, n_lanes, n_parts), n_lanes, layout(row_length))
        for part in range(n_parts)
    ]
    return iter(Batches(parts, row_length))


def layout(row_length):
    return RowLayout.of(Bytes(), row_length)


def check(found, expected, n):
    for _ in range(n):
        batch, (ids, n_bytes) = next(found), next(expected)
        np.testing.assert_array_equal(batch["ids"], ids)
        np.testing.assert_array_equal(batch["n_bytes"], n_bytes)
        assert batch["weights"].shape == ids.shape and (batch["weights"] == 1).all()


@settings(max_examples=30)
@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=12),
    st.integers(1, 3),
    st.integers(1, 40),
)
def test_blocks_hold_what_packing_id_by_id_gives(texts, n_parts, row_length):
    found = batches(n_parts, 4, row_length, texts)
    check(found, reference(texts, 4, row_length), 40)


def test_a_state_holds_anywhere_in_a_block_whatever_its_size_then(monkeypatch):
    found, states = batches(2), []
    for _ in range(30):
        states.append(json.loads(json.dumps(found.get_state())))
        next(found)
    assert max(part["taken"] for state in states for part in state["parts"]) > 4  # inside blocks
    monkeypatch.setattr(packing, "_BLOCK_POSITIONS", 0)  # blocks of one row from here on
    for n_before, state in enumerate(states):
        other, expected = batches(2), reference(TEXTS, N_LANES, ROW_LENGTH)
        for _ in range(n_before):
            next(expected)
        other.set_state(state)
        assert other.get_state() == state
        check(other, expected, 8)


@pytest.mark.parametrize(
    ("seconds", "sizes"), [(0.05, [1] * 13), (0.001, [2**i for i in range(12)])]
)
def test_blocks_grow_where_rows_are_quick_to_make_and_only_there(monkeypatch, seconds, sizes):
    clock = itertools.count()
    monkeypatch.setattr(packing.time, "perf_counter", lambda: seconds * next(clock))
    rows = iter(PackedLanes(documents(), (0,), 1, layout(100)))
    assert [next(rows)["ids"].shape[1] for _ in range(13)] == [*sizes, sizes[-1]][:13]
    assert sizes[-1] == 1 or 100 * sizes[-2] < packing._BLOCK_POSITIONS <= 100 * sizes[-1]


class Told(grain.MapDataset):
    """One element: what a process is like."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        from jax._src import xla_bridge

        return {
            "pid": os.getpid(),
            "platforms": os.environ.get("JAX_PLATFORMS"),
            "config": sys.modules["jax"].config.jax_platforms,
            "backends": xla_bridge.backends_are_initialized(),
            "modules": [*sys.modules],
        }


def test_a_worker_knows_no_accelerator_and_starts_no_backend(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    before = dict(os.environ)
    told = iter(in_worker(Told().to_iter_dataset()))
    try:
        found = next(told)
    finally:
        told.close()
    assert found["pid"] != os.getpid()
    assert (found["platforms"], found["config"]) == ("cpu", "cpu")
    assert not found["backends"]
    assert not {"flax", "optax", "matplotlib"} & set(found["modules"])
    assert dict(os.environ) == before and os.environ["JAX_PLATFORMS"] == "cuda,cpu"


class Rows(grain.MapDataset):
    """Arrays that are large enough for shared memory."""

    def __init__(self):
        super().__init__([])

    def __len__(self):
        return 10**6

    def __getitem__(self, index):
        return np.full(1 << 14, index)


def test_a_worker_that_is_asked_to_end_goes_on_until_it_is_closed():
    rows = iter(in_worker(Rows().to_iter_dataset()))
    assert next(rows)[0] == 0
    (worker,) = multiprocessing.active_children()
    for first, kind in ((1, signal.SIGTERM), (21, signal.SIGINT)):
        os.kill(worker.pid, kind)
        assert [next(rows)[0] for _ in range(20)] == [*range(first, first + 20)]
    rows.close()
    worker.join(60)
    assert worker.exitcode in (0, -signal.SIGKILL)  # Grain kills one that takes 25 s to leave


def test_the_second_signal_ends_a_worker():
    rows = iter(in_worker(Rows().to_iter_dataset()))
    next(rows)
    (worker,) = multiprocessing.active_children()
    for _ in range(2):
        os.kill(worker.pid, signal.SIGTERM)
        worker.join(0.5)
    worker.join(20)
    assert worker.exitcode == -signal.SIGTERM
    rows.close()


def test_a_worker_that_nobody_closes_ends_after_a_while():
    program = """
        import os, signal, time
        from latent_jax.data import blocks
        blocks._SECONDS_TO_CLOSE = 0.1
        blocks._start_worker(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=60)
    assert done.returncode == 128 + signal.SIGTERM


def test_all_workers_start_before_the_first_is_waited_for():
    log = []

    class Part(grain.DatasetIterator):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def start_prefetch(self):
            log.append(("start", self.name))

        def __next__(self):
            log.append(("next", self.name))
            return {"ids": np.zeros((1, 1, 4), np.int32), "n_bytes": np.zeros((1, 1), np.int32)}

        def get_state(self):
            return {}

        def set_state(self, state):
            pass

    next(blocks._BatchesIterator([Part("a"), Part("b")], 2))
    assert log == [("start", "a"), ("start", "b"), ("next", "a"), ("next", "b")]
