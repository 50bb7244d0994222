"""Makes the task of a configuration; no file is read, so a test can build every config."""

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
        platform: the platform its programs are for, which decides every "auto"; None = that of
            this process.

    Raises:
        ValueError: no model can be made from a value; the message names its config key.
        TypeError: the task counts other units than its family says.
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
