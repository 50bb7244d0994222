"""What tests of families that cut into chunks share: small configurations, and their tasks."""

from configs import language_model
from latent_jax.contracts import Vocabulary
from latent_jax.methods.tasks import make_task

VOCABULARY = Vocabulary(257, 256, 1.0)
"""That of bytes."""


def config_of(method, **words):
    """Return a configuration; `a__b=1` sets its key a.b."""
    config = language_model.get_config(f"method={method},size=nano")
    config.update_from_flattened_dict({key.replace("__", "."): v for key, v in words.items()})
    return config


def task_of(method, vocabulary=VOCABULARY, **words):
    """Return the task of `config_of`."""
    return make_task(config_of(method, **words), vocabulary)
