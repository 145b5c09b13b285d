"""What a commit says: a subject, one line a change, and one block of trailers that `updater history` reads.

    Update ghcr.io/acme/api to 1.5.0

    - ghcr.io/acme/api 1.4.2 -> 1.5.0 in apps/api/deployment.yaml:17
      Release notes: https://github.com/acme/api/releases/tag/v1.5.0      (where the image says where it comes from)
      Source: https://github.com/acme/api/tree/0123456789abcdef

    Image-Update: ghcr.io/acme/api 1.4.2 -> 1.5.0
    Image-Digest: ghcr.io/acme/api 1.5.0 sha256:...                         (where it is known)
    Image-Reason: ghcr.io/acme/api semver >=1.4.0 <2.0.0, newest of 212
    Image-Hold: ghcr.io/acme/api until 2026-12-01T00:00:00Z                 (rollback only)

The lines spell an image as Git does; the trailers name it in full, so that every spelling has one history. Where the
name changes too, the line has both, `- ghcr.io/old/api:1.4.2 -> ghcr.io/acme/api:1.5.0 in ...`, the trailers the new.
A link stands below a line that begins with a dash, once a target: a paragraph of links alone would read as trailers.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from updater.messages.grammar import COMMITS
from updater.messages.origin import Links, links
from updater.model.change import Bump
from updater.model.image import ImageRef, is_digest, is_tag, split
from updater.model.origin import is_page

if TYPE_CHECKING:
    from updater.messages.templates import Template

UPDATE, DIGEST, REASON, HOLD = "Image-Update", "Image-Digest", "Image-Reason", "Image-Hold"
MAX_SUBJECT = 250  # characters of one that a template made
MAX_LISTED = 100  # images and changes that a template is shown
_OWN = ("Image-", "Signed-off-by")  # how our trailers begin
OURS = f"^{UPDATE}: "  # what some line of every commit of ours begins with
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UPDATE_VALUE = re.compile(r"(?P<image>\S+) (?P<old>\S+) -> (?P<new>\S+)")
_LINE = re.compile(r"^- (\S+)(?: (\S+))? -> (\S+) in (.+):([0-9]{1,9})$", re.MULTILINE)
_LINKS = re.compile(
    r"^- (\S+)(?: (\S+))? -> (\S+) in .+:[0-9]{1,9}(?:\n[ \t]+Release notes: (\S+))?(?:\n[ \t]+Source: (\S+))?$",
    re.MULTILINE,
)
_DIGEST_VALUE = re.compile(r"(\S+) (\S+) (sha(?:256|512):[0-9a-f]+)")
_HOLD_VALUE = re.compile(r"(\S+) until (\S+)")


@dataclass(frozen=True, slots=True)
class Told:
    """One `Image-Update` trailer read back: the image in full, the old and the new value."""

    image: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Place:
    """One line of a message read back: which image, as Git spells it, was changed from what to what, and where.

    `former` is how Git spelled it before, where that was another name.
    """

    spelled: str
    old: str
    new: str
    file: str
    line: int
    former: str = ""


@dataclass(frozen=True, slots=True)
class Wording:
    """The operator's templates of subject and body, None for our own; and what they may say of where it goes."""

    subject: str | None = None
    body: str | None = None
    group: str = ""
    repository: str = ""
    branch: str = ""


PLAIN = Wording()


def commit_message(
    bumps: Sequence[Bump], sign_off: str | None = None, until: datetime | None = None, wording: Wording = PLAIN
) -> str:
    """Return the whole message for what one commit changes; `sign_off` is `Name <address>` or None.

    A rollback says `until` when it holds its images. Raises ValueError for a template that fails.
    """
    first = one_line(written(wording.subject, bumps, wording)) if wording.subject else subject(bumps)
    body = _harmless(written(wording.body, bumps, wording)) if wording.body else "\n".join(_lines(bumps))
    return "\n".join([first[:MAX_SUBJECT] or subject(bumps), "", body, "", *trailers_of(bumps, sign_off, until), ""])


def trailers_of(bumps: Sequence[Bump], sign_off: str | None = None, until: datetime | None = None) -> list[str]:
    """Return the trailers of what is changed, each once."""
    trailers = [f"{UPDATE}: {b.image} {b.old} -> {b.new}" for b in bumps]
    trailers += [f"{DIGEST}: {b.image} {b.tag or b.new.partition('@')[0] or '-'} {b.digest}" for b in bumps if b.digest]
    trailers += [f"{REASON}: {b.image} {one_line(b.reason)}" for b in bumps]
    if until:
        trailers += [f"{HOLD}: {b.image} until {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for b in bumps]
    if sign_off:
        trailers.append(f"Signed-off-by: {one_line(sign_off)}")
    return unique(trailers)


def written(template: str, bumps: Sequence[Bump], wording: Wording) -> str:
    """Return what a template says of these changes. Raises ValueError."""
    return _compiled(template).render(
        {
            "group": wording.group,
            "repository": wording.repository,
            "branch": wording.branch,
            "subject": subject(bumps),
            "changed": len(bumps),
            "images": unique(b.image for b in bumps)[:MAX_LISTED],
            "changes": [_fields(bump) for bump in bumps[:MAX_LISTED]],
        }
    )


@lru_cache(maxsize=256)
def _compiled(text: str) -> Template:
    from updater.messages.templates import compile_template

    return compile_template(text, COMMITS)


def _fields(bump: Bump) -> dict[str, object]:
    notes, source = links(bump.origin, bump.tag or bump.new.partition("@")[0] or None)
    return {
        "image": bump.image,
        "spelled": bump.spelled,
        "old": bump.old,
        "new": bump.new,
        "file": one_line(bump.file),
        "line": bump.line,
        "reason": one_line(bump.reason),
        "release_notes": notes or "",
        "source": source or "",
    }


def _harmless(body: str) -> str:
    """Return a body without control characters, and without lines that would read as our own trailers."""
    lines = (_CONTROL.sub("", line) for line in body.split("\n"))
    return "\n".join(f"> {line}" if line.lstrip().startswith(_OWN) else line for line in lines).strip("\n")


def _lines(bumps: Sequence[Bump]) -> list[str]:
    """Return the line of each change; the first to each target is followed by its links."""
    texts = {f"- {_change(b)} in {one_line(b.file)}:{b.line}": b for b in bumps}
    lines: list[str] = []
    done: set[tuple[str, str]] = set()
    for text, bump in texts.items():
        lines.append(text)
        if (bump.spelled, bump.new) not in done:
            lines += _links(bump)
            done.add((bump.spelled, bump.new))
    return lines


def _change(bump: Bump) -> str:
    if not bump.former:
        return f"{bump.spelled} {bump.old} -> {bump.new}"
    return f"{_joined(bump.former, bump.old)} -> {_joined(bump.spelled, bump.new)}"


def _joined(name: str, version: str) -> str:
    return name if version == "-" else f"{name}:{version}".replace(":@", "@")


def _apart(text: str) -> tuple[str, str]:
    """Return the name and the version of what `_joined` made."""
    name, tag, digest = split(text)
    return name, f"{tag or ''}{f'@{digest}' if digest else ''}" or "-"


def _links(bump: Bump) -> list[str]:
    notes, source = links(bump.origin, bump.tag or bump.new.partition("@")[0] or None)
    return [f"  {what}: {url}" for what, url in (("Release notes", notes), ("Source", source)) if url]


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


def places(message: str) -> tuple[Place, ...]:
    """Return what the lines of a message say; a squash keeps those of all its commits."""
    return tuple(map(_place, _LINE.findall(message)))


def _place(found: tuple[str, str, str, str, str]) -> Place:
    name, old, new, file, line = found
    if old:
        return Place(name, old, new, file, int(line))
    (former, old), (name, new) = _apart(name), _apart(new)
    return Place(name, old, new, file, int(line), former)


def reasons(trailers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return why each image was updated, by its name in full."""
    found = (value.partition(" ") for key, value in trailers if key == REASON)
    return {image: words for image, _, words in found}


def linked(message: str) -> dict[tuple[str, str], Links]:
    """Return the links of a message, by the image as Git spells it and its new value; what is no URL is left out."""
    found: dict[tuple[str, str], Links] = {}
    for spelled, old, new, *urls in _LINKS.findall(message):
        told = Links(*(url if is_page(url) else None for url in urls))
        if any(told):
            found[(spelled, new) if old else _apart(new)] = told
    return found


def digests(trailers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Yield image, tag and digest of every digest that a commit tells the tag of."""
    for key, value in trailers:
        if key == DIGEST and (match := _DIGEST_VALUE.fullmatch(value)) and is_digest(match[3]) and is_tag(match[2]):
            yield match[1], match[2], match[3]


def holds(trailers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, datetime]]:
    """Yield the images that a commit holds, and until when."""
    for key, value in trailers:
        if key == HOLD and (match := _HOLD_VALUE.fullmatch(value)):
            with contextlib.suppress(ValueError):
                until = datetime.fromisoformat(match[2])
                if until.tzinfo:
                    yield match[1], until


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


def one_line(text: str) -> str:
    """Blank what would begin a line of its own: a path or a reason must not forge a trailer."""
    return _CONTROL.sub("?", text)
