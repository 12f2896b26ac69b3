"""The simulator's process, seen from the outside."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from bench.process import PYTHON, ROOT, BenchError, environment, limited

_START_SECONDS: Final = 60
_ANSWER_SECONDS: Final = 60
_LONGEST_LIFE: Final = 7_200

#: Seventeen regions, as many as are enabled in an account by default.
REGIONS: Final = (
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "sa-east-1",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate; the fields are those of the simulator's spec and behaviour.

    `keep` keeps all requests, so that the time from the first to the last is known, and counts
    the findings of each image of the first target. `replay` answers what was asked before from
    memory: see `bench.replay`; `enlarge` then gives each finding of a page so many times.
    """

    accounts: int
    findings: int
    regions: int = 1
    empty_share: float = 0.0
    skew: float = 0.0
    seed: int = 0
    behaviour: dict[str, Any] = field(default_factory=dict)
    keep: bool = False
    replay: bool = False
    enlarge: int = 1

    @property
    def names(self) -> list[str]:
        """The names of the regions."""
        return list(REGIONS[: self.regions])

    def as_json(self) -> str:
        """The argument of the server's process."""
        spec = {
            "accounts": self.accounts,
            "findings": self.findings,
            "regions": self.names,
            "empty_share": self.empty_share,
            "skew": self.skew,
            "seed": self.seed,
        }
        more = {
            "behaviour": self.behaviour,
            "keep": self.keep,
            "replay": self.replay,
            "enlarge": self.enlarge,
        }
        return json.dumps({"spec": spec, **more})


class Service:
    """A simulator, for as long as its `with` block lasts."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.variables: dict[str, str] = {}
        self.images: dict[str, int] = {}
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            [PYTHON, "-m", "bench.server", self.plan.as_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment({}),
            cwd=ROOT,
            start_new_session=True,
        )
        self._stack.enter_context(limited(self._process.pid, _LONGEST_LIFE))
        ready = self._hear(_START_SECONDS)
        self.variables, self.images = ready["environment"], ready["images"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it: its stdin ends, and so does it."""
        process, self._process = self._process, None
        if process is not None:
            with limited(process.pid, _ANSWER_SECONDS):
                if process.stdin:
                    process.stdin.close()
                process.wait()
                if process.stdout:
                    process.stdout.close()
        self._stack.close()

    def counts(self) -> dict[str, float]:
        """Calls of Image Builder since the last time: `requests`, `throttled`, `cpu`, `span`."""
        if self._process is None or self._process.stdin is None:
            raise BenchError("the simulator does not run")
        self._process.stdin.write("counts\n")
        self._process.stdin.flush()
        return self._hear(_ANSWER_SECONDS)

    def _hear(self, seconds: float) -> dict[str, Any]:
        if self._process is None or self._process.stdout is None:
            raise BenchError("the simulator does not run")
        with limited(self._process.pid, seconds):
            line = self._process.stdout.readline()
        if not line:
            raise BenchError("the simulator ended, or did not answer in time")
        answer: dict[str, Any] = json.loads(line)
        return answer
