"""A bar chart of the dense scenario: what a finding costs, relative to harvester."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt  # after the backend is chosen

from bench import report

_MINE: Final = "harvester"
_LABELS: Final = {
    "floor": "floor: fetched and\nsigned, not parsed",
    "harvester": "harvester",
    "aiobotocore": "aiobotocore\npaginator + orjson",
    "boto3": "boto3 paginator in\nthreads + orjson",
}
_COLOURS: Final = {"harvester": "#1b6ca8"}
_GREY: Final = "#9aa5b1"
_INK: Final = "#333333"


def draw(dense: Mapping[str, Any], path: Path) -> None:
    """Draw the chart of the dense scenario, as it stands in results.json."""
    mine = [run["cpu"] for run in dense["runs"][_MINE]]
    fig, axes = plt.subplots(figsize=(7.5, 3.2), dpi=150, layout="constrained")
    widest = 0.0
    for place, (name, label) in enumerate(_LABELS.items()):
        ratios = [run["cpu"] / own for run, own in zip(dense["runs"][name], mine, strict=True)]
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        widest = max(widest, high)
        bar = axes.barh(place, middle, height=0.62, color=_COLOURS.get(name, _GREY))
        if name != _MINE:
            spread = [[middle - low], [high - middle]]
            axes.errorbar(middle, place, xerr=spread, color=_INK, capsize=4, lw=1.2)
        axes.annotate(
            f"{middle:.2g}×" if middle < 10 else f"{middle:.1f}×",  # noqa: PLR2004
            (high, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
            weight="bold" if name == _MINE else "normal",
        )
        bar.set_label(label)
    axes.set_yticks(range(len(_LABELS)), list(_LABELS.values()))
    axes.invert_yaxis()
    axes.set_xlim(0, widest * 1.12)
    axes.set_xlabel("CPU for each finding, harvester = 1 (median; whiskers: lowest and highest)")
    axes.set_title(f"A dense sweep: {dense['what']}", loc="left", fontsize=10)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e3e6ea", lw=0.8)
    axes.set_axisbelow(True)
    fig.savefig(path)
    plt.close(fig)


def main() -> None:
    """Draw what the results in a folder hold; nothing where the scenario is not among them."""
    folder = Path(sys.argv[1])
    dense = report.read(folder).get("dense")
    if dense:
        draw(dense, folder / "plot.png")


if __name__ == "__main__":
    main()
