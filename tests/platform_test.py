import jax
import pytest

from latent_jax.models.gpt import GPTConfig
from latent_jax.platform import MAX_UNROLLED, PLATFORMS, Platform, chip

SHAPE = dict(vocab_size=8, max_length=16, d_model=16, n_heads=2)


def test_what_a_config_leaves_open_is_settled_by_the_platform():
    left_open = GPTConfig(**SHAPE, n_layers=3, attention_implementation="auto", scan_unroll=0)
    chosen = {kind: left_open.resolved(Platform(kind)) for kind in PLATFORMS}
    assert {kind: config.attention_implementation for kind, config in chosen.items()} == {
        "cpu": "tiled",
        "cuda": "cudnn",
        "tpu": "splash",
    }
    assert {kind: config.scan_unroll for kind, config in chosen.items()} == {
        "cpu": 3,
        "cuda": 3,
        "tpu": 1,
    }


def test_what_a_config_says_stays():
    said = GPTConfig(**SHAPE, n_layers=4, attention_implementation="xla", scan_unroll=2)
    assert all(said.resolved(Platform(kind)) == said for kind in PLATFORMS)


@pytest.mark.parametrize("kind", PLATFORMS)
def test_a_deep_stack_stays_a_loop(kind):
    assert Platform(kind).scan_unroll(MAX_UNROLLED[kind] + 1) == 1


def test_dtype_and_head():
    assert [Platform(kind).dtype for kind in PLATFORMS] == ["float32", "bfloat16", "bfloat16"]
    assert Platform("cpu").head(257) == "whole"
    assert Platform("cpu").head(65_537) == "blocks"
    assert Platform("cuda").head(257) == Platform("tpu").head(65_537) == "fused"


def test_this_process_runs_on_a_cpu():
    assert Platform.current() == Platform("cpu")
    with pytest.raises(ValueError, match=r"unknown platform 'cude' \(did you mean 'cuda'\?\)"):
        Platform("cude")


def test_chips_are_known_by_what_jax_calls_them():
    assert chip("NVIDIA H100 80GB HBM3").flops == 989e12
    assert chip("TPU v5 lite").memory_bytes == 16 * 2**30
    assert chip("TPU v5").name == "TPU v5p"
    assert chip(jax.devices()[0].device_kind) is None


def test_a_byte_model_has_a_worker_for_each_core_and_a_chip_no_more_than_fit():
    assert Platform("cpu").byte_model_workers(n_devices=8, n_cores=2) == 2
    assert Platform("cuda").byte_model_workers(n_devices=1, n_cores=12) == 12
    assert Platform("cuda").byte_model_workers(n_devices=1, n_cores=96) == 16
    assert Platform("cuda").byte_model_workers(n_devices=8, n_cores=4) == 8


@pytest.mark.parametrize("kind", PLATFORMS)
def test_options_are_known_to_xla(kind):
    for options in (Platform(kind).same_order_options, Platform(kind).run_once_options(100)):
        assert jax.jit(lambda x: x + 1).lower(1.0).compile(options)(1.0) == 2
    with pytest.raises(Exception, match="No such compile option"):
        jax.jit(lambda x: x + 1).lower(1.0).compile({"xla_gpu_no_such_option": True})


def test_a_large_program_is_optimized_even_if_it_runs_once():
    assert Platform("cpu").run_once_options(1_000_000)
    assert Platform("cpu").run_once_options(100_000_000) is None


def test_a_cpu_is_host_and_device():
    assert [Platform(kind).works_beside_host for kind in PLATFORMS] == [False, True, True]
    assert [Platform(kind).draws_on_host for kind in PLATFORMS] == [True, True, False]
