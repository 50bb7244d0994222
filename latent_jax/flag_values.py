"""Values of flags that no command can mean, refused before any work is done."""

import math
import re
from collections.abc import Collection, Sequence

from absl import flags

from latent_jax.paths import is_remote
from latent_jax.system_errors import check_writable, describe_os_error

FILES = ("json", "summary", "results", "picture", "per_character")
"""Flags that name a file to write, in every command that has them."""

MOST = 2**62


def check_values() -> None:
    """Refuse numbers that are none and files that cannot be written, before any work is done."""
    for name in FILES:
        path = flags.FLAGS[name].value if name in flags.FLAGS else None
        if not isinstance(path, str) or not path or is_remote(path):
            continue
        if path == "-":
            raise ValueError(f"--{name}=- is no path: write /dev/stdout, or ./- for such a name")
        try:
            check_writable(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"--{name}={path}: {describe_os_error(error)}") from error
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"--{name} must be a finite number; got {value}")
        if isinstance(value, int) and abs(value) > MOST:
            raise ValueError(f"--{name} must be a number below 2^62; got {value}")


def check_local(arguments: Sequence[str], may_be_remote: Collection[str]) -> None:
    """Refuse folders in buckets where a command reads and writes on a disk only.

    Args:
        arguments: those that are no flags.
        may_be_remote: names of flags that may be in a bucket.
    """
    values = [("an argument", text) for text in arguments]
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        if name not in may_be_remote and isinstance(value, str | list):
            values += [(f"--{name}", x) for x in ([value] if isinstance(value, str) else value)]
    for name, value in values:
        if isinstance(value, str) and re.match(r"(gs|s3|az|abfss?|hdfs)://", value):
            can = " and ".join(f"--{flag}" for flag in may_be_remote)
            raise ValueError(
                f"{name} is {value}, and this command reads and writes it on a disk only"
                f"{f'; {can} may be in a bucket' if can else ''}: copy it (gcloud storage cp -r), "
                "or mount the bucket and give the path of the mount"
            )
