"""How many workers share texts: as many as idle lanes cost nothing for."""

import os
import signal
import threading
import time
import types

import pytest

from latent_jax.tokenizers import AC
from latent_jax.tokenizers.lockstep import shared
from tests.tokenizers.byte_models import byte_model


@pytest.mark.parametrize(
    ("n_items", "skips_idle", "side_by_side", "n_workers"),
    [
        (3, False, 0, 1),  # one step for three texts costs what three steps for one each do
        (4, False, 0, 1),
        (5, False, 0, 2),
        (100, False, 0, 3),
        (3, True, 0, 3),
        (2, True, 0, 2),
        (3, False, 1, 3),
        (3, True, 2, 2),
        (0, True, 0, 0),
    ],
)
def test_workers(n_items, skips_idle, side_by_side, n_workers):
    model = types.SimpleNamespace(lanes=4, workers=3, skips_idle=skips_idle)
    groups = []

    def work(items, worker):
        groups.append(worker)
        return [-item for item in items]

    items = list(range(n_items))
    found = shared(work, items, [1 + item % 5 for item in items], model, side_by_side)
    assert found == [-item for item in items]
    assert sorted(groups) == [*range(n_workers)]


def test_a_signal_ends_all_threads_at_once():
    """Each text alone takes minutes; the pool would wait for them."""
    code, texts = AC(byte_model(lanes=2), 256), [b"an elephant " * 50_000] * 8
    assert code.encode_batch([b"a", b"b", b"c"]) and code.model.workers > 1  # compiled
    before = set(threading.enumerate())
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        code.encode_batch(texts)
    assert time.monotonic() - began < 20
    timer.join()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=20)
        assert not thread.is_alive(), thread
