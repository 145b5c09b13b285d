"""E-mail over SMTP, as text and HTML. What builds and sends mails is loaded with the first one."""

from __future__ import annotations

import hashlib
import html
import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, formataddr, getaddresses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from updater.errors import NotifyError
from updater.model.event import Severity
from updater.model.message import Entry, Message
from updater.notifiers.base import Delivery, Limit, Notifier, Reply, Verdict, Wire, said
from updater.notifiers.fitting import cleaned, fitted, plain_entry, plain_text, repeats, short, worded
from updater.secrets import SecretRef, remember

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

MAX_SUBJECT = 200  # characters
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_COLOURS = {Severity.INFO: "#2e9e5b", Severity.WARNING: "#e8a317", Severity.ERROR: "#d0342c"}
_LANG = {"en": "en", "zh": "zh-CN"}
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")

_LOGIN = "user name or password is wrong, or the server wants another way to log in"
_BUSY = "the server has a bad moment"


def _mailbox(value: str) -> str:
    parsed = getaddresses([value]) if value.isprintable() else []
    if len(parsed) != 1 or not _ADDRESS.fullmatch(parsed[0][1]):
        raise ValueError("expected an address such as updater@example.com or Updater <updater@example.com>")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}", value) or (":" in value and value.count(":") < 2):
        raise ValueError("expected the name or the address of a server, without a port")
    return value


Mailbox = Annotated[str, AfterValidator(_mailbox)]
Host = Annotated[str, AfterValidator(_host)]


class Email(Notifier):
    """Mail through a server that takes it in (submission), as text and HTML; one thread a subject.

    A template makes the text, and the mail has no HTML part then.
    """

    limit: ClassVar[Limit] = Limit(30, 60.0)
    max_bytes: ClassVar[int] = 256_000  # far below what servers take; longer mails are not read

    kind: Literal["email"] = "email"
    host: Host = Field(description="name or address of the mail server")
    port: int = Field(587, ge=1, le=65535, description="587 with starttls, 465 with implicit")
    tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls", description="starttls | implicit | none (on loopback only); certificates are always verified"
    )
    username: str | None = Field(
        None, min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$", description="null: without a login"
    )
    password: SecretRef | None = Field(None, description="secret reference of the user's password")
    from_: Mailbox = Field(alias="from", description="who it comes from, e.g. Updater <updater@example.com>")
    to: Annotated[tuple[Mailbox, ...], Field(min_length=1, max_length=100)] = Field(description="who gets it")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.username is None) != (self.password is None):
            key, wrong = "username", "found `username` or `password` alone, expected both"
        elif self.tls == "none" and self.host not in LOOPBACK:
            key, wrong = "tls", "found `none` beyond loopback, expected starttls or implicit"
        else:
            return self
        raise PydanticCustomError("at", "{said}", {"said": wrong, "key": key})

    def address(self) -> str:
        """Return the server and the user."""
        return f"{self.host}:{self.port} {self.username or ''}"

    def deliver(self, delivery: Delivery, wire: Wire) -> Reply:
        """Send one mail to all; what some recipients' servers refuse does not keep it from the others."""
        from updater.transport.smtp import connected

        login = (self.username, self.password.resolve()) if self.username and self.password else None
        mail = self._mail(delivery.message, delivery.now, plain=delivery.plain)
        try:
            context, implicit = None if self.tls == "none" else _context(wire.ca_file), self.tls == "implicit"
            with connected(self.host, self.port, wire.seconds, context, implicit=implicit) as server:
                if login:
                    _log_in(server, *login)
                refused = server.sendmail(_bare(self.from_), [_bare(one) for one in self.to], mail.as_bytes())
        except NotifyError as err:
            return Reply(Verdict.PERMANENT, "", said(err), "this channel is not configured completely")
        except OSError as err:  # every SMTPException is one
            return judge(err)
        return Reply(Verdict.DELIVERED, said=_names(refused), meaning="some recipients were refused" if refused else "")

    def weigh(self, message: Message) -> int:
        """Return the bytes of the mail."""
        return len(self._built(cleaned(message), datetime.fromtimestamp(0, UTC), plain=False).as_bytes())

    def _mail(self, message: Message, now: datetime, *, plain: bool) -> EmailMessage:
        at = datetime.fromtimestamp(0, UTC)
        message = fitted(message, lambda m: len(self._built(m, at, plain=plain).as_bytes()), self.max_bytes)
        return self._built(message, now, plain=plain)

    def _built(self, message: Message, now: datetime, *, plain: bool) -> EmailMessage:
        """Return the mail of a cleaned message; the same message has the same Message-ID each time."""
        from email.message import EmailMessage
        from email.policy import SMTP

        mail = EmailMessage(policy=SMTP)
        domain = _bare(self.from_).partition("@")[2]
        for name, value in self._headers(message, now, domain):
            mail[name] = value
        marked = any(entry.markup for entry in message.entries)
        _set(mail, _text(message) if marked and not plain else plain_text(message) + "\n")
        if not (plain or marked):
            page = _page(message)
            mail.add_alternative(page, subtype="html", cte=_encoding(page))
        return mail

    def _headers(self, message: Message, now: datetime, domain: str) -> Iterator[tuple[str, str]]:
        yield "Subject", short(message.title, MAX_SUBJECT)
        yield "From", _spelled(self.from_)
        yield "To", ", ".join(map(_spelled, self.to))
        yield "Date", format_datetime(now.astimezone(UTC))
        yield "Message-ID", f"<{_hash(message.id)}@{domain}>"
        if message.subject:
            thread = f"<{_hash(message.subject)}.subject@{domain}>"
            yield "In-Reply-To", thread
            yield "References", thread
        yield "List-Id", f"updater <updater.{domain}>"
        yield "Auto-Submitted", "auto-generated"
        yield "X-Auto-Response-Suppress", "All"
        if message.severity is Severity.ERROR:
            yield "Importance", "high"


# --- the mail -------------------------------------------------------------------------------------------------------


def _hash(text: str) -> str:
    """Return what is stable and may stand in an id, whatever the text is."""
    fine = re.fullmatch(r"[A-Za-z0-9]{8,64}", text)
    return text if fine else hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def _bare(mailbox: str) -> str:
    return getaddresses([mailbox])[0][1]


def _spelled(mailbox: str) -> str:
    return formataddr(getaddresses([mailbox])[0])


def _set(mail: EmailMessage, text: str) -> None:
    mail.set_content(text, cte=_encoding(text))


def _encoding(text: str) -> str:
    """Choose an encoding that every server carries: seven bits, short lines."""
    return "quoted-printable" if text.isascii() else "base64"


def _text(message: Message) -> str:
    """Return the text part where templates make it: what stands in them is taken as it is."""
    parts = [entry.markup or plain_entry(message, entry) for entry in message.entries]
    return "\n\n".join(filter(None, [message.note, *parts])) + "\n"


def _page(message: Message) -> str:
    note = f"<p>{html.escape(message.note)}</p>" if message.note else ""
    entries = "".join(_section(message, entry) for entry in message.entries)
    return (
        f'<!DOCTYPE html><html lang="{_LANG[message.language]}"><head><meta charset="utf-8"></head>'
        '<body style="font-family:sans-serif;font-size:14px">'
        f'<h2 style="font-size:18px;border-left:6px solid {_COLOURS[message.severity]};padding-left:10px">'
        f"{html.escape(message.title)}</h2>{note}{entries}</body></html>\n"
    )


def _section(message: Message, entry: Entry) -> str:
    colour = _COLOURS[entry.event.severity]
    head = (
        f'<h3 style="font-size:15px;border-left:4px solid {colour};padding-left:8px">{html.escape(entry.headline)}</h3>'
    )
    rows = "".join(
        f'<tr><td style="color:#666;padding-right:12px;vertical-align:top">{html.escape(label)}</td>'
        f"<td>{_code(value)}</td></tr>\n"
        for label, value in entry.facts
    )
    links = " · ".join(f'<a href="{html.escape(link.url)}">{html.escape(link.text)}</a>' for link in entry.links)
    return "\n".join([
        "" if repeats(message, entry) else head,
        f"<table>{rows}</table>" if rows else "",
        f"<p>{worded(entry.action, html.escape, _code)}</p>" if entry.action else "",
        f"<p>{links}</p>" if links else "",
    ])  # fmt: skip


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"


# --- the way to the server ------------------------------------------------------------------------------------------


def _context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as err:
            raise NotifyError(f"the CA file {ca_file} cannot be used: {err.strerror or err}") from err
    return context


def _log_in(server: smtplib.SMTP, username: str, password: str) -> None:
    if not (username.isascii() and password.isascii()):
        raise NotifyError("user name and password must be ASCII: the server's ways to log in know nothing else")
    remember(b64encode(f"\0{username}\0{password}".encode()).decode())
    server.login(username, password)


# --- what the answers mean ------------------------------------------------------------------------------------------

_CERTIFICATE = "its certificate is not trusted; a private CA belongs into network.ca_file"
_STAGES: Mapping[str, tuple[Verdict, str]] = {
    "SMTPAuthenticationError": (Verdict.PERMANENT, _LOGIN),
    "SMTPSenderRefused": (Verdict.PERMANENT, "the server does not take mail from this sender: check from and login"),
    "SMTPDataError": (Verdict.DEGRADE, "the server does not take this mail"),
    "SMTPConnectError": (Verdict.PERMANENT, "the server does not take mail from here"),
    "SMTPHeloError": (Verdict.PERMANENT, "the server does not take mail from here"),
}
"""What a final (5xx) reply means, by smtplib's error of the step that it answers."""

_CODES: dict[int, tuple[Verdict, str]] = {
    530: (Verdict.PERMANENT, "the server wants a login, or TLS before it"),
    534: (Verdict.PERMANENT, _LOGIN),
    535: (Verdict.PERMANENT, _LOGIN),
    538: (Verdict.PERMANENT, "the server wants TLS before a login"),
}
"""Replies that mean the same whichever step they answer; RFC 4954."""


def judge(err: Exception) -> Reply:
    """Say what went wrong: 4xx is a bad moment, 5xx final, and which of the steps it was says for what."""
    import smtplib

    if isinstance(err, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in err.recipients.values()]
        verdict = Verdict.RETRY if any(code < 500 for code in codes) else Verdict.PERMANENT
        meaning = _BUSY if verdict is Verdict.RETRY else "no recipient is taken: check `to`"
        return Reply(verdict, f"SMTP {codes[0]}" if codes else "", _names(err.recipients), meaning)
    if isinstance(err, smtplib.SMTPResponseException):
        return _final(err) if err.smtp_code >= 500 else _reply(err, Verdict.RETRY, _BUSY)
    if isinstance(err, smtplib.SMTPNotSupportedError):
        return Reply(
            Verdict.PERMANENT, "", said(err), "the server offers no STARTTLS, or no way to log in that is known"
        )
    if isinstance(err, smtplib.SMTPServerDisconnected):
        return Reply(Verdict.RETRY, "", said(err), "the server closed the connection")
    if isinstance(err, ssl.SSLCertVerificationError):
        return Reply(Verdict.PERMANENT, "", said(err.verify_message), _CERTIFICATE)
    if type(err) is smtplib.SMTPException:
        return Reply(Verdict.PERMANENT, "", said(err), _LOGIN)
    if isinstance(err, TimeoutError):
        return Reply(Verdict.RETRY, "", "", "no answer in time")
    return Reply(Verdict.RETRY, "", said(err), "no usable answer came")


def _final(err: smtplib.SMTPResponseException) -> Reply:
    known = _CODES.get(err.smtp_code) or _STAGES.get(type(err).__name__)
    return _reply(err, *(known or (Verdict.PERMANENT, "the server refuses")))


def _reply(err: smtplib.SMTPResponseException, verdict: Verdict, meaning: str) -> Reply:
    return Reply(verdict, f"SMTP {err.smtp_code}", _words(err.smtp_error), meaning)


def _words(text: bytes | str) -> str:
    return said(text.decode(errors="replace") if isinstance(text, bytes) else text)


def _names(refused: Mapping[str, tuple[int, Any]]) -> str:
    """Say who was refused, and with which words."""
    return said("; ".join(f"{who}: {code} {_words(text)}" for who, (code, text) in refused.items()))
