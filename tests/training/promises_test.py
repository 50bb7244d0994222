"""A task whose results have another form is refused while its steps are traced."""

import jax
import jax.numpy as jnp
import pytest

from latent_jax.training.config import OptimizerConfig
from latent_jax.training.mesh import make_mesh
from latent_jax.training.optimizer import make_optimizer
from latent_jax.training.promises import check_headline
from latent_jax.training.state import abstract_state, initial_state
from latent_jax.training.step import lower_eval_step, lower_train_step
from tests.training.byte_task import ByteTask, train_batches


def lower(task):
    """Trace the steps of a task as a run does; nothing is compiled."""
    mesh = make_mesh("pmap", devices=jax.devices()[:1])
    optimizer = make_optimizer(OptimizerConfig(learning_rate=1e-2, warmup_steps=1), 10)
    batch = next(train_batches(16))
    state = abstract_state(initial_state(task, optimizer, batch, 0), mesh, "pmap")
    lower_train_step(task, optimizer, state, batch, 1, mesh)
    lowered = lower_eval_step(task, state.variables, batch, mesh)
    check_headline(task, lowered.out_info)


class Changed(ByteTask):
    """A task whose results a function changes."""

    headline = "bits_per_byte"

    def changed(self, **functions):
        for name, function in functions.items():
            original = getattr(self, name)
            object.__setattr__(
                self, name, lambda *args, f=function, o=original: f(self, o(*args), *args)
            )
        return self


def scores_of(change):
    return lambda task, result, *args: (result[0], (change(result[1][0]), result[1][1]))


CASES = {
    "scalar alone": (
        dict(loss=lambda task, result, *args: result[0]),
        r"Changed.loss of .* must return \(loss, \(scores, collections\)\); got float32\[\]",
    ),
    "no collections": (
        dict(loss=lambda task, result, *args: (result[0], result[1][0])),
        "a task without collections returns {} as collections",
    ),
    "lost collections": (
        dict(loss=lambda task, result, *args: (result[0], (result[1][0], {}))),
        r"loss of .* returns other collections .*byte_counts.* was float32\[258\] and is not there",
    ),
    "a loss for each row": (
        dict(loss=lambda task, result, variables, batch, *args: (
            result[0] * jnp.sum(batch["weights"], axis=1), result[1])),
        r"must return one float, the mean over scored positions; got float32\[16\]: sum the nats",
    ),
    "a whole loss": (
        dict(loss=lambda task, result, *args: (result[0].astype(int), result[1])),
        r"must return one float, .*got int32\[\]",
    ),
    "nats of rows": (
        dict(loss=scores_of(lambda scores: scores | {"nats": jnp.ones(16)})),
        r"the score 'nats' of shape \(16,\), and scores are sums over a batch: sum it",
    ),
    "no weight": (
        dict(loss=scores_of(lambda s: {k: v for k, v in s.items() if k != "weight"})),
        "lack 'weight', which Task of",
    ),
    "scores in a list": (
        dict(loss=scores_of(lambda scores: [*scores])),
        "loss of .* must return scores, arrays by name; got a list",
    ),
    "evaluation of rows": (
        dict(evaluate=lambda task, scores, *args: scores | {"n_bytes": jnp.ones((16,))}),
        r"evaluate of .* has the score 'n_bytes' of shape \(16,\)",
    ),
    "evaluation as a number": (
        dict(evaluate=lambda task, scores, *args: scores["nats"]),
        r"evaluate of .* must return scores, arrays by name; got float32\[\]",
    ),
    "a summary of other scores": (
        dict(evaluate=lambda task, scores, *args: {"weight": scores["weight"]}),
        r"summarize of .* cannot read the scores of evaluate, which are weight\[\] .KeyError",
    ),
    "a summary that is none": (
        dict(summarize=lambda task, metrics, *args: metrics["bits_per_byte"]),
        "summarize of .* must map names to numbers; got metrics: a float",
    ),
    "another summary": (
        dict(summarize=lambda task, metrics, *args: {"nats": 1.0}),
        "gives no 'bits_per_byte', which is the task's headline; it gives nats",
    ),
    "no parameters": (
        dict(init=lambda task, variables, *args: variables["params"]),
        r"""init of .* must return a mapping with "params", as Flax has it; got \[""",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), CASES.values(), ids=CASES)
def test_a_result_of_another_form_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        lower(Changed(dropout=0.0).changed(**changes))
    assert "\n" not in str(error.value)


def test_a_whole_task_passes():
    lower(Changed(dropout=0.0).changed(evaluate=lambda task, scores, *args: scores))
