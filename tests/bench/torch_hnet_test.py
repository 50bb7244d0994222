"""The H-Net of h-net-dynamic-chunking, beside ours of the same shape."""

import numpy as np
import pytest

from tests.bench.chunking_test import tiny

NEEDS = "needs pip install -e .[benchmark]"
torch = pytest.importorskip("torch", reason=NEEDS)
pytest.importorskip("h_net_dynamic_chunking", reason=NEEDS)

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from latent_jax.bench.chunking import (  # noqa: E402
    ChunkingBenchmark,
    benchmark_chunking,
    twin_config,
)
from latent_jax.bench.chunking_sides import PEER  # noqa: E402
from latent_jax.bench.step import solved_config  # noqa: E402
from latent_jax.bench.torch_hnet import TorchHNetSteps, check_peer  # noqa: E402
from latent_jax.methods.tasks import make_task  # noqa: E402


def model_config(method="HNet[n=4]", change=twin_config):
    return make_task(*solved_config(change(tiny(method)), 1.0)).model_config


def with_layer_norms(config):
    config = twin_config(config)
    config.model.norm = "layer"
    return config


@pytest.fixture(scope="module")
def steps():
    return TorchHNetSteps(model_config(), 1e-2, 1)


def test_flops_are_those_that_pytorch_counts(steps, monkeypatch):
    ids = np.random.default_rng(0).integers(0, 256, (2, 16), dtype=np.int32)
    for module in steps.model.modules():
        if hasattr(module, "flash"):  # whose kernel on a CPU PyTorch's counter does not know
            monkeypatch.setattr(module, "flash", False)
    steps.aim(ids)
    with FlopCounterMode(display=False) as counter:
        steps.step(ids)
    # A backward pass is worth two forward ones.
    flops = 3 * ids.size * steps.flops_per_position(16)
    assert counter.get_total_flops() == pytest.approx(flops, rel=0.01)


def test_it_cuts_as_often_as_it_is_aimed_at_and_learns(steps):
    ids = np.tile(np.arange(16, dtype=np.int32) * 7, (4, 1))
    steps.aim(ids)
    losses = [float(steps.step(ids)) for _ in range(20)]
    assert losses[-1] < 0.9 * losses[0]
    draw = np.random.default_rng(1)
    noise = draw.integers(0, 256, (64, 16), dtype=np.int32)
    steps.aim(noise)
    threshold = steps.model.hnet.dynamic_sequence_chunker.boundary_threshold
    assert 0 < threshold < 1
    steps.step(noise)
    # The row with the most chunks decides how many are computed: more than the four aimed at.
    assert 4 < steps.n_chunks <= 14
    # A quarter of 64 x 16 positions, and the first ones of rows, which are always cut.
    assert 256 <= steps.n_cut <= 256 + 64
    assert steps.n_cut < 64 * steps.n_chunks


def test_both_are_in_the_table():
    configs = {"Bytes": tiny("Bytes")}
    words = ChunkingBenchmark(n_steps=2)
    of_bytes, twin, peer = benchmark_chunking(configs, twin_config(tiny("HNet[n=4]")), words)
    assert [one["name"] for one in (twin, peer)] == ["HNet[n=4], attention", PEER]
    assert peer["peer_per_flop_ratio"] == 1 and of_bytes["peer_per_flop_ratio"] > 0
    assert "h-net-dynamic-chunking 0" in peer["version"] and "no_peer" not in peer
    assert peer["omp_wait_policy"] and 3 < peer["bytes_per_chunk"] <= 4


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("HNet[n=2,stages=2]", twin_config, "here are 2 and AttentionReach, StageConfig"),
        ("HNet[n=4]", lambda config: config, "here are 1 and MambaReach"),
        ("HNet[n=4]", with_layer_norms, "blocks of .*'norm': 'rms'.*; here .*'norm': 'layer'"),
    ],
)
def test_what_the_package_cannot_make_is_refused(method, change, message):
    with pytest.raises(ValueError, match=message):
        check_peer(model_config(method, change))
