"""What a pull request says: a title, a table of the changes, why each, where to read about them, and the trailers.

The trailers of its commit stand in the body too: they tell which versions a request was about after it was closed,
and a squash keeps them where the forge takes the message from the request. One that we withdraw says none any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from updater.messages.commits import UPDATE, Told, Wording, one_line, subject, told, trailers_of, written
from updater.messages.origin import links
from updater.model.change import Bump

MAX_TITLE = 250  # characters; GitHub and GitLab take 255
MAX_BODY = 60_000  # characters; GitHub takes 65,536
MAX_ROWS = 200  # changes that the table shows
WITHDRAWN = "Nothing of this is to be updated any more, so this request was withdrawn by the updater."
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")
_UPDATE = re.compile(rf"^{UPDATE}: *(.+)$", re.MULTILINE)


def title(bumps: Sequence[Bump], wording: Wording) -> str:
    """Return the title of a request; `wording.subject` is its template. Raises ValueError for one that fails."""
    text = one_line(written(wording.subject, bumps, wording)) if wording.subject else subject(bumps)
    return text[:MAX_TITLE] or subject(bumps)


def body(bumps: Sequence[Bump], wording: Wording) -> str:
    """Return the body of a request; `wording.body` is the template of what stands above the trailers."""
    trailers = [line for line in trailers_of(bumps) if line.startswith(f"{UPDATE}: ")]
    block = "\n".join(["<details><summary>Trailers</summary>", "", "```", "", *trailers, "", "```", "", "</details>"])
    block = block if len(block) < MAX_BODY // 2 else ""
    text = written(wording.body, bumps, wording) if wording.body else _table(bumps)
    return f"{text[: MAX_BODY - len(block)]}\n\n{block}".strip() + "\n"


def proposed(body: str) -> frozenset[Told]:
    """Return what the body of a request says that it updates. Forges keep line ends of several kinds."""
    lines = _UPDATE.findall(body.replace("\r\n", "\n"))
    return frozenset(told((UPDATE, line) for line in lines))


def _table(bumps: Sequence[Bump]) -> str:
    rows = ["| Image | From | To | Where |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {_text(b.spelled)} | {_text(b.old)} | {_text(b.new)} | {_text(b.file)}:{b.line} |" for b in bumps[:MAX_ROWS]
    ]
    if len(bumps) > MAX_ROWS:
        rows.append(f"| and {len(bumps) - MAX_ROWS} more | | | |")
    return "\n".join([*rows, "", *_unique(_why(bump) for bump in bumps[:MAX_ROWS])])


def _why(bump: Bump) -> str:
    notes, source = links(bump.origin, bump.tag or bump.new.partition("@")[0] or None)
    pages = [f"[{what}]({url})" for what, url in (("release notes", notes), ("source", source)) if url]
    return f"- {_text(bump.spelled)} {_text(bump.new)}: {', '.join([_text(bump.reason), *pages])}"


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))


def _text(text: str) -> str:
    """Return a text as Markdown shows it, without calling anybody: paths and reasons come from outside."""
    return _MARKUP.sub(r"\\\1", one_line(text)).replace("@", "&#64;")
