"""The integer M1 gives one table for a text under every setting of XLA and of Numba, which compiles
the kernels that files are compressed with; the float one does not.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latent_jax.methods.shipped_files import INTEGER_M1
from tests.exact import probe, reference

ROOT = Path(__file__).parents[2]
N_BYTES = 40

SETTINGS = {
    "as it is": "",
    "8 devices": "--xla_force_host_platform_device_count=8",
    "one thread": "--xla_cpu_multi_thread_eigen=false",
    "SSE4.2": "--xla_cpu_max_isa=SSE4_2",
    "AVX": "--xla_cpu_max_isa=AVX",
    "vectors of 128 bits": "--xla_cpu_prefer_vector_width=128",
    "fast math": "--xla_cpu_enable_fast_math=true --xla_cpu_enable_fast_min_max=true "
    "--xla_cpu_fast_math_honor_nans=false --xla_cpu_fast_math_honor_infs=false "
    "--xla_cpu_fast_math_honor_division=false --xla_cpu_fast_math_honor_functions=false",
    "no thunks": "--xla_cpu_use_thunk_runtime=false",
    "no fusion emitters": "--xla_cpu_use_fusion_emitters=false",
    "XNNPACK": "--xla_cpu_use_xnnpack=true",
    "oneDNN": "--xla_cpu_use_onednn=true",
    "not optimized": "--xla_backend_optimization_level=0",
    "no excess precision": "--xla_allow_excess_precision=false",
}


KERNELS = {
    "any processor": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    "SSE4.2": {"NUMBA_CPU_NAME": "nehalem", "NUMBA_CPU_FEATURES": ""},
    "not optimized": {"NUMBA_OPT": "0"},
    "no vectors": {"NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0"},
}
"""Settings of Numba; each compiles all kernels anew."""


def probed(flags, *words, **settings):
    result = subprocess.run(
        [sys.executable, "-m", "tests.exact.probe", str(N_BYTES), *words],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": flags,
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
            **settings,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def expected():
    """By the reference in NumPy, which knows neither JAX nor the package."""
    model = reference.Model(Path(INTEGER_M1).read_bytes())
    model.context = probe.CONTEXT
    tables = [model.read(int(byte)) for byte in probe.ids_of(N_BYTES)[0]]
    return probe.digest(np.array(tables, np.int32))


def test_the_specification_is_short_and_imports_nothing_of_the_package():
    source = Path(reference.__file__).read_text()
    assert len(source.splitlines()) < 200 and "latent_jax." not in source


def test_other_instructions_give_other_floats_and_the_same_integers():
    found, wanted = probed(SETTINGS["SSE4.2"], "quick"), expected()
    assert set(found["integer"].values()) == {wanted} and len(found["integer"]) == 3
    here = probe.integer_digests(N_BYTES, is_quick=True)
    assert set(here.values()) == {wanted}
    assert found["float"] != probe.float_digest(N_BYTES), "nothing was tested"


@pytest.mark.slow
@pytest.mark.parametrize("setting", KERNELS)
def test_no_setting_of_numba_changes_a_table(setting, tmp_path):
    """A minute each: all kernels are compiled."""
    words = {**KERNELS[setting], "NUMBA_CACHE_DIR": str(tmp_path)}
    found = probed("", "kernels", **words)
    assert found["integer"] == {"kernels": expected()}
    assert [*tmp_path.rglob("*.nbi")], "nothing was compiled"


@pytest.mark.slow
def test_no_setting_changes_a_table():
    """Minutes: a process for each setting."""
    found = {name: probed(flags) for name, flags in SETTINGS.items()}
    wanted = expected()
    wrong = {
        (name, way)
        for name, part in found.items()
        for way, digest in part["integer"].items()
        if digest != wanted
    }
    floats = {name: part["float"] for name, part in found.items()}
    print("\n".join(f"{name}: integer {wanted[:12]}, float {x[:12]}" for name, x in floats.items()))
    assert not wrong
    assert len(set(floats.values())) > 1, "the float model tells settings apart"
