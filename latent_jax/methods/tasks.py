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
        TypeError: the task does not count what its family says.
    """
    method = parse(config.method)
    known, platform = family(method.family), platform or Platform.current()
    task = known.make_task(method, config, vocabulary, platform)
    if tuple(task.amounts) != known.amounts:
        raise TypeError(
            f"the family {known.name} has amounts {known.amounts}, and its task {task.name} counts "
            f"{tuple(task.amounts)}: they are one thing, name them alike"
        )
    return task
