"""Ctrl-C ends a command in one line, from its imports on: launch scripts import this file first."""

import sys
from types import TracebackType

_shown = sys.excepthook


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nothing caught: an interrupt in one word, all others as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        _shown(kind, error, trace)


sys.excepthook = show
