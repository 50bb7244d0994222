"""How far long work is: a bar on a terminal, and elsewhere a plain line now and then.

Both go to standard error. Training has more to say, see `training.progress`.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from tqdm import tqdm

LINE_EVERY_SECONDS = 30.0
"""Without a terminal: seconds before the first line, and between two lines."""

T = TypeVar("T")


class Bar:
    """The progress of one piece of work; a context that leaves no bar behind.

    Attributes:
        n: how much is done.
    """

    def __init__(
        self,
        label: str,
        total: float | None,
        unit: str = "",
        *,
        initial: int = 0,
        stays: bool = False,
        stream: TextIO | None = None,
    ):
        """Begin.

        Args:
            label: what is done.
            total: how much there is to do; None = unknown.
            unit: of `total`, such as "B" or "texts".
            initial: how much had been done before.
            stays: whether a finished bar is left on the terminal.
            stream: file to write to; None = stderr.
        """
        self.n = initial
        self._label, self._total, self._unit = label, total, unit
        self._stream = stream or sys.stderr
        self._began = self._last_line = time.monotonic()
        self._initial, self._note, self._bar = initial, "", None
        if self._stream.isatty():
            self._bar = tqdm(
                desc=label,
                total=total,
                unit=unit if unit == "B" else f" {unit}",
                unit_scale=unit == "B",
                initial=initial,
                leave=stays,
                file=self._stream,
                dynamic_ncols=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.close()

    def update(self, n: int = 1, note: str = "") -> None:
        """Move on.

        Args:
            n: how much was done since the last call.
            note: said behind the progress from now on; "" leaves it as it is.
        """
        self.n += n
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note)
            self._bar.update(n)
        elif time.monotonic() - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            print(self._line(), file=self._stream, flush=True)

    def _line(self) -> str:
        done = f"{_amount(self.n)} {self._unit}".strip()
        if self._total:
            seconds = (time.monotonic() - self._began) / max(self.n - self._initial, 1)
            left = tqdm.format_interval(seconds * max(self._total - self.n, 0))
            done = f"{self.n / self._total:.0%}, {_amount(self.n)} of {_amount(self._total)} "
            done = f"{done}{self._unit}".strip() + f", {left} left"
        return f"{self._label}: {done}{f', {self._note}' if self._note else ''}"


def counted(items: Iterable[T], label: str, total: int, unit: str = "") -> Iterator[T]:
    """Yield items, and show how many of `total` have been worked on."""
    with Bar(label, total, unit) as bar:
        for item in items:
            yield item
            bar.update()


def _amount(n: float) -> str:
    """Return a number for people: 850, 1.2k, 34M."""
    return tqdm.format_sizeof(n) if n >= 1000 else f"{n:g}"
