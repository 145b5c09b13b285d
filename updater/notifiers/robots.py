"""What the group robots of DingTalk, Feishu and WeCom share: people to call, texts made harmless, several in brief.

Nothing here sends, and nothing here is a channel. The three services answer with a code of their own in the body,
which decides whatever the HTTP status says.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import ConfigDict, Field, StringConstraints

from updater.model.message import Entry, Message
from updater.notifiers.base import Reply, Verdict, WebhookAddress, body_said, by_status, said
from updater.notifiers.fitting import brief, cleaned, fitted, grave, one_line, short, worded
from updater.plugins import Member
from updater.secrets import SecretRef, remember
from updater.transport.http import Answer

Codes = Mapping[int, tuple[Verdict, str]]
"""What each code of a service means for the message, and in plain words with what to do."""

GAP = "\u200b"  # zero width space: nobody sees it, and no reader takes what it parts for one thing
ARROW = "→ "  # before what somebody must do
MAX_CALLED = 20  # people called by one message; more are a group, and a group is `all`
MAX_TITLE = 100  # characters of a title: it is shown in lists of chats and on lock screens
UNKNOWN = "this code is not known here; it is tried again, because an unknown code must not lose a message"
FOREIGN = "what answered is not the service: look at base_url, and at any proxy in between"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,}")  # of a path or a query: tokens are that long, names are not
_MENTION = re.compile(r"@(?!sha(?:256|512):[0-9a-f])")  # a digest calls nobody, and is copied from messages
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=\bwww)(?=\.)", re.IGNORECASE)
_TAG = re.compile(r"<(?=[A-Za-z@/!?])")  # what follows makes it a tag; `<2.0.0` is none
_ENTITY = re.compile(r"&(?=#?[A-Za-z0-9]+;)")
_EMPHASIS = re.compile(r"(?<!\w)_++|_++(?!\w)")  # within a word, `_` is only a letter
_BLOCK = re.compile(r"[#>+=-]|\d{1,9}[.)](?:\s|$)")  # at the start of a line: heading, quotation, list, rule
_WIDE_LESS, _WIDE_LINE = "\N{FULLWIDTH LESS-THAN SIGN}", "\N{FULLWIDTH LOW LINE}"
_LOOK_ALIKE = str.maketrans(
    {
        "*": "\N{ASTERISK OPERATOR}",
        "`": "\N{MODIFIER LETTER GRAVE ACCENT}",
        "[": "\N{FULLWIDTH LEFT SQUARE BRACKET}",
        "]": "\N{FULLWIDTH RIGHT SQUARE BRACKET}",
        "~": "\N{TILDE OPERATOR}",
        "\\": "\N{FULLWIDTH REVERSE SOLIDUS}",
    }
)

User = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")]
Mobile = Annotated[str, StringConstraints(pattern=r"^\+?[0-9-]{5,20}$")]
Keyword = Annotated[str, StringConstraints(pattern=r"^\S(.*\S)?$", max_length=100)]


class At(Member):
    """Whom a message of severity warning and above calls."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # an id or a number without quotes is a number in YAML

    users: list[User] = Field([], max_length=MAX_CALLED, description="user ids of the service")
    all: bool = Field(False, description="everybody in the group")

    @property
    def anybody(self) -> bool:
        """Whether there is anybody to call."""
        return bool(self.users) or self.all


class AtMobiles(At):
    """Whom a message of severity warning and above calls, by mobile number too."""

    mobiles: list[Mobile] = Field([], max_length=MAX_CALLED, description="mobile numbers, as members have them")

    @property
    def anybody(self) -> bool:
        """Whether there is anybody to call."""
        return bool(self.mobiles) or super().anybody


class Robot(WebhookAddress):
    """A robot of a group chat. Members say what a message looks like, and what its size is."""

    at: At = Field(At(), description="whom warnings and errors call; info calls nobody")

    def address(self) -> str:
        """Return the whole address; its token is blanked from now on, also where it stands alone."""
        whole = super().address()
        for token in _TOKEN.findall(urlsplit(whole)._replace(scheme="", netloc="").geturl()):
            remember(token)
        return whole

    @abstractmethod
    def content(self, message: Message, *, plain: bool) -> dict[str, Any]:
        """Return the document of a cleaned message as it stands, however long that is; `plain` has no markup."""

    @abstractmethod
    def size(self, content: Mapping[str, Any]) -> int:
        """Return what `max_bytes` bounds."""

    def fitted(self, message: Message, *, plain: bool = False) -> dict[str, Any]:
        """Return the document of a message, shortened as far as it must be."""
        shorter = fitted(brief(message), lambda m: self.size(self.content(m, plain=plain)), self.max_bytes)
        return self.content(shorter, plain=plain)

    def weigh(self, message: Message) -> int:
        """Return the size of the document as it stands."""
        return self.size(self.content(cleaned(brief(message)), plain=False))

    def calls(self, message: Message) -> bool:
        """Whether the message calls people."""
        return self.at.anybody and not message.test and grave(message.severity)


class KeywordRobot(Robot):
    """A robot whose security settings may ask for a keyword in every message."""

    keywords: list[Keyword] = Field(
        [], max_length=10, description="the robot's keywords: where none occurs, the first is put before the title"
    )

    def keyed(self, first: str, rest: str = "") -> str:
        """Return the first text, with a keyword before it where neither text holds one."""
        if not self.keywords or any(word in first or word in rest for word in self.keywords):
            return first
        return f"{self.keywords[0]} {first}"

    def titled(self, title: str, text: str) -> str:
        """Return the title for a list of chats, where nothing is markup, with a keyword if the text holds none."""
        return self.keyed(short(title, MAX_TITLE), text)


def signing(secret: SecretRef) -> str:
    """Return a signing secret without blanks around it, which is blanked that way too. Raises SecretError."""
    key = secret.resolve().strip()
    remember(key)
    return key


def unlinked(text: str) -> str:
    """Return a text on one line, in which an unseen gap keeps every address from becoming a link."""
    return _ADDRESS.sub(GAP, one_line(text))


def inert(text: str) -> str:
    """Return a text from outside for a message without markup: it calls nobody and is no link.

    An unseen gap parts `@` from what follows, but not from a digest. A `<` that would begin a tag becomes its wide
    look-alike. Versions, digests and names of images stay as they are, also when they are copied.
    """
    return _MENTION.sub(f"@{GAP}", _TAG.sub(_WIDE_LESS, unlinked(text)))


def unmarked(text: str) -> str:
    """Return a text from outside for a Markdown that knows no dependable escapes: backslashes would be shown.

    What may begin markup anywhere becomes its look-alike; what does so only at the start of a line gets an unseen gap
    before it. `_` within a word, `-`, `.` and `:` stay what they are.
    """
    parted = _ENTITY.sub(f"&{GAP}", inert(text)).translate(_LOOK_ALIKE)
    safe = _EMPHASIS.sub(lambda run: _WIDE_LINE * len(run[0]), parted)
    return f"{GAP}{safe}" if _BLOCK.match(safe) else safe


def advised(action: str) -> list[str]:
    """Return the line of who must do what, in Markdown; its commands are code, which is copied as it stands.

    It is not bold: an asterisk in a command would end that. Where a client knows no code, backticks are quotes.
    """
    return [f"{ARROW}{worded(action, unmarked, _code)}"] if action else []


def _code(command: str) -> str:
    """Return a command as code, in which a link would be none; where code is not known, it is none either."""
    safe = inert(command).replace("](", f"]{GAP}(")
    return f"`{safe}`" if safe else ""


def links(entry: Entry) -> tuple[tuple[str, str], ...]:
    """Return text and address of every link, in which everything is encoded that could end it early."""
    return tuple((short(link.text, MAX_TITLE), quote(link.url, safe="%/:?#[]@!$&'+,;=-._~")) for link in entry.links)


def linked(entry: Entry, escape: Callable[[str], str]) -> list[str]:
    """Return every link in Markdown."""
    return [f"[{escape(text)}]({address})" for text, address in links(entry)]


def number(found: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of these fields that holds a whole number, also where it is spelled as text."""
    for name in names:
        value = found.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}", value):
            return int(value)
    return None


def judged(answer: Answer, code: int | None, words: object, codes: Codes, pause: float) -> Reply:
    """Judge an answer by the service's own code; `pause` in seconds, for codes that ask to stay away.

    Without such a code, or with an unknown one beside a failing status, the status decides: something in between spoke.
    An unknown code alone is tried again.
    """
    known = codes.get(code) if code is not None else None
    if known is None and (by := by_status(answer)):
        return by
    if code is None:
        return Reply(Verdict.RETRY, f"HTTP {answer.status}", body_said(answer), FOREIGN)
    verdict, meaning = known or (Verdict.RETRY, UNKNOWN)
    return Reply(verdict, str(code), said(words or ""), meaning, pause if verdict is Verdict.PAUSE else None)
