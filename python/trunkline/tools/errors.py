"""Failures that the tools report as one line `<Class>: <text>`.

The class names are part of the contract of the tools, scripts match on them; hence Status at the end and not Error.
"""


class ManagementError(Exception):
    """The management node refused a request with a status that has no class of its own, or answered what is no answer."""


class BadRequestStatus(ManagementError):
    """Status 400."""


class UnauthorizedStatus(ManagementError):
    """Status 401."""


class ForbiddenStatus(ManagementError):
    """Status 403."""


class NotFoundStatus(ManagementError):
    """Status 404."""


class InternalServerErrorStatus(ManagementError):
    """Status 500."""


class NotImplementedStatus(ManagementError):
    """Status 501."""


class ValidationError(Exception):
    """An attribute or type that the schema does not know, found before anything is sent."""


CLASS_OF_STATUS = {
    400: BadRequestStatus,
    401: UnauthorizedStatus,
    403: ForbiddenStatus,
    404: NotFoundStatus,
    500: InternalServerErrorStatus,
    501: NotImplementedStatus,
}
