"""Every unit of a budget becomes the same number of steps when it stands for the same training."""

import pytest

from latent_jax.methods.budget import Budget, from_config

STEP = dict(tokens_per_step=512, bytes_per_token=4.0, flops_per_byte=1e6)


@pytest.mark.parametrize(
    ("amount", "unit"),
    [(10, "steps"), (5120, "tokens"), (20480, "bytes"), (3 * 1e6 * 20480, "flops")],
)
def test_ten_steps_in_every_unit(amount, unit):
    assert Budget(amount, unit).steps(**STEP) == 10
    assert Budget(amount * 1.01, unit).steps(**STEP) == 11


def test_a_budget_below_one_step_trains_one_step():
    assert Budget(1, "bytes").steps(**STEP) == 1


def test_exactly_one_unit_is_set():
    assert from_config(dict(steps=0, tokens=0, bytes=1e6, flops=0)) == Budget(1e6, "bytes")
    with pytest.raises(ValueError, match="set now: steps=3, bytes=5"):
        from_config(dict(steps=3, tokens=0, bytes=5, flops=0))
    with pytest.raises(ValueError, match="set now: none"):
        from_config(dict(steps=0, tokens=0, bytes=0, flops=0))


@pytest.mark.parametrize("amount", [0, -1, float("nan"), float("inf")])
def test_an_empty_budget_is_refused(amount):
    with pytest.raises(ValueError, match="trains nothing"):
        Budget(amount, "bytes")
