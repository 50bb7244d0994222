import os
import subprocess
import sys
from pathlib import Path

import jax
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
    monkeypatch.setattr(jax, "block_until_ready", lambda state: calls.append(f"wait for {state}"))
    profiler = Profiler(tmp_path, n_steps, step, total)
    for number in range(step, total):
        profiler.before(number, number)
        calls.append(number + 1)
        profiler.after(number + 1, number + 1)
    profiler.close()
    expected = []
    for number in range(step + 1, total + 1):
        if traced and number == traced[0]:
            expected += [f"wait for {number - 1}", "start"]
        expected.append(number)
        if traced and number == traced[-1]:
            expected += [f"wait for {number}", "stop"]
    assert calls == expected


TRACED = """
import pathlib, sys
import jax, jax.numpy as jnp
from latent_jax.costs.profile import summarize_profile
from latent_jax.training.profiler import Profiler, mark_step

jax.config.update("jax_num_cpu_devices", 2)
mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
step = jax.jit(jax.vmap(lambda x: x @ x), donate_argnums=0)  # takes long enough to run on
state = step(jax.device_put(jnp.full((2, 1000, 1000), 1e-3), rows))
n_steps, total = int(sys.argv[2]), 9
profiler = Profiler(pathlib.Path(sys.argv[1]), n_steps, 0, total)
for number in range(total):
    profiler.before(number, state)
    with mark_step(number + 1):
        state = step(state)
    profiler.after(number + 1, state)
    if number == 7:
        break
jax.block_until_ready(state)
profiler.close()
profiler.close()
print(summarize_profile(sys.argv[1]))
"""


@pytest.mark.parametrize(("n_steps", "traced"), [(3, 3), (4, 3)])
def test_a_trace_holds_its_steps_alone_and_may_be_cut_short(tmp_path, n_steps, traced):
    # In a process of its own: libtpu, which other tests load, traces TPUs in place of the CPU.
    done = subprocess.run(
        [sys.executable, "-c", TRACED, tmp_path, str(n_steps)],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert f"{traced} steps on 2 devices in " in done.stdout
    assert "kind of work" in done.stdout and "nothing (the device waits)" in done.stdout
    (product,) = (line for line in done.stdout.splitlines() if line.startswith("matrix products"))
    assert product.split()[-1] == "1.0"
