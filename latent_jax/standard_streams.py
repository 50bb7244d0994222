"""The three files that every command begins with, made such that all can be written to.

A command may be started with some of them closed (`>&-`). The next file that it opens would then
get the number of standard output or error, and everything printed would go into it. And a locale
may lack a character that a table or a file's name has. Importing this module sees to both.
"""

import os
import sys

NAMES = ("stdin", "stdout", "stderr")
"""By number."""


def open_closed() -> None:
    """Open those that are closed on nothing: what is written to them is gone, as was asked for."""
    for number, name in enumerate(NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def spell_what_cannot_be_encoded() -> None:
    r"""Write characters that the encoding of a stream lacks as \xNN or \uNNNN."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict":
            stream.reconfigure(errors="backslashreplace")


open_closed()
spell_what_cannot_be_encoded()
