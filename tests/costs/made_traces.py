"""Traces written by hand: what each line of each plane ran, from when to when."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jax.profiler import ProfileData

from latent_jax.training.profiler import STEP

Span = tuple[str, float, float]
"""(name, start, end) in milliseconds."""


def write_trace(
    folder: Path, planes: Mapping[str, Mapping[str, Sequence[Span]]], n_steps: int = 1
) -> Path:
    """Write {plane: {line: spans}} as the profiler does, and a mark for each step.

    In a plane of the host, a name such as "dot @1" is one of device 1.
    """
    marks = {"/host:python": {"main": [(STEP, i, i + 1) for i in range(n_steps)]}}
    body = "".join(_plane(name, lines) for name, lines in {**planes, **marks}.items())
    path = folder / "plugins" / "profile" / "now" / "vm.xplane.pb"
    path.parent.mkdir(parents=True)
    path.write_bytes(ProfileData.text_proto_to_serialized_xspace(body))
    return path


def _plane(name: str, lines: Mapping[str, Sequence[Span]]) -> str:
    names = list(dict.fromkeys(span[0] for spans in lines.values() for span in spans))
    metadata = "".join(
        f'event_metadata {{ key: {i} value {{ id: {i} name: "{n.partition(" @")[0]}" }} }}\n'
        for i, n in enumerate(names, start=1)
    )
    stats = "".join(
        f'stat_metadata {{ key: {i} value {{ id: {i} name: "{n}" }} }}\n'
        for i, n in enumerate(("hlo_op", "device_ordinal"), start=1)
    )
    body = "".join(
        f'lines {{ id: {i} name: "{line}"\n{"".join(_event(names, *span) for span in spans)} }}\n'
        for i, (line, spans) in enumerate(lines.items(), start=1)
    )
    return f'planes {{ name: "{name}"\n{body}{metadata}{stats} }}\n'


def _event(names: Sequence[str], name: str, start: float, end: float) -> str:
    _, is_device, device = name.partition(" @")
    stats = ""
    if is_device:
        stats = (
            f'stats {{ metadata_id: 1 str_value: "{name}" }} '
            f"stats {{ metadata_id: 2 int64_value: {device} }}"
        )
    return (
        f"events {{ metadata_id: {names.index(name) + 1} offset_ps: {round(start * 1e9)} "
        f"duration_ps: {round((end - start) * 1e9)} {stats} }}\n"
    )
