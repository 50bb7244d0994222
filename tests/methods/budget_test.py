"""Every unit of a budget becomes the same number of steps when it stands for the same training."""

import pytest

from latent_jax.methods.budget import UNITS, Budget, from_config, parse

STEP = dict(amounts={"tokens": 512, "bytes": 2048.0}, flops=3e6 * 2048, n_parameters=1024)


@pytest.mark.parametrize(
    ("amount", "unit"),
    [
        (10, "steps"),
        (5120, "tokens"),
        (20480, "bytes"),
        (3 * 1e6 * 20480, "flops"),
        (20, "bytes_per_parameter"),
    ],
)
def test_ten_steps_in_every_unit(amount, unit):
    assert Budget(amount, unit).steps(**STEP) == 10
    assert Budget(amount * 1.01, unit).steps(**STEP) == 11


def test_a_budget_below_one_step_trains_one_step():
    assert Budget(1, "bytes").steps(**STEP) == 1


def test_exactly_one_unit_is_set():
    none = dict.fromkeys(UNITS, 0)
    assert from_config({**none, "bytes": 1e6}) == Budget(1e6, "bytes")
    both = (
        "set now: steps=3, bytes=5; keep one and clear the rest, by --config.budget.steps=0 or "
        "--config.budget.bytes=0"
    )
    with pytest.raises(ValueError, match=both):
        from_config({**none, "steps": 3, "bytes": 5})
    with pytest.raises(ValueError, match="set now: none; give one, such as"):
        from_config(none)


def test_a_budget_is_written_as_it_is_read():
    for text in ("tokens:400000", "bytes_per_parameter:60", "flops:1.5e+12"):
        assert str(parse(text)) == text
    with pytest.raises(ValueError, match="write UNIT:AMOUNT"):
        parse("4e5")
    with pytest.raises(ValueError, match=r"unknown unit of a budget 'token' \(did you mean"):
        parse("token:4e5")


@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf")])
def test_an_empty_budget_is_refused(amount):
    with pytest.raises(ValueError, match="trains nothing"):
        Budget(amount, "bytes")


def test_a_step_that_costs_nothing_spends_no_budget():
    with pytest.raises(ValueError, match=r"a step costs 0 flops, so flops:1e\+09 would never"):
        Budget(1e9, "flops").steps({"tokens": 512, "bytes": 1280.0}, 0.0, 100)
