"""Interactive charts made with Altair: Vega-Lite specifications that read the data set "records".

Every chart has two versions: one for wide screens, with names at the ends of lines as in the
pictures of `latent_jax.reports.style`, and one for narrow screens, with a legend below. Lines and
bars have the colours of that palette. Axes and text get their colours from the page, which may be
light or dark.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from latent_jax.reports.page.parts import Figure, Records
from latent_jax.reports.style import PALETTE, spread

HEIGHT = 380
NARROW_HEIGHT = 260
LABEL_SIZE = 12
BAR_STEP, NARROW_BAR_STEP = 26, 42
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        key: key of the records.
        title: title with the unit.
        is_log: whether the axis is logarithmic.
        domain: least and largest value; None takes those of the records.
        format: d3 format of the numbers at the axis.
        value_format: d3 format of the numbers beside bars.
        ticks: places of the numbers; empty lets the library choose.
    """

    key: str
    title: str
    is_log: bool = False
    domain: tuple[float, float] | None = None
    format: str = "~s"
    value_format: str = ".3f"
    ticks: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Look:
    """The colour and dashes of a line."""

    colour: str
    dash: Sequence[int] = (1, 0)


def palette_look(index: int) -> Look:
    """Return the look of line number `index` of a chart."""
    return Look(PALETTE[index % len(PALETTE)], DASHES[index // len(PALETTE) % len(DASHES)])


def lines(
    id_: str,
    title: str,
    caption: str,
    records: Records,
    x: Axis,
    y: Axis,
    series: str,
    looks: Mapping[str, Look] | None = None,
    with_points: bool = True,
    with_values: bool = True,
    levels: Axis | None = None,
) -> Figure:
    """Return a figure with a line for each value of `series`; the pointer highlights a line.

    Args:
        id_: id of the figure.
        title: title of the figure.
        caption: caption of the figure.
        records: one record per point, in the order along a line.
        x: horizontal axis.
        y: vertical axis.
        series: key of the name of the line.
        looks: name of a line -> its look; by default the palette in order.
        with_points: whether a dot is drawn for each record.
        with_values: whether the last value is written after the name of each line.
        levels: a second value of the records, the same along a line, drawn thin and dashed across
            the figure; records may lack it.
    """
    names = list(dict.fromkeys(record[series] for record in records))
    looks = looks or {name: palette_look(i) for i, name in enumerate(names)}
    compared = [r[levels.key] for r in records if r.get(levels.key) is not None] if levels else []
    y = dataclasses.replace(y, domain=y.domain or _fitting(records, y, compared))

    def chart(is_wide: bool) -> dict[str, Any]:
        hovered = alt.selection_point(
            name="hovered", on="pointerover", fields=[series], nearest=True, clear="pointerout"
        )
        scales = dict(domain=names, range=[looks[name].colour for name in names])
        dashes = dict(domain=names, range=[list(looks[name].dash) for name in names])
        legend = None if is_wide else alt.Legend(columns=1, symbolStrokeColor=None)
        base = alt.Chart(alt.NamedData(name="records")).encode(
            x=_encoding(alt.X, x),
            y=_encoding(alt.Y, y),
            color=alt.Color(series, type="nominal", scale=alt.Scale(**scales), legend=legend),
            opacity=alt.when(hovered).then(alt.value(1)).otherwise(alt.value(0.15)),
        )
        drawn = base.mark_line(strokeWidth=2, clip=True).encode(
            strokeDash=alt.StrokeDash(
                series, type="nominal", scale=alt.Scale(**dashes), legend=legend
            ),
            order=alt.Order(x.key, type="quantitative"),
        )
        points = base.mark_point(
            filled=True, size=36 if with_points else 90, strokeWidth=0, clip=True
        ).encode(
            tooltip=[
                alt.Tooltip(series, type="nominal", title=" "),
                alt.Tooltip(x.key, type="quantitative", title=_plain(x), format=x.format),
                alt.Tooltip(y.key, type="quantitative", title=_plain(y), format=".3f"),
            ],
            **({} if with_points else {"fillOpacity": alt.value(0)}),
        )
        layers = [drawn, points.add_params(hovered)]
        if levels and compared:
            layers.insert(0, _levels(base, levels, y, series))
        if is_wide:
            layers.append(_labels(records, names, looks, y, series, hovered, with_values))
        return _spec(alt.layer(*layers), is_wide, top=24)

    return Figure(id_, title, caption, chart(True), chart(False), records)


def bars(
    id_: str,
    title: str,
    caption: str,
    records: Records,
    name: str,
    x: Axis,
    part: str | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Return a figure with a bar for each name.

    With `part`, bars are coloured by part, and the parts of a name are stacked.

    Args:
        id_: id of the figure.
        title: title of the figure.
        caption: caption of the figure.
        records: one record per bar; or one per part of a bar, each with "part_order".
        name: key of the name of a bar.
        x: axis of the bars' lengths.
        part: key of the name of a part.
        colours: name of a part -> its colour, in order.
    """
    names = list(dict.fromkeys(record[name] for record in records))
    totals = {n: sum(r[x.key] for r in records if r[name] == n) for n in names}

    def chart(is_wide: bool) -> dict[str, Any]:
        tooltips = [alt.Tooltip(name, type="nominal", title=" ")]
        if part:
            tooltips.append(alt.Tooltip(part, type="nominal", title="part"))
        tooltips.append(alt.Tooltip(x.key, type="quantitative", title=_plain(x), format=".4f"))
        beside = alt.Axis(labelLimit=300, domain=False, labelPadding=8)
        base = alt.Chart(alt.NamedData(name="records")).encode(
            y=alt.Y(name, type="nominal", sort=names, title=None, axis=beside if is_wide else None),
        )
        # The numbers after the bars need room.
        scale = alt.Scale(domain=[0, (1.12 if is_wide else 1.35) * max(totals.values()) or 1.0])
        is_stacked = len(names) < len(records)
        fill = (
            dict(
                color=alt.Color(
                    part,
                    type="nominal",
                    scale=alt.Scale(domain=[*colours], range=[*colours.values()]),
                    legend=alt.Legend(symbolType="square", columns=1) if is_stacked else None,
                ),
                **({"order": alt.Order("part_order", type="quantitative")} if is_stacked else {}),
            )
            if part and colours
            else dict(color=alt.value(PALETTE[0]))
        )
        drawn = base.mark_bar(height=14, cornerRadiusEnd=2).encode(
            x=alt.X(
                x.key,
                type="quantitative",
                title=x.title,
                scale=scale,
                stack="zero",
                axis=alt.Axis(format=x.format, tickCount=6),
            ),
            tooltip=tooltips,
            **fill,
        )
        ends = base.mark_text(align="left", dx=6, fontWeight="bold").encode(
            x=alt.X(f"sum({x.key})", type="quantitative", scale=scale, title=x.title),
            text=alt.Text(f"sum({x.key})", type="quantitative", format=x.value_format),
        )
        layers = [drawn, ends]
        if not is_wide:  # names are above the bars, which need the full width
            above = base.mark_text(align="left", baseline="bottom", dy=-9, fontSize=11)
            layers.append(
                above.encode(x=alt.value(0), text=alt.Text(f"min({name})", type="nominal"))
            )
        spec = _spec(alt.layer(*layers), is_wide, top=4 if is_wide else 12)
        return {**spec, "height": (BAR_STEP if is_wide else NARROW_BAR_STEP) * len(names)}

    return Figure(id_, title, caption, chart(True), chart(False), records)


def settled(records: Records, x: str, y: str) -> tuple[float, float]:
    """Return y limits from the values after the first tenth of x, before which losses are steep."""
    start = 0.1 * max(record[x] for record in records)
    values = [r[y] for r in records if r[x] >= start] or [r[y] for r in records]
    margin = 0.06 * (max(values) - min(values)) or 0.1
    return max(0.0, min(values) - margin), max(values) + margin


def _fitting(records: Records, axis: Axis, more: Sequence[float] = ()) -> tuple[float, float]:
    values = [*(record[axis.key] for record in records), *more]
    margin = 0.06 * (max(values) - min(values)) or 0.1
    low = min(values)
    return (0.95 * low if axis.is_log else max(min(0.0, low), low - margin)), max(values) + margin


def _levels(base: alt.Chart, levels: Axis, y: Axis, series: str) -> alt.Chart:
    """Return a thin dashed line across the figure at the level of each line."""
    chart = base.mark_rule(strokeWidth=1.2, strokeDash=[3, 3], clip=True).encode(
        x=alt.value(0),
        x2=alt.value("width"),
        y=_encoding(alt.Y, dataclasses.replace(y, key=levels.key)),
        tooltip=[
            alt.Tooltip(series, type="nominal", title=" "),
            alt.Tooltip(levels.key, type="quantitative", title=_plain(levels), format=".3f"),
        ],
    )
    return chart.transform_filter(f"isValid(datum['{levels.key}'])")


def _encoding(channel: type, axis: Axis) -> Any:
    words: dict[str, Any] = dict(type="log" if axis.is_log else "linear", nice=False)
    if axis.domain:
        words["domain"] = list(axis.domain)
    else:
        words["padding"] = 8
        if not axis.is_log:
            words["zero"] = False
    ticks = dict(values=list(axis.ticks)) if axis.ticks else dict(tickCount=6)
    return channel(
        axis.key,
        type="quantitative",
        title=axis.title,
        scale=alt.Scale(**words),
        axis=alt.Axis(
            format=axis.format,
            labelOverlap="greedy",
            **ticks,
            **({"grid": False} if channel is alt.X else {"titleAngle": 0, **_ABOVE}),
        ),
    )


_ABOVE = dict(titleAlign="left", titleAnchor="end", titleX=-34, titleY=-16)
"""Puts the title of the y axis above the axis, horizontally."""


def _labels(records, names, looks, y: Axis, series: str, hovered, with_values) -> alt.Chart:
    """Return the names right of the lines, near their ends and without overlap."""
    last = {record[series]: record[y.key] for record in records}
    low, high = y.domain
    at = math.log if y.is_log else float
    height_of = lambda value: HEIGHT * (at(value) - at(low)) / (at(high) - at(low))  # noqa: E731
    ordered = sorted(names, key=lambda name: last[name])
    wanted = [min(max(height_of(last[name]), 0), HEIGHT) for name in ordered]
    heights = [LABEL_SIZE * 1.3] * len(ordered)
    places = spread(wanted, heights, -8, HEIGHT + 8)
    rows = [
        {
            series: name,
            "label": f"{name}  {last[name]:.2f}" if with_values else name,
            "place": HEIGHT - place,
        }
        for name, place in zip(ordered, places, strict=True)
    ]
    return (
        alt.Chart(alt.InlineData(values=rows))
        .mark_text(align="left", baseline="middle", dx=10, fontSize=LABEL_SIZE)
        .encode(
            x=alt.value("width"),
            y=alt.Y("place", type="quantitative", scale=None, axis=None),
            text=alt.Text("label", type="nominal"),
            color=alt.Color(
                series,
                type="nominal",
                scale=alt.Scale(domain=names, range=[looks[name].colour for name in names]),
                legend=None,
            ),
            opacity=alt.when(hovered).then(alt.value(1)).otherwise(alt.value(0.15)),
        )
    )


def _spec(chart: alt.LayerChart, is_wide: bool, top: int) -> dict[str, Any]:
    spec = chart.properties(
        width="container",
        height=HEIGHT if is_wide else NARROW_HEIGHT,
        padding={"left": 4, "top": top, "right": 4, "bottom": 4},
        # The figure, with the names beside the lines, fits its container.
        autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
    ).to_dict()
    # The page has its own colours and fonts, and fetches no schema.
    return {key: value for key, value in spec.items() if key not in ("config", "$schema")}


def _plain(axis: Axis) -> str:
    return axis.title.split(",")[0]
