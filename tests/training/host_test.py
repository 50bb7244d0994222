"""What is set for a whole process is tested in processes of their own."""

import os
import platform
import subprocess
import sys

import pytest

from latent_jax.training import host
from latent_jax.training.host import keep_memory, share_heap, spread_over_cores


def run_python(code, **variables):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "JAX_", "XLA_"))}
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**kept, "JAX_PLATFORMS": "cpu", **variables},
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


CORES_AND_BATCHES = """
import jax
from latent_jax.training import host
for cores, batches in ((6, [32]), (6, [9]), (6, [7]), (4, [32, 6]), (64, [64]), (2, [32])):
    jax.config.update("jax_num_cpu_devices", -1)
    host.n_cores = lambda: cores
    print(host.spread_over_cores(batches))
print(jax.device_count())
"""


def test_every_batch_divides_among_the_devices():
    assert run_python(CORES_AND_BATCHES) == ["4", "3", "1", "2", "8", "2", "2"]


@pytest.mark.parametrize(
    "variables",
    [
        {"JAX_NUM_CPU_DEVICES": "3"},
        {"XLA_FLAGS": "--xla_force_host_platform_device_count=3"},
    ],
)
def test_a_number_of_devices_that_was_chosen_stays(variables):
    code = (
        "import jax; from latent_jax.training import host; host.n_cores = lambda: 2; "
        "print(host.spread_over_cores([32]), jax.device_count())"
    )
    assert run_python(code, **variables) == ["0", "3"]
    # So it is in this process, where conftest.py chose eight.
    assert spread_over_cores([32]) == 0


FAULTS = """
import resource
from latent_jax.training.host import keep_memory
print(keep_memory())
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    text = b"x" * (256 << 20)
    del text
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    told, faults = run_python(FAULTS)
    assert told == "True" and int(faults) < 1000
    told, faults = run_python(FAULTS, MALLOC_TOP_PAD_="131072")
    assert told == "False" and int(faults) > 10_000


GIVEN_BACK = """
from pathlib import Path
from latent_jax.training import host
host.LARGE_BLOCK = 1 << 27
host.keep_memory()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) >> 8
for megabytes in (100, 600):  # the second finds no room in the heap
    before = resident()
    block = b"x" * (megabytes << 20)
    del block
    print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_blocks_are_given_back():
    kept, given_back = map(int, run_python(GIVEN_BACK))
    assert kept > 90
    is_old = tuple(map(int, platform.libc_ver()[1].split(".")[:2])) < (2, 35)
    assert given_back > 90 if is_old else given_back < 10


FAULTS_OF_A_THREAD = """
import resource, threading
from latent_jax.training.host import keep_memory, share_heap
keep_memory()
print(share_heap(int(sys.argv[1]), 64, 2))
def work():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        text = b"x" * (256 << 20)
        del text
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_threads_share_a_heap_only_where_steps_are_large():
    large, small = (FAULTS_OF_A_THREAD.replace("int(sys.argv[1])", n) for n in ("8000", "7000"))
    told, faults = run_python(large)
    assert told == "True" and int(faults) < 1000
    told, faults = run_python(small)
    assert told == "False" and int(faults) > 10_000  # mapped: larger than the heap of a thread


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_attention_and_a_single_device_decide_as_well(monkeypatch):
    told = []
    monkeypatch.setattr(host, "_tell_malloc", lambda *settings: told.append(settings) or True)
    assert not share_heap(1000, 64, 2) and not told
    assert not share_heap(1000, 64, 2, n_heads=4, row_length=1000, n_devices=2) and not told
    assert share_heap(2100, 64, 2, n_heads=4, row_length=1000, n_devices=2) and len(told) == 1
    assert share_heap(1000, 64, 2, n_devices=1) and len(told) == 2


def test_an_environment_that_sets_malloc_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert not keep_memory()
    assert not share_heap(1e9, 64, 2)
