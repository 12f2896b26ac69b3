"""The platform that harvester does not run on."""

from __future__ import annotations

WINDOWS = "Windows is not supported: run harvester on Linux or macOS, in WSL or in a container"
