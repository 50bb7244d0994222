"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere.

Model FLOPs utilization (Chowdhery et al. 2022, PaLM, appendix B): analytic FLOPs of the model per
second over the peak of the devices; what rematerialization adds does not count.
"""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

LINE_EVERY_SECONDS = 10.0
"""Without a terminal: seconds between two lines about training. Evaluations are always printed."""


class Progress:
    """Shows records of one run as they are made."""

    def __init__(
        self, total_steps: int, step: int, enabled: bool, metric: str = "bits_per_byte", stream=None
    ):
        """Begin at `step` of `total_steps`.

        Args:
            total_steps: of the whole run.
            step: finished steps.
            enabled: whether more than `message` is shown.
            metric: shown of each record that has it.
            stream: file to write to; None = stderr.
        """
        self._stream = stream or sys.stderr
        self._enabled = enabled
        self._total = total_steps
        self._metric = metric
        self._done = step
        self._start: tuple[int, float] | None = None
        self._last_line = -LINE_EVERY_SECONDS
        self._bar = None
        if enabled and self._stream.isatty():
            self._bar = tqdm(
                total=total_steps, initial=step, unit="step", file=self._stream, dynamic_ncols=True
            )

    def step(self) -> None:
        """Move on by one optimizer step."""
        self._done += 1
        if self._start is None:  # what comes before the first step, compiling above all, is over
            self._start = (self._done, time.monotonic())
        if self._bar is not None:
            self._bar.update()

    def train(self, record: Mapping[str, float]) -> None:
        """Show a training record."""
        text = self._describe(record)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
        elif self._enabled and time.monotonic() - self._last_line >= LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            left = self._seconds_left(record["step"])
            text += f", {_duration(left)} left" if left is not None else ""
            self.message(f"step {record['step']}/{self._total}: {text}")

    def validation(self, record: Mapping[str, float]) -> None:
        """Show an evaluation."""
        if self._enabled:
            text = ", ".join([self._shown(record), *_chunks(record)])
            self.message(f"step {record['step']}/{self._total}: validation {text}")

    def message(self, text: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def _shown(self, record: Mapping[str, float]) -> str:
        words = self._metric.replace("_per_", "/").replace("_", " ")
        return f"{record[self._metric]:.4f} {words}"

    def _describe(self, record: Mapping[str, float]) -> str:
        parts = [f"loss {record['loss']:.4f}"]
        if self._metric in record:
            parts.append(self._shown(record))
        parts += _chunks(record)
        if "bytes_per_second" in record:
            parts.append(f"{record['bytes_per_second'] / 1e3:.1f} kB/s")
        if "model_flops_utilization" in record:
            parts.append(f"MFU {record['model_flops_utilization']:.1%}")
        return ", ".join(parts)

    def _seconds_left(self, step: int) -> float | None:
        """Return the seconds to the end; None until a step follows the first one."""
        first, since = self._start or (step, 0.0)
        if step <= first:
            return None
        return (time.monotonic() - since) / (step - first) * (self._total - step)


def _chunks(record: Mapping[str, float]) -> list[str]:
    """Return what to say of a model that cuts its text by itself; nothing of others."""
    rate = record.get("bytes_per_chunk_1")
    return [] if rate is None else [f"{rate:.2f} bytes per chunk"]


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
