"""Every unit of a budget becomes the same number of steps when it stands for the same training."""

import pytest

from latent_jax.methods.budget import KEYS, Budget, from_config, parse, set_in, units

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
    none = {**dict.fromkeys(KEYS, 0.0), "other": ""}
    assert from_config({**none, "bytes": 1e6}) == Budget(1e6, "bytes")
    both = (
        "set now: steps=3, bytes=5; keep one and clear the rest, by --config.budget.steps=0 or "
        "--config.budget.bytes=0"
    )
    with pytest.raises(ValueError, match=both):
        from_config({**none, "steps": 3, "bytes": 5})
    with pytest.raises(ValueError, match="set now: none; give one, such as"):
        from_config(none)
    other = "steps=3, other=answers:5; .* by --config.budget.steps=0 or --config.budget.other=$"
    with pytest.raises(ValueError, match=other):
        from_config({**none, "steps": 3.0, "other": "answers:5"})


@pytest.mark.parametrize("text", ["bytes:1234567.5", "answers:1e5", "answers_per_parameter:3"])
def test_a_budget_in_any_unit_that_a_method_counts(text):
    counted = ("answers", "bytes")
    budget, section = parse(text, counted), {**dict.fromkeys(KEYS, 0.0), "other": ""}
    set_in(section, budget)
    assert from_config(section, counted) == budget
    # 10 answers and 100 bytes a step, 5 parameters.
    steps = {"bytes": 12346, "answers": 10_000, "answers_per_parameter": 2}[budget.unit]
    assert budget.steps({"answers": 10.0, "bytes": 100.0}, 0.0, n_parameters=5) == steps
    assert budget.unit in units(counted)


def test_a_unit_that_a_method_does_not_count_is_refused():
    with pytest.raises(ValueError, match=r"'answer' \(did you mean 'answers'\?\); known: steps"):
        parse("answer:5", ("answers",))
    with pytest.raises(ValueError, match="unknown unit of a budget 'answers'"):
        parse("answers:5")
    with pytest.raises(
        ValueError, match=r"unknown unit of a budget .bytes. .*known: steps, flops, answers"
    ):
        Budget(5, "bytes").steps({"answers": 10.0}, 0.0, 5)


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
