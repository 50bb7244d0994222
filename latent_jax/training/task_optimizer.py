"""The optimizer of a task: what its modules and the task itself say of single parameters counts."""

import optax

from latent_jax.contracts import Task
from latent_jax.training.config import OptimizerConfig
from latent_jax.training.decay import declared_decay
from latent_jax.training.feed import Spec
from latent_jax.training.optimizer import make_optimizer


def optimizer_of(
    task: Task, spec: Spec, config: OptimizerConfig, total_steps: int, extension_steps: int = 0
) -> optax.GradientTransformation:
    """Return the optimizer of a task.

    Args:
        task: see `latent_jax.contracts.Task`; its `rates` count, if it has any.
        spec: of a batch.
        config: of the optimizer.
        total_steps: of the run.
        extension_steps: those of them that were added.

    Raises:
        ValueError: see `make_optimizer`.
    """
    declared, rates = declared_decay(task, spec), getattr(task, "rates", {})
    return make_optimizer(config, total_steps, extension_steps, declared, rates)
