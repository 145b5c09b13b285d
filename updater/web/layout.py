"""What every page has, in the language of its reader: the templates, the words, the frame around the content."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from starlette.requests import Request

from updater import __version__
from updater.web.words import WORDS, language_of

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
# What of an address says what is shown: it stays in another language too. A token, or what was just done, does not.
SHOWN = ("q", "outcome", "reason", "registry", "label", "sort", "page", "before", "item", "cluster", "channel", "next")
_WORD = re.compile(r"[a-z_]{1,40}")


@cache
def _environment() -> Environment:
    """Return the templates; Jinja comes with the first page, for a daemon that nobody looks at does without."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    made.filters["urlencode"] = lambda text: quote(str(text), safe="/")
    return made


def drawn(request: Request, template: str, values: Mapping[str, Any]) -> str:
    """Draw a page; `values` are its own, and what it has instead of what the frame has where nobody says anything."""
    language, said = language_for(request), request.query_params.get("said", "")
    other = {key: text[:500] for key, text in request.query_params.items() if key in SHOWN}
    frame = {
        "t": partial(say, request), "lang": language, "version": __version__, "place": "", "live": False, "csrf": "",
        "other": urlencode({**other, "lang": "en" if language == "zh" else "zh"}), "person": None, "may_act": False,
        "said": said if _WORD.fullmatch(said) and said in WORDS[language] else "",
    }  # fmt: skip
    return _environment().get_template(template).render({**frame, **values})


def language_for(request: Request) -> str:
    """Return the language of a reader."""
    asked, kept = request.query_params.get("lang", ""), request.cookies.get("lang", "")
    return language_of(asked, kept, request.headers.get("accept-language", ""))


def say(request: Request, key: str, **values: object) -> str:
    """Return the words for a key in the reader's language; what has none is said as it is."""
    words = WORDS[language_for(request)]
    return words[key].format(**values) if key in words else key
