"""Where an image comes from, read from labels and annotations that anybody may have written.

What is kept can do no harm in a commit, a message or a page; the rest is dropped without a word.
https://github.com/opencontainers/image-spec/blob/main/annotations.md
"""

from __future__ import annotations

import re

from updater.model.origin import HOST, MAX_URL, Origin, is_page

_PREFIX = "org.opencontainers.image."
_REVISION = re.compile(r"[0-9a-f]{7,64}")
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}", re.ASCII)

# How clones are addressed, and where their page is: the host and the path.
_SCP = re.compile(rf"(?:git|hg)@({HOST}):(?!/)(.+)", re.ASCII)
_CLONE = re.compile(rf"(?:git\+)?(?:ssh|git)://(?:[A-Za-z0-9._-]+@)?({HOST})(?::[0-9]{{1,5}})?/(.+)", re.ASCII)
_BARE = re.compile(r"((?:github|gitlab)\.com|codeberg\.org)/(.+)", re.ASCII | re.IGNORECASE)
_DOT_GIT = re.compile(r"\.git/?(?:#.*)?$")  # a build from Git adds what it built


def read_origin(*told: object) -> Origin:
    """Return what these labels or annotations say, of several the first that is usable, key by key."""
    found = Origin()
    for labels in told:
        if isinstance(labels, dict):
            found = found.over(_read(labels))
    return found


def page(value: object) -> str | None:
    """Return the http(s) URL of what may be a page, or the address of a clone; None for anything else."""
    if not isinstance(value, str) or len(value) > MAX_URL:
        return None
    text = value.strip(" ")
    match = next(filter(None, (pattern.fullmatch(text) for pattern in (_SCP, _CLONE, _BARE))), None)
    text = f"https://{match[1]}/{match[2]}" if match else text.removeprefix("git+")
    text = _DOT_GIT.sub("", text).rstrip("/")
    return text if is_page(text) else None


def _read(labels: dict[object, object]) -> Origin:
    return Origin(
        page(labels.get(f"{_PREFIX}source")),
        _word(labels.get(f"{_PREFIX}revision"), _REVISION, lower=True),
        _word(labels.get(f"{_PREFIX}version"), _VERSION),
        page(labels.get(f"{_PREFIX}url")),
    )


def _word(value: object, grammar: re.Pattern[str], *, lower: bool = False) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_URL:
        return None
    text = value.strip(" ").lower() if lower else value.strip(" ")
    return text if grammar.fullmatch(text) else None
