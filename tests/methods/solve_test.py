"""Row length, width and steps that a configuration leaves to the text."""

import pytest

from configs import language_model
from latent_jax.contracts import Vocabulary
from latent_jax.methods import solve
from latent_jax.methods.solve import amounts_of_step, solve_extension, solve_shape, solve_steps
from latent_jax.methods.tasks import make_task

VOCABULARY = Vocabulary(257, 256, bytes_per_token=2.5)


def config_of(**words):
    config = language_model.get_config("method=Bytes,size=nano")
    config.update(words)
    return config


def test_nothing_is_changed_where_nothing_is_asked_for():
    config = config_of()
    assert solve_shape(config, VOCABULARY).to_dict() == config.to_dict()


@pytest.mark.parametrize(("context", "row_length"), [(1280, 512), (1300, 520), (1, 8)])
def test_a_context_in_bytes_sets_the_row(context, row_length):
    solved = solve_shape(config_of(context_bytes=context), VOCABULARY)
    assert solved.row_length == row_length


@pytest.mark.parametrize(("m1", "n_kv_heads"), [(0.0, 0), (4e5, 0), (0.0, 2)])
def test_the_widest_model_within_inference_flops(m1, n_kv_heads):
    target, step = 1e6, n_kv_heads or 1
    config = config_of(inference_flops_per_byte=target)
    config.model.n_kv_heads = n_kv_heads
    vocabulary = Vocabulary(257, 256, 2.5, flops_per_byte=m1)
    solved = solve_shape(config, vocabulary)
    head_size = config.model.d_model // config.model.n_heads
    assert solved.model.d_model == solved.model.n_heads * head_size
    assert make_task(solved, vocabulary).flops_per_byte + m1 <= target
    solved.model.n_heads += step
    solved.model.d_model += step * head_size
    assert make_task(solved, vocabulary).flops_per_byte + m1 > target


def test_feed_forward_parts_take_up_the_rest():
    target = 1e6
    config = config_of(inference_flops_per_byte=target)
    heads = solve_shape(config, VOCABULARY)
    config.inference_fit = "d_ff"
    both = solve_shape(config, VOCABULARY)
    assert both.model.d_model == heads.model.d_model and both.model.d_ff > heads.model.d_ff
    cost = make_task(both, VOCABULARY).flops_per_byte
    assert make_task(heads, VOCABULARY).flops_per_byte < cost <= target
    both.model.d_ff += 1
    assert make_task(both, VOCABULARY).flops_per_byte > target


def test_m1_makes_the_model_narrower():
    config = config_of(inference_flops_per_byte=1e6)
    free, driven = (
        solve_shape(config, Vocabulary(257, 256, 2.5, flops_per_byte=m1)) for m1 in (0.0, 4e5)
    )
    assert driven.model.d_model < free.model.d_model


def test_what_costs_too_much_at_any_width_is_refused():
    config = config_of(inference_flops_per_byte=1e5)
    with pytest.raises(ValueError, match=r"Bytes costs at least .* 2e\+05 of them for M1"):
        solve_shape(config, Vocabulary(257, 256, 2.5, flops_per_byte=2e5))


def test_a_feed_forward_part_keeps_its_share_of_the_width():
    config = config_of(inference_flops_per_byte=1e6)
    config.model.d_ff = 2 * config.model.d_model
    solved = solve_shape(config, VOCABULARY)
    assert solved.model.d_ff == 2 * solved.model.d_model != config.model.d_ff


def test_a_latent_method_is_refused():
    config = config_of(method="Latent[conv1d,c=2,k=16]", context_bytes=100)
    with pytest.raises(ValueError, match="leave them 0 for Latent"):
        solve_shape(config, VOCABULARY)


def test_steps_of_a_budget_per_parameter():
    config = config_of()
    config.budget.bytes = 0.0
    config.budget.bytes_per_parameter = 10.0
    steps, budget = solve_steps(config, make_task(config, VOCABULARY))
    n_layers, width = config.model.n_layers, config.model.d_model
    inner = n_layers * (12 * width**2 + 13 * width) + 2 * width
    per_step = config.batch_size * config.row_length * 2.5
    assert str(budget) == "bytes_per_parameter:10"
    assert abs(steps - 10 * inner / per_step) <= 1


def test_an_extension_adds_what_one_larger_budget_would_buy():
    config = config_of()
    per_step = config.batch_size * config.row_length * 2.5
    config.budget.bytes = 200.4 * per_step
    assert solve_extension(config, make_task(config, VOCABULARY)) == 0
    assert solve_steps(config, make_task(config, VOCABULARY))[0] == 201
    config.budget.extend = f"bytes:{100.4 * per_step}"
    assert (
        solve_extension(config, make_task(config, VOCABULARY)) == 100
    )  # 300.8 steps together, rounded up once
    config.budget.extend = "steps:7"
    assert solve_extension(config, make_task(config, VOCABULARY)) == 7
    config.budget.extend = "byte:7"
    with pytest.raises(ValueError, match=r"unit of a budget 'byte' \(did you mean 'bytes'\?\)"):
        solve_extension(config, make_task(config, VOCABULARY))


def test_a_budget_that_is_all_warm_up_is_refused():
    config = config_of()
    config.budget.update(bytes=0.0, steps=30.0)
    message = (
        "30 steps are not more than optimizer.warmup_steps=100: lower it, such as "
        "--config.optimizer.warmup_steps=3, or raise the budget, steps=30"
    )
    with pytest.raises(ValueError, match=message):
        solve_steps(config, make_task(config, VOCABULARY))
    config.budget.update(bytes=1.0, steps=0.0)
    with pytest.raises(ValueError, match=r"1 step is not more .*warmup_steps=0, .* bytes=1$"):
        solve_steps(config, make_task(config, VOCABULARY))


def test_the_tokens_of_a_latent_method_are_its_codes():
    config = config_of(method="Latent[conv1d,c=4,k=16]")
    n_ids = config.batch_size * config.row_length
    vocabulary = Vocabulary(257, 256, 1.0)
    expected = {"bytes": n_ids, "tokens": n_ids / 4}
    assert amounts_of_step(config, make_task(config, vocabulary)) == expected
    other = config_of()
    expected = {"bytes": 2.5 * n_ids, "tokens": n_ids}
    assert amounts_of_step(other, make_task(other, VOCABULARY)) == expected
    config.budget.bytes = 0.0
    config.budget.tokens = 200.0 * n_ids
    assert solve_steps(config, make_task(config, vocabulary))[0] == 800


def test_a_task_that_costs_the_same_at_any_width_is_refused(monkeypatch):
    task = make_task(config_of(), VOCABULARY)
    monkeypatch.setattr(solve, "make_task", lambda config, vocabulary: task)
    with pytest.raises(ValueError, match="FLOPs per byte at any width, so inference_flops"):
        solve_shape(config_of(inference_flops_per_byte=1e9), VOCABULARY)
