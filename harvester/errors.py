"""Every error that harvester raises, one tree with one base to catch.

HarvesterError
├── SettingsError            an option or key is wrong; nothing was started       (exit code 2)
├── StartError               the sweep could not begin                            (exit code 4)
│   └── CredentialsError     the caller's own credentials cannot be had           (exit code 4)
├── IncompleteError          a summary whose sweep is not complete                (exit code 3)
├── UsageError               the library was used in a way that cannot work
├── OutputError              the output cannot be written                         (exit code 5)
│   ├── OutputBusyError      another run holds it                                 (exit code 5)
│   └── OutputClosedError    the reader of stdout went away                       (exit code 141)
└── ServiceError             AWS refused a call, or its answer could not be used
    ├── ThrottledError       too many calls; wait and ask again
    ├── TransientError       5xx or transport; ask again
    │   ├── UnreachableError     no connection could be made
    │   └── DamagedAnswerError   an answer arrived, but not whole or not as it should be
    ├── ExpiredCredentialsError  the credentials' time is over; renew them once
    ├── OutageError              a region or an account did not answer any call for long
    ├── TokenRefusedError        a pagination token is no longer accepted
    ├── ChainError               a chain of pages that cannot be followed to its end
    ├── CountMismatchError       what was read is not what the service counts
    └── RefusedError             permission, validation, clock: asking again changes nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harvester.text import redact

if TYPE_CHECKING:
    from typing import Any

    from harvester.model import Page

MOST_KEPT = 1 << 20
"""How many bytes of a damaged answer are kept."""

# Longer than any secret: what was cut may end in the middle of one.
_MARGIN = 1 << 14


class HarvesterError(Exception):
    """The base of all errors of this project; its text is one clear line."""

    exit_code = 1
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class SettingsError(HarvesterError):
    """A setting is unknown, of the wrong type, out of range or contradicts another one.

    The text names the key or option, the value, and what is allowed.
    """

    exit_code = 2


class StartError(HarvesterError):
    """The sweep could not begin: no credentials, or the organization cannot be read."""

    exit_code = 4


class CredentialsError(StartError):
    """The caller's own credentials cannot be loaded or refreshed."""


class UsageError(HarvesterError, RuntimeError):
    """The library was used in a way that cannot work; the text says what to do instead."""


class IncompleteError(HarvesterError):
    """Raised by `Summary.raise_for_problems` where a sweep is not complete.

    Attributes:
        summary: the summary (`harvester.Summary`), whose problems name each target.
    """

    exit_code = 3

    def __init__(self, message: str, summary: Any = None, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.summary = summary


class OutputError(HarvesterError):
    """The output, or the summary file, cannot be written."""

    exit_code = 5


class OutputBusyError(OutputError):
    """Another run is writing to the same output."""


class OutputClosedError(OutputError):
    """The reader of the output stream went away."""

    exit_code = 141


class ServiceError(HarvesterError):
    """A call to AWS failed.

    Attributes:
        code: the service's error code, such as ``AccessDeniedException``, or one of this
            project's own where the service gave none (``DamagedAnswer``, ``Unreachable``, …).
        message: the service's own words.
        operation: the API operation, such as ``ListImageScanFindings``.
        account: the account asked about, 12 digits, or None before it is known.
        region: the region asked, or None for a global service.
        status: the HTTP status, or None where no answer arrived.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        operation: str,
        account: str | None = None,
        region: str | None = None,
        status: int | None = None,
    ) -> None:
        where = " in ".join(part for part in (account, region) if part)
        words = f": {message}" if message else ""
        super().__init__(f"{operation}{f' for {where}' if where else ''}: {code}{words}")
        self.code = code
        self.message = message
        self.operation = operation
        self.account = account
        self.region = region
        self.status = status


class ThrottledError(ServiceError):
    """The service asks for fewer calls."""


class TransientError(ServiceError):
    """The service or the way to it failed; the same call may succeed later."""


class UnreachableError(TransientError):
    """No connection could be made: name resolution, refused, or TLS."""


class DamagedAnswerError(TransientError):
    """An answer with a good status whose body is not what the API promises.

    Attributes:
        body: the beginning of that body, without secrets; None where nobody kept it.
        page: the findings that can be read all the same, None where there are none.
    """

    body: bytes | None = None
    page: Page | None = None

    def keep(self, body: bytes, secrets: tuple[str | None, ...]) -> None:
        """Keep the beginning of the body, without the `secrets` that it may quote."""
        seen = body[: MOST_KEPT + _MARGIN]
        text = redact(seen.decode("latin-1"), secrets).encode("latin-1")
        self.body = text[: len(text) - _MARGIN if len(seen) < len(body) else None][:MOST_KEPT]

    def noted(self, note: str) -> DamagedAnswerError:
        """Return the same error with a note behind its message, and without the body."""
        return DamagedAnswerError(
            self.code,
            f"{self.message}; {note}",
            operation=self.operation,
            account=self.account,
            region=self.region,
            status=self.status,
        )


class OutageError(ServiceError):
    """A call failed like all others to the same region, or for the same account, for long.

    Code and status are those of its own last failure.
    """

    @classmethod
    def of(cls, error: ServiceError, message: str) -> OutageError:
        """Return the error of a call whose last failure was `error`."""
        return cls(
            error.code,
            message,
            operation=error.operation,
            account=error.account,
            region=error.region,
            status=error.status,
        )


class ExpiredCredentialsError(ServiceError):
    """The service says that the credentials have expired."""


class TokenRefusedError(ServiceError):
    """The service does not accept a pagination token (any more)."""


class ChainError(ServiceError):
    """Pages repeat or never end: what was read cannot be called complete."""


class CountMismatchError(ServiceError):
    """The service counts another number of findings than it gave, twice."""


class RefusedError(ServiceError):
    """The service will not do this: permission, validation, or clock skew."""
