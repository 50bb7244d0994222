"""Finds libtpu, which has the TPU compiler, on a machine without a TPU.

If libtpu can be imported, JAX looks for a TPU in every process, which takes two seconds and prints
warnings. So tests keep libtpu in a folder beside the packages, where only `launch/compile.py`
looks. `python -m latent_jax.costs.libtpu` prints this folder and the requirement for pip to install
there.
"""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

import jax

FOLDER = Path(sys.prefix) / "share" / f"libtpu-{jax.__version__}"
"""Folder in this environment; its name has JAX's version, because each JAX needs its own libtpu."""


def find_libtpu() -> bool:
    """Return whether there is a libtpu; tell JAX its path if JAX would not find it by itself."""
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
