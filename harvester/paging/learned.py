"""The token bucket that a run has learned, for the next run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Learned:
    """What an account and region grant: calls a second, and how many at once from a full bucket.

    `burst` is None where it is large (ten or more) or not known.
    """

    rate: float
    burst: float | None = None
