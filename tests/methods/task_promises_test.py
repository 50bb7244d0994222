"""A task that lacks something, or has it in another form, is refused where it is made."""

import pytest

from configs import language_model
from latent_jax.contracts import Vocabulary
from latent_jax.methods import registry
from latent_jax.methods.bytes import Bytes
from latent_jax.methods.tasks import make_task

WHOLE = {
    "name": "made_up",
    "headline": "bits_per_byte",
    "component_flops": {"table": 2.0, "head": 1.0},
    "flops_per_byte": 3.0,
    "train_flops_per_byte": 9.0,
    "tokenizer_flops_per_byte": 0.0,
    "fields": ("ids",),
    "frozen": (),
    "stacks": (),
    "amounts": {"bytes": 1.0, "tokens": 1.0},
} | {
    name: lambda *arguments: None
    for name in ("init", "loss", "train_flops", "evaluate", "summarize")
}


def task_of(monkeypatch, task):
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))

    @registry.register
    class Half(Bytes):
        """Made in a test."""

        name, example, summary = "Half", "Half", "a family of this test"

        def make_task(self, *arguments):
            return task

    config = language_model.get_config("method=Bytes,size=nano")
    config.method = "Half"
    return make_task(config, Vocabulary(257, 256, 1.0))


def made(**changes):
    return type("MadeUp", (), {**WHOLE, **changes})()


def test_a_whole_task_passes(monkeypatch):
    task = made()
    assert task_of(monkeypatch, task) is task
    with pytest.raises(ValueError, match=r"make_task of the family Half in .* returned None"):
        task_of(monkeypatch, None)


@pytest.mark.parametrize("name", WHOLE)
def test_what_a_task_lacks_is_named(name, monkeypatch):
    task = type("MadeUp", (), {key: value for key, value in WHOLE.items() if key != name})()
    with pytest.raises(ValueError, match=f"the task MadeUp of .* lacks {name}; Task of") as error:
        task_of(monkeypatch, task)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(name=""), "name must be text; got ''"),
        (dict(amounts={}), r"family Half has amounts \('bytes', 'tokens'\), and .* counts \(\)"),
        (dict(amounts=("bytes",)), "amounts must map units to"),
        (dict(amounts={"bytes": None, "tokens": 1.0}), "amounts must map units to"),
        (dict(component_flops={"table": -3.0}), "component_flops must map components to finite"),
        (dict(flops_per_byte=float("nan")), "flops_per_byte must be a finite number"),
        (dict(flops_per_byte=5.0), "flops_per_byte is 5, and component_flops add up to 3"),
        (dict(fields="ids"), "fields must be a tuple of text; got 'ids'"),
        (dict(stacks=None), "stacks must be a tuple of stacks"),
        (dict(loss=3.0), "loss must be a method; got 3.0"),
    ],
)
def test_what_a_task_has_in_another_form_is_named(changes, message, monkeypatch):
    with pytest.raises(ValueError, match=message):
        task_of(monkeypatch, made(**changes))
