"""Charts drawn by matplotlib and written as SVG, in the colours of the page that holds them."""

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal
from xml.etree import ElementTree

from mobilesam.errors import MissingDependencyError
from parity.report.figures import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE: dict[str, tuple[str, str]] = {
    "ground": ("#ffffff", "#14171a"),
    "panel": ("#f6f7f8", "#1c2024"),
    "line": ("#dfe2e6", "#31373d"),
    "text": ("#1b1f24", "#e4e7ea"),
    "soft": ("#59616b", "#9aa3ad"),
    "accent": ("#0a5fa8", "#7ab8f0"),
    "accent-ground": ("#e8f1f9", "#17293a"),
    "fail": ("#a93a00", "#ff9a66"),
    "fail-ground": ("#fdeee6", "#3a2013"),
    "series0": ("#636c76", "#aab3bd"),
    "series1": ("#0072b2", "#56b4e9"),
    "series2": ("#00875f", "#2bc493"),
    "series3": ("#c25200", "#f58a3c"),
    "series4": ("#b3548c", "#e39cc4"),
}
"""Each colour of the pages by its name in the style sheet: on a light ground and on a dark one.

The colours of the series are told apart in every common kind of colour blindness. No two names
have the same light colour: a chart is drawn in light colours, and these become the names.
"""

SERIES = (("series0", "o"), ("series1", "s"), ("series2", "D"), ("series3", "^"), ("series4", "v"))
"""Colour and matplotlib marker of each series: its shape alone tells it apart too."""

TEXT = 12.5
"""Size of letters, in the units of a chart's width and height."""

RADIUS = 6.0
"""Distance from the middle of a marker that names keep, in the same units."""

SETTINGS = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "text.parse_math": False,  # a name may hold a dollar sign
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so that layouts do not vary
    "font.size": TEXT,
    "text.color": PALETTE["text"][0],
    "axes.labelcolor": PALETTE["text"][0],
    "xtick.labelcolor": PALETTE["soft"][0],
    "ytick.labelcolor": PALETTE["soft"][0],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALETTE["line"][0],
    "grid.linewidth": 1.0,
    "legend.frameon": False,
    **{f"{axis}tick.{kind}.size": 0.0 for axis in "xy" for kind in ("major", "minor")},
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
}


def colour(name: str) -> str:
    """A colour of the palette as matplotlib draws it."""
    return PALETTE[name][0]


def require_charts() -> None:
    """Check, before long work, that charts can be drawn at its end.

    Raises:
        MissingDependencyError: a library that draws them is not installed.
    """
    for library in ("matplotlib", "textalloc"):
        if find_spec(library) is None:
            raise MissingDependencyError(
                f"charts need {library}, which is not installed: "
                'pip install "mobilesam-export[report]"'
            )


def draw(
    paint: Callable[["Figure"], None],
    width: float,
    height: float,
    label: str,
    *,
    standalone: bool = False,
) -> str:
    """What ``paint`` draws on a figure, as an SVG element. The same input gives the same text.

    An artist's URL becomes the text that is shown when the pointer rests on it.

    Args:
        paint: draws on the figure it is given; colours are those of :func:`colour`.
        width, height: of the chart, in the units of letters (pixels if it is shown in full size).
        label: what the chart shows, for those who cannot see it; unlike any other's on its page.
        standalone: for a file of its own: light colours on their ground. Otherwise the colours
            are the page's CSS variables, and follow its light or dark theme.

    Raises:
        MissingDependencyError: see :func:`require_charts`.
    """
    require_charts()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that matplotlib's font lacks is in the reader's: it is written as text.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update(SETTINGS)
        # The same chart is the same text, and no two charts of a page share an id.
        matplotlib.rcParams["svg.hashsalt"] = label
        # An inch of an SVG has 72 units.
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        figure.patch.set_visible(False)
        paint(figure)
        stream = io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(stream, format="svg", metadata=nothing)
    return _element(stream.getvalue(), printable(label), standalone)


def plain_axes(figure: "Figure", left: float, top: float, right: float, bottom: float) -> "Axes":
    """Add axes without a background; the four numbers are the margins around them, in units."""
    width, height = figure.get_size_inches() * 72
    place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(place)


def logarithmic(
    axes: "Axes",
    which: Literal["x", "y"],
    values: Sequence[float],
    text: Callable[[float], str],
    *,
    least: float,
    zero: str,
    steps: Sequence[float] = (1.0,),
) -> tuple[float, float]:
    """Make an axis logarithmic, with a place for zero below the smallest decade where it is needed.

    Args:
        which: of the two axes.
        values: what will be drawn, none below 0.
        text: of a tick.
        least: the smallest decade that is told from zero; from there to zero the axis is linear.
        zero: text of the tick at zero.
        steps: ticks in each decade, from 1.

    Returns:
        The limits of the axis, which are set.
    """
    from matplotlib.scale import SymmetricalLogScale

    positive = [value for value in values if value > 0]
    low = max(10.0 ** math.floor(math.log10(min(positive, default=least))), least)
    high = max(max(positive, default=low) * 1.25, low * 10)
    with_zero = any(value < low for value in values)
    first, last = round(math.log10(low)), math.ceil(math.log10(high))
    decades = range(first, last + 1, 1 + (last - first) // 9)  # nine at most have room
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if low * 0.999 <= tick <= high]
    labels = [text(tick) for tick in ticks]
    if with_zero:
        ticks, labels = [0.0, *ticks], [zero, *labels]
    limits = (-0.25 * low if with_zero else low * 0.85, high)
    scale = SymmetricalLogScale(None, linthresh=low, linscale=0.5)
    axes.set(**{f"{which}scale": scale, f"{which}lim": limits})
    (axes.xaxis if which == "x" else axes.yaxis).set_ticks(ticks, labels=labels)
    return limits


Places = Sequence[tuple[float, float]]


def write_names(
    axes: "Axes",
    names: Sequence[str],
    markers: Places,
    *,
    lines: Sequence[Places] = (),
    looks: Sequence[tuple[str, str]] | None = None,
) -> list[str]:
    """Write names near the first markers, free of each other, of all markers and of lines.

    Args:
        axes: with its limits and scales set.
        names: of the first markers; the most important first, since it finds a place first.
        markers: middles of all markers.
        lines: corners of lines that no name may cross.
        looks: colour of the palette and weight of each name; "text" and "normal" by default.

    Returns:
        The names that there was no room for.
    """
    if not names:
        return []
    import textalloc

    colours, weights = zip(*(looks or [("text", "normal")] * len(names)), strict=True)
    xs, ys = zip(*markers, strict=True)
    with redirect_stdout(io.StringIO()):  # it prints when there is no room at all
        _, _, texts, _ = textalloc.allocate(
            axes,
            xs[: len(names)],
            ys[: len(names)],
            list(names),
            x_scatter=xs,
            y_scatter=ys,
            scatter_sizes=[RADIUS] * len(markers),
            x_lines=[[x for x, _ in line] for line in lines],
            y_lines=[[y for _, y in line] for line in lines],
            textsize=TEXT - 1,
            fontweight=list(weights),
            textcolor=[colour(each) for each in colours],
            linecolor=colour("soft"),
            linewidth=0.8,
            # Shares of the chart's width.
            margin=0.006,
            min_distance=0.012,
            max_distance=0.2,
            nbr_candidates=500,
            draw_all=False,
            avoid_label_lines_overlap=True,
            avoid_crossing_label_lines=True,
        )
    return [name for name, text in zip(names, texts, strict=True) if text is None]


_NAMES = {light: name for name, (light, _) in PALETTE.items()}
_COLOUR = re.compile("#[0-9a-f]{6}")
_FONTS = re.compile("'DejaVu Sans', sans-serif")
_XLINK = "{http://www.w3.org/1999/xlink}href"


def _element(svg: bytes, label: str, standalone: bool) -> str:
    """Turn matplotlib's file into one element without its metadata, style sheet and group ids."""
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    root.remove(root[0])  # a style sheet, which would hold for the whole page
    size = {key: root.get(key, "").removesuffix("pt") for key in ("width", "height")}
    root.attrib = {
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-label": label,
        "stroke-linejoin": "round",
    }
    if standalone:
        root.attrib |= {
            "xmlns": "http://www.w3.org/2000/svg",
            "xmlns:xlink": "http://www.w3.org/1999/xlink",
            **size,
        }
        ground = {"width": "100%", "height": "100%", "fill": colour("ground")}
        root.insert(0, ElementTree.Element("rect", ground))
    for element in root.iter():
        if element.tag == "a":
            text = element.get(_XLINK, "")
            element.tag, element.attrib = "g", {}
            title = ElementTree.Element("title")
            title.text = text
            element.insert(0, title)
        if _XLINK in element.attrib:
            element.set("xlink:href", element.attrib.pop(_XLINK))
        # Nothing is drawn beyond its axes, so that nothing needs to be clipped.
        element.attrib.pop("clip-path", None)
        for clip in element.findall("clipPath"):
            element.remove(clip)
        if element.tag in ("g", "text"):
            element.attrib.pop("id", None)
        if "style" in element.attrib:
            style = _FONTS.sub("system-ui, sans-serif", element.attrib["style"])
            if not standalone:
                style = _COLOUR.sub(_variable, style)
            element.set("style", style)
    ElementTree.indent(root, "")
    return ElementTree.tostring(root, encoding="unicode")


def _variable(found: re.Match[str]) -> str:
    return f"var(--{_NAMES[found[0]]})"
