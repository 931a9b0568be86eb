"""The errors that a user may see: whose fault each is, its HTTP status, and its cure.

Three branches: `RequestError` (theirs: the caller's request or bundle), `OperatorError` (the
operator's: configuration, disk, ports, missing programs) and `InternalError` (ours). What a
formation does wrong at run time is `FormationFailed`, a `RequestError`: its author can mend it.

`code` is the machine's word for the case (as the original's server-sent `error` events have it:
`IDMismatch`, `HealthCheckFailed` …), `stage` the step of the operation that failed, `cure` what
the reader can do, `details` extra JSON values for the answer. None of them ever holds a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class MuxiError(Exception):
    """Base of all errors with an answer. Raise one of the subclasses."""

    default_status: ClassVar[int] = 500
    default_code: ClassVar[str] = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        stage: str | None = None,
        cure: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.status = status or self.default_status
        self.stage = stage
        self.cure = cure
        self.details: dict[str, object] = dict(details or {})


class InternalError(MuxiError):
    """Ours: a defect of the server."""


class RequestError(MuxiError):
    """Theirs: the request, or what it carries, is wrong."""

    default_status = 400
    default_code = "BadRequest"


class Unauthorized(RequestError):
    """The request does not prove who sent it."""

    default_status = 401
    default_code = "Unauthorized"


class NotFound(RequestError):
    """There is no such thing."""

    default_status = 404
    default_code = "NotFound"


class Conflict(RequestError):
    """It exists already, or another operation is under way (its id is in `details`)."""

    default_status = 409
    default_code = "Conflict"


class TooLarge(RequestError):
    """Larger than a limit allows."""

    default_status = 413
    default_code = "TooLarge"


class Unprocessable(RequestError):
    """Well-formed, but its values make no sense."""

    default_status = 422
    default_code = "Unprocessable"


class NotSupportedYet(RequestError):
    """A route of the contract whose work is not done by this version."""

    default_status = 501
    default_code = "NotImplemented"


class BundleError(RequestError):
    """The uploaded bundle can't be used."""

    default_code = "ExtractError"


class FormationFailed(RequestError):
    """The formation did not start, did not become healthy, or died."""

    default_code = "HealthCheckFailed"


class OperatorError(MuxiError):
    """The operator's: something on this machine must be changed first."""

    default_status = 500
    default_code = "OperatorError"


class ConfigError(OperatorError):
    """The configuration is wrong; `problems` lists every fault found, a line each."""

    default_code = "ConfigError"

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, details={"problems": list(problems)})
        self.problems = problems


class NoPort(OperatorError):
    """Every port of the range is taken."""

    default_status = 507
    default_code = "PortAllocationError"


class StorageError(OperatorError):
    """The disk is full, read-only or failing."""

    default_status = 507
    default_code = "StorageError"
