"""Pictures as SVG, the same bytes for the same numbers."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def blank(width_inch: float, height_inch: float) -> "Figure":
    """Return an empty figure."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "audio-tokens"  # else ids within the file are drawn anew every time
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inch, height_inch), layout="constrained")


def svg(figure: "Figure") -> bytes:
    """Return a figure as SVG."""
    data = io.BytesIO()
    figure.savefig(data, format="svg", metadata={"Date": None})
    return data.getvalue()
