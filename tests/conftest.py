"""Settings that must hold before JAX starts, such as eight virtual CPU devices."""

import gc
import os
import signal
from pathlib import Path

import jax
import pytest
from absl import flags
from hypothesis import HealthCheck, settings

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# What these tests cost is compiling; without LLVM's optimizations it takes a quarter of the time,
# half of that without MLIR between HLO and LLVM, and two thirds of that where a program is not
# split for threads. Processes that tests start inherit it all.
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
FLAGS = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *FLAGS))


SLOW = Path(__file__).with_name("slow.txt")
"""Names of tests that are marked slow, one a line."""


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items):
    """Mark the tests that `SLOW` names."""
    names = {line for line in SLOW.read_text().splitlines() if not line.startswith("#")}
    for item in items:
        if item.nodeid in names:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Keep collections of garbage from what was imported, which is most of what there is."""
    gc.collect()
    gc.freeze()


def pytest_configure(config):
    """Share what has been compiled: among tests, their processes, and from one run to the next."""
    folder = str(config.rootpath / ".pytest_cache" / "xla")
    words = {"compilation_cache_dir": folder, "persistent_cache_min_compile_time_secs": 0.0}
    for name, value in words.items():
        jax.config.update(f"jax_{name}", value)
        os.environ[f"JAX_{name.upper()}"] = str(value)


# A shell's background job ignores Ctrl-C, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Grain's worker processes read absl flags, which a test never parses.
flags.FLAGS.mark_as_parsed()

# The first example of a property test pays for compilation, so no deadline holds.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Forget compiled programs after each file, which else add up to gigabytes in a worker."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def batch():
    """A small batch of real English, see `tests.latent_fixtures`."""
    # Imported late: the settings above must hold before anything computes.
    from tests.latent_fixtures import make_batch

    return make_batch()


@pytest.fixture
def defined():
    """Return a list of the flags of a test, which are taken away after it."""
    holders = []
    yield holders
    for holder in holders:
        delattr(flags.FLAGS, holder.name)
