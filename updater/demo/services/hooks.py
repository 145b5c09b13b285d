"""What programs listen to: ntfy, and our own signed webhook."""

from __future__ import annotations

import re

from updater.demo.services.base import (
    Answered,
    Arrived,
    Limit,
    Service,
    Setup,
    always,
    at,
    bearer,
    list_at,
    near,
    retry_after,
    same,
    say,
    sha256,
    size,
    text_at,
)

# --- ntfy: https://docs.ntfy.sh/publish/#publish-as-json; codes as in its server/errors.go --------------------------

_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
NTFY_TITLE = 1024  # bytes
NTFY_ACTIONS = 3


def _ntfy(status: int, code: int, message: str, *headers: tuple[str, str]) -> Answered:
    return say({"code": code, "http": status, "error": message}, status, *headers)


def _ntfy_door(arrived: Arrived, setup: Setup) -> Answered | None:
    """A topic with a secret wants it as an access token; `tokens` are the topics."""
    if arrived.document is None:
        return _ntfy(400, 40017, "invalid request: request body must be message JSON")
    if not _TOPIC.fullmatch(arrived.token):
        return _ntfy(400, 40009, "invalid request: topic invalid")
    secret = setup.secrets.get(arrived.token)
    if secret is not None and not same(bearer(arrived.headers), secret):
        return _ntfy(401, 40101, "unauthorized")
    return None if setup.knows(arrived.token) else _ntfy(403, 40301, "forbidden")


def _ntfy_content(arrived: Arrived, _: Setup) -> Answered | None:
    if size(text_at(arrived.document, "title")) > NTFY_TITLE:
        return _ntfy(400, 40057, "invalid request: title too long")
    priority = at(arrived.document, "priority") or 0
    if not isinstance(priority, int) or not 0 <= priority <= 5:
        return _ntfy(400, 40007, "invalid request: priority invalid")
    if len(list_at(arrived.document, "actions")) > NTFY_ACTIONS:
        return _ntfy(400, 40018, "invalid request: actions invalid")
    return None


def _ntfy_slow(seconds: float, _: bool) -> Answered:
    return _ntfy(429, 42901, "limit reached: too many requests", retry_after(seconds))


def _ntfy_taken(arrived: Arrived, number: int) -> Answered:
    sent = {"id": f"m{number}", "time": int(arrived.at), "event": "message", "topic": arrived.token}
    return say(sent | {"message": text_at(arrived.document, "message") or "triggered"})


# --- our own webhook: CloudEvents 1.0 in JSON, signed ---------------------------------------------------------------

REPLAY = 300.0  # seconds that a signature is good for
CLOUD_EVENT = ("specversion", "id", "source", "type")


def _problem(status: int, detail: str, *headers: tuple[str, str]) -> Answered:
    return say({"title": "refused", "status": status, "detail": detail}, status, *headers)


def _hook_door(arrived: Arrived, setup: Setup) -> Answered | None:
    if not setup.knows(arrived.token):
        return _problem(404, "no such hook")
    secret = setup.secrets.get(arrived.token)
    if secret is None:
        return None
    stamp = str(arrived.headers.get("X-Updater-Timestamp", ""))
    if not near(stamp, arrived.at, REPLAY):
        return _problem(401, "the timestamp is not within five minutes")
    expected = f"sha256={sha256(secret, stamp.encode() + b'.' + arrived.body).hex()}"
    given = str(arrived.headers.get("X-Updater-Signature", ""))
    return None if same(given, expected) else _problem(401, "the signature does not match")


def _hook_content(arrived: Arrived, _: Setup) -> Answered | None:
    """Attributes stand in the body, or in headers where the body is the data alone."""
    if arrived.document is None:
        return _problem(400, "expected a JSON object")
    missing = [
        name for name in CLOUD_EVENT if not (text_at(arrived.document, name) or arrived.headers.get(f"ce-{name}", ""))
    ]
    return _problem(400, f"no CloudEvents attribute {', '.join(missing)}") if missing else None


def _hook_slow(seconds: float, _: bool) -> Answered:
    return _problem(429, "too many", retry_after(seconds))


SERVICES = (
    Service(
        "ntfy", re.compile(r"/"), "body topic", _ntfy_door, _ntfy_content, _ntfy_slow, _ntfy_taken,
        (Limit(60, 300),), ("POST", "PUT"),
    ),
    Service("webhook", re.compile(r"(?P<token>/hook(?:/.*)?)"), "path", _hook_door, _hook_content, _hook_slow,
            always(Answered(204))),
)  # fmt: skip
