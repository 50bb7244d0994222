"""One training step of each task, held against numbers that were read off once.

A difference means that the model, the loss, the initialisation or the order of random draws has
changed. Where that was meant, write the numbers anew and say so in the commit:

    python -m tests.experiments.golden_test
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

from latent_jax.models.gpt import GPTConfig
from latent_jax.tasks.language_modeling import LanguageModeling
from latent_jax.tasks.latent_language import LatentLanguage
from tests.latent_fixtures import T, make_batch, make_config

GOLDEN = Path(__file__).parents[1] / "golden"


def tasks():
    gpt = GPTConfig(vocab_size=257, max_length=T, n_layers=2, d_model=16, n_heads=2)
    return {
        "language_modeling": LanguageModeling(gpt, 256, T, 1.0),
        **{
            f"latent_language-{kind}": LatentLanguage(
                make_config(kind), row_length=T, lm_gradient="input_and_target"
            )
            for kind in ("conv1d", "ssm")
        },
    }


def one_step(task, batch):
    """Loss and scores of the first step, and of the second after an update of 0.1 x gradient."""
    variables = jax.jit(task.init)(jax.random.key(0), batch)
    params, state = variables["params"], {k: v for k, v in variables.items() if k != "params"}

    @jax.jit
    def step(params, state, number):
        def loss(params):
            return task.loss({"params": params, **state}, batch, jax.random.key(1), number, True)

        (value, (scores, state_)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        update = jax.tree.map(lambda g: -0.1 * g, gradient)
        return optax.apply_updates(params, update), state_, value, scores

    numbers = {}
    for number in (0, 1):
        params, state, loss, scores = step(params, state, jnp.int32(number))
        sums = {name: float(jnp.sum(score)) for name, score in scores.items()}
        numbers[f"step {number}"] = {"loss": float(loss), **sums}
    return numbers


@pytest.mark.parametrize("name", tasks())
def test_the_first_two_steps_are_as_they_were(name, batch):
    expected = json.loads((GOLDEN / f"{name}.json").read_text())
    made = one_step(tasks()[name], batch)
    for step, scores in expected.items():
        assert made[step] == pytest.approx(scores, rel=2e-4, abs=1e-4), (
            f"{step} of {name} has changed; if that was meant, write tests/golden anew: "
            "python -m tests.experiments.golden_test"
        )


if __name__ == "__main__":
    for task_name, golden_task in tasks().items():
        numbers = one_step(golden_task, make_batch())
        (GOLDEN / f"{task_name}.json").write_text(json.dumps(numbers, indent=2) + "\n")
