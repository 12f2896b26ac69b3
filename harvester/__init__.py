"""Harvests EC2 Image Builder's image scan findings from a whole AWS organization."""

from harvester._version import __version__

__all__ = ["__version__"]
