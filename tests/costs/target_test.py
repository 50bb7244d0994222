import re
import subprocess
import sys

import jax
import pytest

from latent_jax.costs import libtpu
from latent_jax.costs.target import CUDA_CHIPS, make_target
from latent_jax.platform import Platform
from tests.costs.targets import needs_libtpu


@needs_libtpu
@pytest.mark.parametrize(
    ("topology", "n_devices", "name"),
    [("v5e:4x4", 16, "TPU v5e"), ("v5p:2x2x2", 8, "TPU v5p"), ("v6e:2x4", 8, "TPU v6e")],
)
def test_a_slice_has_the_chips_of_its_layout(topology, n_devices, name):
    target = make_target(topology)
    assert len(target.devices) == n_devices
    assert target.chip.name == name
    assert target.platform == Platform("tpu") and target.compiles


def test_cuda_is_cpu_devices_that_stand_for_gpus():
    target = make_target("cuda", 4, "H200")
    assert len(target.devices) == 4 and target.devices[0].platform == "cpu"
    assert target.chip.name == "H200" and target.platform == Platform("cuda")
    assert not target.compiles
    assert [make_target("cuda", 1, name).chip.name for name in CUDA_CHIPS] == list(CUDA_CHIPS)


@pytest.mark.parametrize(
    "word",
    ["v5f:4x4", "v5e", "v5e:4", "v5e:4*4", "v5e:2x2x2", "v5p:4x4", "v5e:0x2", "tpu", "CUDA", ""],
)
def test_an_unknown_topology_is_refused_with_those_that_are(word):
    with pytest.raises(ValueError, match=r"unknown topology .*write v5e:LAYOUT.* or cuda"):
        make_target(word)


@needs_libtpu
def test_a_layout_that_no_slice_has_is_refused():
    with pytest.raises(ValueError, match="v5e:3x3 is no layout of TPU v5e"):
        make_target("v5e:3x3")


def test_words_of_the_other_platform_are_refused():
    with pytest.raises(ValueError, match="n_devices=2 is for cuda"):
        make_target("v5e:2x2", n_devices=2)
    with pytest.raises(ValueError, match="chip=A100 is for cuda; v5e:2x2 says which chips"):
        make_target("v5e:2x2", cuda_chip="A100")
    with pytest.raises(ValueError, match="unknown chip 'H1000'"):
        make_target("cuda", 1, "H1000")
    with pytest.raises(ValueError, match="n_devices must be 1 to 4096; got 0"):
        make_target("cuda", 0)
    with pytest.raises(ValueError, match="n_devices must be 1 to 4096; got 1000000"):
        make_target("cuda", 1_000_000)


def test_too_few_cpu_devices_name_the_way_out():
    n_devices = len(jax.devices("cpu")) + 1
    with pytest.raises(ValueError, match=f"JAX_NUM_CPU_DEVICES={n_devices}"):
        make_target("cuda", n_devices)


def test_without_libtpu_the_message_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(libtpu.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(libtpu, "FOLDER", tmp_path)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(ValueError, match=r"libtpu, which is not installed: .*pip install.*\[tpu\]"):
        make_target("v5e:2x2")


def test_it_is_the_libtpu_that_jax_asks_for():
    assert re.fullmatch(r"libtpu==0\.0\.\d+\.\*", libtpu.requirement())
    assert jax.__version__ in libtpu.FOLDER.name


@needs_libtpu
def test_several_processes_load_libtpu_at_a_time():
    code = (
        "import time\n"
        "from latent_jax.costs.target import make_target, stay_on_cpu\n"
        "stay_on_cpu()\n"
        "print(len(make_target('v5e:2x2').devices), flush=True)\n"
        "time.sleep(2)\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [out for out, _ in outputs] == ["4\n", "4\n"], outputs
    assert all(not err for _, err in outputs), "libtpu is silent"
