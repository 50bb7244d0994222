import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from latent_jax.training.profiler import SKIPPED, Profiler


@pytest.mark.parametrize(
    ("step", "total", "n_steps", "traced"),
    [
        (0, 20, 3, range(SKIPPED + 1, SKIPPED + 4)),
        (10, 20, 2, range(10 + SKIPPED + 1, 10 + SKIPPED + 3)),
        (0, 3, 2, range(2, 4)),
        (0, 3, 10, range(1, 4)),
        (0, 20, 0, ()),
        (20, 20, 5, ()),
    ],
)
def test_which_steps_are_traced(monkeypatch, tmp_path, step, total, n_steps, traced):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    profiler = Profiler(tmp_path, n_steps, step, total)
    for number in range(step, total):
        profiler.before(number)
        calls.append(number + 1)
        profiler.after(number + 1, jnp.ones(()))
    profiler.close()
    inside = calls[calls.index("start") + 1 : calls.index("stop")] if "start" in calls else []
    assert inside == list(traced)


CUT_SHORT = """
import pathlib, sys
import jax, jax.numpy as jnp
from latent_jax.experiments.profile import summarize_profile
from latent_jax.training.profiler import Profiler

product = jax.jit(lambda x: x @ x)
x = product(jnp.ones((256, 256)))
profiler = Profiler(pathlib.Path(sys.argv[1]), 5, 0, 5)
profiler.before(0)
jax.block_until_ready(product(x))
profiler.close()
profiler.close()
print(summarize_profile(sys.argv[1]))
"""


def test_a_trace_that_is_cut_short_is_written_and_can_be_summed_up(tmp_path):
    # In a process of its own: libtpu, which other tests load, traces TPUs in place of the CPU.
    done = subprocess.run(
        [sys.executable, "-c", CUT_SHORT, tmp_path],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "kind of work" in done.stdout and "nothing (the device waits)" in done.stdout
