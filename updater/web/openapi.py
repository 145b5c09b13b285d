"""The description of the API, made from the table of its endpoints: what is not in the table is not served."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from updater import __version__

if TYPE_CHECKING:
    from updater.daemon.desk import Desk
    from updater.web.sessions import Person

BASE = "/api/v1"
TITLES = {
    400: "A parameter that is unknown, twice there, or not as it should be",
    401: "Nobody is logged in, or the token is not known",
    403: "Not for this login, or not from there; or page and API are not served here",
    404: "There is no such",
    409: "Not as it stands now",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The body is not as it should be",
    502: "Somebody else failed: a registry, Git, a service",
    503: "The state cannot be read, or too many are here",
}
READING = (400, 401, 403, 503)
ACTING = (400, 401, 403, 404, 409, 413, 415, 422, 502, 503)
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


class Nothing(BaseModel, extra="forbid", defer_build=True):
    """No parameters, or a body without fields."""


@dataclass(frozen=True, slots=True)
class Get:
    """One question. `make` returns the answer, None where there is no such; parameters of the path come by name."""

    path: str
    summary: str
    answer: type[BaseModel]
    make: Callable[[Desk, Mapping[str, str], Any], BaseModel | None]
    query: type[BaseModel] = Nothing


@dataclass(frozen=True, slots=True)
class Post:
    """One deed. `later`: it is answered before it is done."""

    path: str
    summary: str
    answer: type[BaseModel]
    do: Callable[[Desk, Person, Mapping[str, str], Any], BaseModel]
    body: type[BaseModel] = Nothing
    later: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """What answers with something else than JSON."""

    path: str
    summary: str
    media: str


Endpoint = Get | Post | Other


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the description in OpenAPI 3.1."""
    answers = {one.answer for one in endpoints if not isinstance(one, Other)}
    bodies = {one.body for one in endpoints if isinstance(one, Post)}
    models = [(model, "serialization") for model in answers] + [(model, "validation") for model in bodies]
    ordered = sorted(models, key=lambda one: one[0].__name__)
    refs, schemas = models_json_schema(ordered, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        method = "post" if isinstance(one, Post) else "get"
        paths.setdefault(_PARAMETER.sub(r"{\1}", one.path), {})[method] = _operation(one, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Image updater", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}) | {"Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(one: Endpoint, refs: Mapping[Any, Any]) -> dict[str, Any]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(one.path)
    ]
    found: dict[str, Any] = {
        "summary": one.summary,
        "operationId": ("post" if isinstance(one, Post) else "get") + re.sub(r"\W+", "_", _PARAMETER.sub("", one.path)),
    }
    if isinstance(one, Other):
        answers: dict[str, Any] = {"200": {"description": "It", "content": {one.media: {}}}}
        codes: tuple[int, ...] = (401, 403, 503)
    elif isinstance(one, Get):
        found["parameters"] = path + _query(one.query)
        answers = {"200": _answer("It", refs[one.answer, "serialization"]), "304": {"description": "As you have it"}}
        codes = (*READING, 404) if path else READING
    else:
        found["parameters"] = path
        found["requestBody"] = {"content": {"application/json": {"schema": refs[one.body, "validation"]}}}
        answers = {"202" if one.later else "200": _answer("Done", refs[one.answer, "serialization"])}
        if one.path.endswith("/rollback"):
            answers["202"] = _answer("Under way", refs[one.answer, "serialization"])
        codes = ACTING
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    found["responses"] = answers | {str(code): {"description": TITLES[code], **problem} for code in codes}
    return found


def _answer(what: str, schema: Any) -> dict[str, Any]:
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    assert "$defs" not in schema, "parameters are plain"
    found = []
    for name, shape in schema.get("properties", {}).items():
        about = shape.pop("description", "")
        shape.pop("title", None)
        found.append({"name": name, "in": "query", "required": False, "description": about, "schema": shape})
    return found


_ABOUT = (
    "What the updater knows and does. Errors are problem documents (RFC 9457). Lists come in pages: `next` is the "
    "cursor of the following one. Every answer to GET has an ETag; it changes nothing, and asks no registry. POST "
    "needs a login token as `Authorization: Bearer TOKEN`; on loopback without a login, the CSRF token of a session "
    "and a matching Origin. A name may hold slashes, as they are or as %2F."
)
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
