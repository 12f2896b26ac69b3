"""The sink that the settings ask for."""

from __future__ import annotations

from harvester.output.files import FileSink, one_file, partitioned
from harvester.output.sink import Sink
from harvester.output.stdout import StdoutSink
from harvester.output.workspace import Workspace, absolute
from harvester.settings import OutputSettings


def sink_for(settings: OutputSettings) -> Sink:
    """Return the sink for a destination, not opened yet.

    Raises:
        OutputError: standard output is closed.
    """
    if settings.kind == "stdout":
        return StdoutSink()
    path = absolute(settings.path)
    if settings.kind == "folder":
        suffix = ".ndjson.zst" if settings.compression == "zstd" else ".ndjson"
        return FileSink(Workspace(path / ".harvester"), partitioned(path, suffix))
    return FileSink(Workspace(path.parent / f".{path.name}.harvester"), one_file(path))
