"""One line before the kernels of an integer M1 are compiled, which a machine does once."""

import contextlib
import sys
from collections.abc import Iterator

from numba.core import event
from tqdm import tqdm

KERNELS = "latent_jax.exact."
LINE = (
    "compiling M1's integer kernels for this machine, once: half a minute, and longer beside other "
    "programs"
)


class _Announcer(event.Listener):
    """Hears of functions that are compiled: those that Numba's cache has are not among them."""

    def __init__(self):
        self._has_said = False

    def on_start(self, event: event.Event) -> None:
        """Say so at the first kernel."""
        module = event.data["dispatcher"].py_func.__module__
        if module.startswith(KERNELS) and not self._has_said:
            self._has_said = True
            tqdm.write(LINE, file=sys.stderr)

    def on_end(self, event: event.Event) -> None:
        """Say nothing."""


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Within this context, the first kernel that is compiled is announced on standard error."""
    with event.install_listener("numba:compile", _Announcer()):
        yield
