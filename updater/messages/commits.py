"""What a commit says: a subject, one line a change, and one block of trailers that `updater history` reads.

    Update ghcr.io/acme/api to 1.5.0

    - ghcr.io/acme/api 1.4.2 -> 1.5.0 in apps/api/deployment.yaml:17

    Image-Update: ghcr.io/acme/api 1.4.2 -> 1.5.0
    Image-Reason: ghcr.io/acme/api semver >=1.4.0 <2.0.0, newest of 212

The lines spell an image as Git does; the trailers name it in full, so that every spelling has one history.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from updater.model.change import Bump
from updater.model.image import ImageRef

UPDATE, DIGEST, REASON = "Image-Update", "Image-Digest", "Image-Reason"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UPDATE_VALUE = re.compile(r"(?P<image>\S+) (?P<old>\S+) -> (?P<new>\S+)")


@dataclass(frozen=True, slots=True)
class Told:
    """One `Image-Update` trailer read back: the image in full, the old and the new value."""

    image: str
    old: str
    new: str


def commit_message(bumps: Sequence[Bump], sign_off: str | None = None) -> str:
    """Return the whole message for what one commit changes; `sign_off` is `Name <address>` or None."""
    lines = unique(f"- {b.spelled} {b.old} -> {b.new} in {_one_line(b.file)}:{b.line}" for b in bumps)
    trailers = [f"{UPDATE}: {b.image} {b.old} -> {b.new}" for b in bumps]
    trailers += [f"{DIGEST}: {b.image} {b.new.partition('@')[0] or '-'} {b.digest}" for b in bumps if b.digest]
    trailers += [f"{REASON}: {b.image} {_one_line(b.reason)}" for b in bumps]
    if sign_off:
        trailers.append(f"Signed-off-by: {_one_line(sign_off)}")
    return "\n".join([subject(bumps), "", *lines, "", *unique(trailers), ""])


def subject(bumps: Sequence[Bump]) -> str:
    """Return `Update IMAGE to TAG` for one image, `Update N images` for several."""
    images = unique(b.image for b in bumps)
    if len(images) > 1:
        return f"Update {len(images)} images"
    values = unique(b.new for b in bumps)
    return f"Update {bumps[0].spelled} to {' and '.join(map(_short, values))}"


def told(trailers: Iterable[tuple[str, str]]) -> tuple[Told, ...]:
    """Return what a commit's trailers say was updated; a value that we would not have written is passed over."""
    found = (_UPDATE_VALUE.fullmatch(value.strip()) for key, value in trailers if key == UPDATE)
    return tuple(Told(**match.groupdict()) for match in found if match and _is_image(match["image"]))


def unique(texts: Iterable[str]) -> list[str]:
    """Return the texts without repetition, in the order of their first mention."""
    return list(dict.fromkeys(texts))


def _is_image(text: str) -> bool:
    try:
        return ImageRef.parse(text).version == "-"
    except ValueError:
        return False


def _short(version: str) -> str:
    """Shorten the digest in a subject to twelve digits: `1.5.0@sha256:0123456789ab`."""
    tag, at, digest = version.partition("@sha256:")
    return f"{tag}{at}{digest[:12]}"


def _one_line(text: str) -> str:
    """Blank what would begin a line of its own: a path or a reason must not forge a trailer."""
    return _CONTROL.sub("?", text)
