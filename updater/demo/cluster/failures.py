"""Refusals in the words and shapes of a Kubernetes API server: a `Status` object for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
Cause = dict[str, str]


class ApiError(Exception):
    """A refusal: its HTTP status, and the `Status` object that says why."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.status = code, status(code, reason, message, details)
        self.headers: tuple[tuple[str, str], ...] = ()
        if seconds := (details or {}).get("retryAfterSeconds"):
            self.headers = (("Retry-After", str(seconds)),)


def status(code: int, reason: str, message: str, details: Json | None = None) -> Json:
    """Return a `Status` of a failure, with the keys in the order of the real one."""
    document: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        document["reason"] = reason
    if details:
        document["details"] = details
    return document | {"code": code}


def details_of(group: str, kind: str, name: str = "", causes: Sequence[Cause] = ()) -> Json:
    """Return the `details`; `kind` is the plural, except where an object is invalid."""
    every = {"name": name, "group": group, "kind": kind, "causes": list(causes)}
    return {key: value for key, value in every.items() if value}


def qualified(group: str, plural: str) -> str:
    """Return `deployments.apps`, or `services` in the core group."""
    return f"{plural}.{group}" if group else plural


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404: no such object."""
    message = f'{qualified(group, plural)} "{name}" not found'
    return ApiError(404, "NotFound", message, details_of(group, plural, name))


def already_exists(group: str, plural: str, name: str) -> ApiError:
    """409: a new object has the name of another."""
    message = f'{qualified(group, plural)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details_of(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    """409: the object is another version, or another object, than the client thinks."""
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details_of(group, plural, name))


def forbidden(group: str, plural: str, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """403: with the reason that the server gives."""
    what = f'{qualified(group, plural)} "{name}"' if name else qualified(group, plural)
    message = f"{what} is forbidden: {why}"
    return ApiError(403, "Forbidden", message, details_of(group, plural, name, causes))


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """`causes` are made by `cause`; one stands alone in the message, several in brackets."""
    each = [f"{c['field']}: {c['message']}" for c in causes]
    why = each[0] if len(each) == 1 else f"[{', '.join(each)}]"
    message = f'{qualified(group, kind)} "{name}" is invalid: {why}'
    return ApiError(422, "Invalid", message, details_of(group, kind, name, causes))


def cause(field: str, kind: str, message: str) -> Cause:
    """Return a cause; `kind` is one of required, invalid, forbidden, duplicate, unsupported."""
    reasons = {
        "required": ("FieldValueRequired", "Required value"),
        "invalid": ("FieldValueInvalid", "Invalid value"),
        "forbidden": ("FieldValueForbidden", "Forbidden"),
        "duplicate": ("FieldValueDuplicate", "Duplicate value"),
        "unsupported": ("FieldValueNotSupported", "Unsupported value"),
    }
    reason, word = reasons[kind]
    return {"reason": reason, "message": f"{word}: {message}" if message else word, "field": field}


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401: nobody knows who asks."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def expired(message: str) -> ApiError:
    """410: the past that is asked for is forgotten."""
    return ApiError(410, "Expired", message)


def not_allowed(verb: str, plural: str) -> ApiError:
    """405: no such verb there."""
    message = f'{verb} is not supported on resources of kind "{plural}"'
    return ApiError(405, "MethodNotAllowed", message, {"kind": plural})


def unsupported_media(found: str, accepted: Sequence[str]) -> ApiError:
    """415: the body is written in something that is not read here, as protobuf."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", f"{message} (got {found!r})" if found else message)
