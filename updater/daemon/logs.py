"""One structured line for a thing that happened, on standard error; every line passes the redaction filter."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from updater.secrets import redact

Level = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, style: str) -> None:
    """Log at this level and above; style is `console`, `json`, or `auto` for console on a terminal."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    last = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(Level[level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("apscheduler", "git", "httpx", "sigstore"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they have to say reaches us as exceptions


def _redacted(_logger: Any, _method: str, event: Mapping[str, Any]) -> dict[str, Any]:
    texts = "\0".join([value for value in event.values() if isinstance(value, str)])
    if redact(texts) == texts and not any(isinstance(value, list) for value in event.values()):
        return dict(event)  # one look at all of them: a secret is a rare find
    return {key: _blank(value) for key, value in event.items()}


def _blank(value: Any) -> Any:
    if isinstance(value, list):
        return [_blank(part) for part in value]
    return redact(value) if isinstance(value, str) else value
