"""Ctrl-C ends a command in one line, from its imports on: launch scripts import this file first.

What it prints to is made ready before, see `standard_streams`.

Python runs the handler of a signal between any two instructions of the main thread, also within a
callback of the garbage collector, of which JAX has one. An exception that is raised there goes no
further. So a SIGTERM or SIGINT that was lost there is sent again until its exception arrives. If
another one arrives before that, it is not sent again: whatever closes files then is left in peace.
"""

import os
import resource
import signal
import sys
import threading
from types import TracebackType
from typing import Any

from latent_jax import standard_streams  # noqa: F401  before any other file is opened

_shown, _unraisable = sys.excepthook, sys.unraisablehook

AGAIN_SECONDS = 0.5
"""Until a collection of garbage is over, in which other callbacks may lose the signal again."""

TERMINATED = 128 + signal.SIGTERM
"""Exit status of a command that SIGTERM has ended."""

_handlers: dict[int, Any] = {}


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nothing caught: an interrupt in one word, all others as Python does.

    Where memory is limited and even libraries cannot be imported, one line says so.
    """
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif limit != resource.RLIM_INFINITY and issubclass(kind, MemoryError | ImportError | OSError):
        said = (str(error).splitlines() or [kind.__name__])[0][:200]
        print(
            f"error: this process may have {limit / 1e6:,.0f} MB of memory, in which it could not "
            f"start ({said}): raise the limit (ulimit -v)",
            file=sys.stderr,
        )
    else:
        _shown(kind, error, trace)


def keep_handler(kind: int, handler: Any) -> None:
    """Install a handler of a signal that may be taken away when it has raised; see `send_again`."""
    _handlers[kind] = handler
    signal.signal(kind, handler)


def send_again(lost: "sys.UnraisableHookArgs") -> None:
    """Send a signal again where Python has ignored its exception; say all else as Python does."""
    kind = _signal_of(lost)
    if kind is None:
        _unraisable(lost)
        return
    handler = _handlers.get(kind, signal.getsignal(kind))
    timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), kind))
    timer.daemon = True

    def arrived(kind, frame):
        timer.cancel()
        signal.signal(kind, handler)
        handler(kind, frame)

    if callable(handler):  # else it has no exception that could be lost again
        signal.signal(kind, arrived)
    try:
        timer.start()
    except RuntimeError:  # Python is ending, and starts no thread
        _unraisable(lost)


def _signal_of(lost: "sys.UnraisableHookArgs") -> int | None:
    """Return the signal whose handler has raised an exception, or None."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        return signal.SIGINT
    if lost.exc_type is SystemExit and lost.exc_value.code == TERMINATED:
        return signal.SIGTERM
    return None


sys.excepthook, sys.unraisablehook = show, send_again
