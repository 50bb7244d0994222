"""A configuration made into a task; nothing is read, so that a test can build every config."""

from ml_collections import ConfigDict

from latent_jax.contracts import Task, Vocabulary
from latent_jax.methods.names import parse
from latent_jax.methods.registry import family
from latent_jax.platform import Platform


def make_task(config: ConfigDict, vocabulary: Vocabulary, platform: Platform | None = None) -> Task:
    """Return the task of a configuration.

    Args:
        config: as `configs.common.default` makes it.
        vocabulary: of its tokenizer.
        platform: what its programs are made for; it settles every "auto". None: this process's.

    Raises:
        ValueError: the configuration describes no network; the message names the key.
    """
    method = parse(config.method)
    platform = platform or Platform.current()
    return family(method.family).make_task(method, config, vocabulary, platform)
