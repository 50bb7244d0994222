"""Folders whose files register methods: all are imported, and one that is broken is named.

Every command imports all of them. So a file that cannot be imported, or that registers half a
method, ends every command in one line, which names the file.
"""

import functools
import importlib
import inspect
import pkgutil
import traceback
from typing import Any

from latent_jax.nearest import short


class RegistrationError(ValueError):
    """A file that registers a method cannot be used; the message names it."""


@functools.cache  # a folder is listed once, and a broken file is tried again each time
def import_all(package: str) -> None:
    """Import every file of a package, so that a new one needs no other edit.

    Args:
        package: its dotted name.

    Raises:
        RegistrationError: a file raises an error; the message has file, line and error.
    """
    folder = importlib.import_module(package)
    for module in pkgutil.iter_modules(folder.__path__):
        try:
            importlib.import_module(f"{package}.{module.name}")
        except RegistrationError:  # of a file of another folder
            raise
        except Exception as error:
            file = module.module_finder.find_spec(module.name).origin
            raise RegistrationError(_broken(file, error, package)) from error


def file_of(cls: Any) -> str:
    """Return the file that defines a class, or words that say that there is none."""
    try:
        return inspect.getfile(cls)
    except (OSError, TypeError):
        return "no file"


def shown(value: Any) -> str:
    """Return a value and its type as messages show them."""
    return f"{short(repr(value))} ({type(value).__name__})"


def _broken(file: str, error: Exception, package: str) -> str:
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines.append(error.lineno)
    place = f"{file}, line {lines[-1]}" if lines else file
    said = " ".join(str(error).split())
    # Errors of registries are about what the file declares, and some name it already.
    is_ours = isinstance(error, TypeError | ValueError) and file in said
    said = said if is_ours else f"{place}: {type(error).__name__}: {said}"
    return f"{said}. Every command imports the files of {package}: mend it, or move it away"
