import jax
import pytest

from latent_jax.training.mesh import (
    check_batch,
    check_rows_read,
    initialize_distributed,
    make_mesh,
)


def test_axes_of_each_strategy():
    assert dict(make_mesh("pmap").shape) == {"data": 8}
    assert dict(make_mesh("fsdp", devices=jax.devices()[:4]).shape) == {"data": 4}
    assert dict(make_mesh("tensor", 2).shape) == {"data": 4, "model": 2}


def test_a_model_axis_that_does_not_divide_names_what_does():
    with pytest.raises(ValueError, match=r"model_parallel=3 does not divide 8.*1, 2, 4, 8"):
        make_mesh("tensor", 3)


def test_a_batch_that_does_not_divide_names_the_nearest():
    mesh = make_mesh("pmap")
    check_batch(mesh, 32, accumulation=4)
    with pytest.raises(ValueError, match=r"20 rows .* 8 devices .* x 1 .* use a batch of 16 or 24"):
        check_batch(mesh, 20)
    with pytest.raises(ValueError, match=r"= 32: use a batch of 32,"):
        check_batch(mesh, 8, accumulation=4)


def test_problems_that_do_not_divide_name_the_nearest_batch():
    mesh = make_mesh("pmap")
    check_rows_read(mesh, 64, n_read=16)
    with pytest.raises(ValueError, match=r"=48 .* 12 problems, .* 8 devices .* of 64, or"):
        check_rows_read(mesh, 48, n_read=12)


def test_half_of_a_cluster_description_is_refused(monkeypatch):
    assert not initialize_distributed()
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(ValueError, match=r"coordinator_address, process_id too.*JAX_PROCESS_ID"):
        initialize_distributed()
