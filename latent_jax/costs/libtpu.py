"""Where libtpu is, the compiler of TPUs, on a machine without one.

Where libtpu can be imported, JAX looks for a TPU in every process: that takes two seconds, and
prints what it does not find. So the tests have it in a folder beside the packages, where only
`launch/compile.py` looks. `python -m latent_jax.costs.libtpu` prints the folder, and what
pip has to put there.
"""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

import jax

FOLDER = Path(sys.prefix) / "share" / f"libtpu-{jax.__version__}"
"""Beside the packages of this environment; another JAX wants another libtpu."""


def find_libtpu() -> bool:
    """Return whether there is a libtpu, and tell JAX where, if it would not find it by itself."""
    if "TPU_LIBRARY_PATH" in os.environ or importlib.util.find_spec("libtpu"):
        return True
    library = FOLDER / "libtpu" / "libtpu.so"
    if library.exists():
        os.environ["TPU_LIBRARY_PATH"] = str(library)
    return library.exists()


def requirement() -> str:
    """Return the libtpu that the installed JAX asks for, such as "libtpu==0.0.42.*"."""
    wanted = (line.partition(";")[0].strip() for line in importlib.metadata.requires("jax"))
    return next(line for line in wanted if line.startswith("libtpu"))


if __name__ == "__main__":
    print(FOLDER, requirement())
