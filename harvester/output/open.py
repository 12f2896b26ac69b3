"""The sink that the settings ask for."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from harvester.output.attribution import Selection
from harvester.output.files import FileSink
from harvester.output.parents import check_parent
from harvester.output.partitions import Partitions
from harvester.output.results import Layout
from harvester.output.single import SingleFile
from harvester.output.sink import Sink
from harvester.output.stdout import StdoutSink
from harvester.output.workspace import Workspace, absolute, check_replaceable
from harvester.settings import SELECTION_KEYS, Settings


def sink_for(settings: Settings, *, fresh: bool = False, run_id: str | None = None) -> Sink:
    """Return the sink for the settings' output, not opened yet.

    A `fresh` one throws away what an unfinished sweep of the same output left. The journal
    names the sweep by its `run_id`.

    Raises:
        OutputError: standard output is closed, a link or the like has the file's name, or its
            directory does not exist.
    """
    output = settings.output
    if output.kind == "stdout":
        return StdoutSink()
    path = absolute(output.path)
    check_parent(path)
    layout: Layout
    if output.kind == "folder":
        suffix = ".ndjson.zst" if output.compression == "zstd" else ".ndjson"
        folder, layout = path / ".harvester", Partitions(path, suffix)
        packed = output.compression != "none"
    else:
        check_replaceable(path)
        folder = path.parent / f".{path.name}.harvester"
        layout = SingleFile(path, _selection(settings), keep=output.on_partial == "keep")
        packed = path.suffix != ".ndjson"
    return FileSink(
        Workspace(folder),
        layout,
        identity=_identity(settings),
        fresh=fresh,
        packed=packed,
        max_age=settings.limits.max_resume_age_seconds,
        run_id=run_id,
    )


def _selection(settings: Settings) -> Selection:
    return Selection(settings.findings.filters, settings.findings.pipelines)


def _identity(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide what is read, by key, as JSON would hold them."""
    return {
        f"{section}.{key}": orjson.loads(
            msgspec.json.encode(getattr(getattr(settings, section), key))
        )
        for section, keys in SELECTION_KEYS.items()
        for key in keys
    }
