"""E-mail: real SMTP servers on loopback, mails that hold no header but ours, and what the replies mean."""

from __future__ import annotations

import email.policy
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import ValidationError

from tests.lab.certificates import make_certificate
from tests.notifiers.made import (
    COMMIT,
    EVERY,
    FAILURE,
    HOSTILE_MESSAGE,
    HUGE,
    MANY,
    MARKED,
    MARKED_HUGE,
    NOTES,
    NOW,
    SEVERAL,
    SINGLE,
    TEST,
    delivery,
    entry,
    message,
)
from updater.model.message import Message
from updater.notifiers.base import Reply, Verdict, Wire
from updater.notifiers.email import Email, judge
from updater.transport.http import Http

PASSWORD = "secret-of-the-mail-account"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", PASSWORD)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("smtp"))


@pytest.fixture
def http() -> Iterator[Http]:
    with Http() as client:
        yield client


def mailer(**more: Any) -> Email:
    given = {"kind": "email", "host": "127.0.0.1", "from": "Updater <updater@example.com>", "to": ["ops@example.com"]}
    return Email.model_validate(given | {"tls": "none"} | more)


# --- a real server --------------------------------------------------------------------------------------------------


@dataclass
class Inbox:
    """What a server took, and what it refuses: `RCPT of@whom` -> reply, `DATA` -> reply, `MAIL` -> reply."""

    refuses: dict[str, str] = field(default_factory=dict)
    mails: list[Envelope] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)

    async def handle_MAIL(self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        self.tls.append(session.ssl is not None)
        envelope.mail_from = address
        return self.refuses.get("MAIL", "250 OK")

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _: Any) -> str:  # noqa: N802
        if refused := self.refuses.get(f"RCPT {address}"):
            return refused
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if refused := self.refuses.get("DATA"):
            return refused
        self.mails.append(envelope)
        return "250 taken"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.logins.append((given.login, given.password))
        fine = (given.login, given.password) == (b"updater", PASSWORD.encode())
        return AuthResult(success=fine, handled=False)

    def mail(self) -> EmailMessage:
        """Return the only mail that came."""
        (envelope,) = self.mails
        assert isinstance(envelope.content, bytes)
        return read(envelope.content)


class OnAnyPort(Controller):
    """A server whose port is the one that it was given."""

    def _trigger_server(self) -> None:
        sockets = self.server.sockets  # type: ignore[union-attr]
        self.port = int(sockets[0].getsockname()[1])
        super()._trigger_server()  # type: ignore[no-untyped-call]


def read(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=email.policy.SMTP)


@contextmanager
def serving(
    inbox: Inbox, certificate: tuple[Path, Path] | None = None, *, implicit: bool = False, login: bool = False
) -> Iterator[int]:
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": 0, "ssl_context": context if implicit else None}
    if context and not implicit:
        options |= {"tls_context": context, "require_starttls": True}
    if login:
        options |= {"authenticator": inbox.authenticate, "auth_required": True, "auth_require_tls": not implicit}
    server = OnAnyPort(inbox, **options)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def sent(channel: Email, http: Http, told: Message = SINGLE, **more: Any) -> Reply:
    plain = more.pop("plain", False)
    return channel.deliver(delivery(told, plain=plain), Wire(http, **({"seconds": 5.0} | more)))


def test_a_mail_is_text_and_html(http: Http) -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        found = sent(mailer(port=port, to=["ops@example.com", "Dev <dev@example.com>"]), http)
    assert found == Reply(Verdict.DELIVERED)
    (envelope,) = inbox.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("updater@example.com", ["ops@example.com", "dev@example.com"])
    mail = inbox.mail()
    assert mail.get_content_type() == "multipart/alternative"
    text, page = parts(mail).values()
    assert text.startswith("api 1.4.2 -> 1.5.0\nImage: ghcr.io/acme/api\n")
    assert f'<a href="{COMMIT.url}">Commit</a>' in page


def test_starttls_with_a_private_ca_and_a_login(http: Http, certificate: tuple[Path, Path]) -> None:
    inbox = Inbox()
    with serving(inbox, certificate, login=True) as port:
        channel = mailer(port=port, tls="starttls", username="updater", password="env:PASSWORD")
        found = sent(channel, http, ca_file=certificate[0])
    assert found.verdict is Verdict.DELIVERED
    assert inbox.tls == [True]
    assert inbox.logins == [(b"updater", PASSWORD.encode())]


def test_implicit_tls(http: Http, certificate: tuple[Path, Path]) -> None:
    inbox = Inbox()
    with serving(inbox, certificate, implicit=True) as port:
        found = sent(mailer(port=port, tls="implicit"), http, ca_file=certificate[0])
    assert (found.verdict, len(inbox.mails)) == (Verdict.DELIVERED, 1)


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_that_nobody_trusts_is_refused(http: Http, certificate: tuple[Path, Path], tls: str) -> None:
    inbox = Inbox()
    with serving(inbox, certificate, implicit=tls == "implicit") as port:
        found = sent(mailer(port=port, tls=tls), http)
    assert (found.verdict, inbox.mails) == (Verdict.PERMANENT, [])
    assert "ca_file" in found.meaning


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_certificate_for_another_name_is_refused(http: Http, tmp_path: Path, tls: str) -> None:
    inbox, other = Inbox(), make_certificate(tmp_path, host="mail.example.com")
    with serving(inbox, other, implicit=tls == "implicit") as port:
        found = sent(mailer(port=port, tls=tls), http, ca_file=other[0])
    assert (found.verdict, inbox.mails) == (Verdict.PERMANENT, [])


def test_a_server_without_starttls_gets_no_mail(http: Http) -> None:
    inbox = Inbox()
    with serving(inbox) as port:
        found = sent(mailer(port=port, tls="starttls"), http)
    assert (found.verdict, inbox.mails) == (Verdict.PERMANENT, [])
    assert "STARTTLS" in found.meaning


def test_a_wrong_password_is_permanent_and_never_shown(
    http: Http, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "another-secret")
    inbox = Inbox()
    with serving(inbox, certificate, login=True) as port:
        channel = mailer(port=port, tls="starttls", username="updater", password="env:PASSWORD")
        found = sent(channel, http, ca_file=certificate[0])
    assert (found.verdict, found.code, inbox.mails) == (Verdict.PERMANENT, "SMTP 535", [])
    assert "another-secret" not in repr(found) + repr(channel)


def test_a_server_that_wants_a_login_says_so(http: Http, certificate: tuple[Path, Path]) -> None:
    with serving(Inbox(), certificate, login=True) as port:
        found = sent(mailer(port=port, tls="starttls"), http, ca_file=certificate[0])
    assert (found.verdict, found.code) == (Verdict.PERMANENT, "SMTP 530")


@pytest.mark.parametrize(
    ("refuses", "verdict", "code"),
    [
        pytest.param({"MAIL": "550 5.7.1 not you"}, Verdict.PERMANENT, "SMTP 550", id="sender refused"),
        pytest.param({"MAIL": "451 4.3.0 later"}, Verdict.RETRY, "SMTP 451", id="sender: later"),
        pytest.param({"RCPT ops@example.com": "550 5.1.1 nobody"}, Verdict.PERMANENT, "SMTP 550", id="no such user"),
        pytest.param({"RCPT ops@example.com": "553 5.1.3 bad"}, Verdict.PERMANENT, "SMTP 553", id="bad recipient"),
        pytest.param({"RCPT ops@example.com": "450 4.2.0 greylisted"}, Verdict.RETRY, "SMTP 450", id="greylisted"),
        pytest.param({"DATA": "554 5.7.1 spam"}, Verdict.DEGRADE, "SMTP 554", id="content refused"),
        pytest.param({"DATA": "552 5.3.4 too large"}, Verdict.DEGRADE, "SMTP 552", id="too large"),
        pytest.param({"DATA": "452 4.3.1 disk full"}, Verdict.RETRY, "SMTP 452", id="their disk is full"),
        pytest.param({"DATA": "421 4.7.0 too many"}, Verdict.RETRY, "SMTP 421", id="too many"),
    ],
)
def test_replies_have_a_class(http: Http, refuses: dict[str, str], verdict: Verdict, code: str) -> None:
    inbox = Inbox(refuses)
    with serving(inbox) as port:
        found = sent(mailer(port=port), http)
    assert (found.verdict, found.code, inbox.mails) == (verdict, code, [])
    assert found.meaning


def test_who_was_refused_is_said_where_others_got_it(http: Http) -> None:
    inbox = Inbox({"RCPT gone@example.com": "550 5.1.1 nobody here"})
    with serving(inbox) as port:
        found = sent(mailer(port=port, to=["ops@example.com", "gone@example.com"]), http)
    assert found.verdict is Verdict.DELIVERED
    assert found.said == "gone@example.com: 550 5.1.1 nobody here"
    assert inbox.mails[0].rcpt_tos == ["ops@example.com"]


# --- servers that misbehave -----------------------------------------------------------------------------------------


class Bare:
    """Accepts connections and hands each to `play`, in a thread of its own."""

    def __init__(self, play: Callable[[socket.socket, threading.Event], None]) -> None:
        self._play, self._stopped = play, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            try:
                self._play(connection, self._stopped)
            except OSError:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._stopped.set()
        self._listener.close()
        self._thread.join(5)


def silent(_: socket.socket, stopped: threading.Event) -> None:
    stopped.wait(10)


def dripping(connection: socket.socket, stopped: threading.Event) -> None:
    """Send a greeting that never ends, so that no single read waits long."""
    while not stopped.wait(0.02):
        connection.sendall(b"220-wait\r\n")


def silent_in_the_handshake(connection: socket.socket, stopped: threading.Event) -> None:
    connection.sendall(b"220 hello\r\n")
    connection.recv(1000)
    connection.sendall(b"250-hello\r\n250 STARTTLS\r\n")
    connection.recv(1000)
    connection.sendall(b"220 go on\r\n")
    stopped.wait(10)


def silent_after_the_mail(connection: socket.socket, stopped: threading.Event) -> None:
    connection.sendall(b"220 hello\r\n")
    for answered in (b"250 hello\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go on\r\n"):
        connection.recv(100_000)
        connection.sendall(answered)
    stopped.wait(10)


@pytest.mark.parametrize(
    ("play", "tls"),
    [
        pytest.param(silent, "none", id="no greeting"),
        pytest.param(silent, "implicit", id="no handshake"),
        pytest.param(dripping, "none", id="a greeting without end"),
        pytest.param(silent_in_the_handshake, "starttls", id="no handshake after STARTTLS"),
        pytest.param(silent_after_the_mail, "none", id="no reply to the mail"),
    ],
)
def test_a_server_that_hangs_holds_nobody(http: Http, play: Callable[..., None], tls: str) -> None:
    with Bare(play) as server:
        began = time.monotonic()
        found = sent(mailer(port=server.port, tls=tls), http, seconds=0.4)
        took = time.monotonic() - began
    assert found.verdict is Verdict.RETRY
    assert took < 3.0  # of 0.4 s, on a machine that is busy


def closing(connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(b"220 hello\r\n")


def refusing(connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(b"554 no service for you\r\n")
    connection.recv(100)


def busy(connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(b"421 too many connections\r\n")
    connection.recv(100)


def babbling(connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(100)


@pytest.mark.parametrize(
    ("play", "verdict"),
    [
        pytest.param(closing, Verdict.RETRY, id="closes after its greeting"),
        pytest.param(refusing, Verdict.PERMANENT, id="greets with 554"),
        pytest.param(busy, Verdict.RETRY, id="greets with 421"),
        pytest.param(babbling, Verdict.RETRY, id="is no mail server"),
    ],
)
def test_a_server_that_does_not_want_us(http: Http, play: Callable[..., None], verdict: Verdict) -> None:
    with Bare(play) as server:
        assert sent(mailer(port=server.port), http).verdict is verdict


def test_no_server_is_a_bad_moment(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    assert sent(mailer(port=port), http).verdict is Verdict.RETRY


def test_a_ca_file_that_cannot_be_read_is_a_mistake(http: Http, tmp_path: Path) -> None:
    found = sent(mailer(tls="starttls"), http, ca_file=tmp_path / "none.pem")
    assert (found.verdict, "none.pem" in found.said) == (Verdict.PERMANENT, True)


@pytest.mark.parametrize(
    ("err", "verdict"),
    [
        pytest.param(smtplib.SMTPAuthenticationError(535, b"no"), Verdict.PERMANENT, id="535"),
        pytest.param(smtplib.SMTPAuthenticationError(534, b"no"), Verdict.PERMANENT, id="534"),
        pytest.param(smtplib.SMTPAuthenticationError(454, b"later"), Verdict.RETRY, id="454"),
        pytest.param(smtplib.SMTPSenderRefused(530, b"no", "x"), Verdict.PERMANENT, id="530"),
        pytest.param(smtplib.SMTPDataError(538, b"no"), Verdict.PERMANENT, id="538 after the mail"),
        pytest.param(smtplib.SMTPHeloError(550, b"no"), Verdict.PERMANENT, id="greeting refused"),
        pytest.param(smtplib.SMTPResponseException(503, b"no"), Verdict.PERMANENT, id="an unknown step"),
        pytest.param(smtplib.SMTPException("No suitable authentication method found."), Verdict.PERMANENT, id="no way"),
        pytest.param(smtplib.SMTPNotSupportedError("AUTH"), Verdict.PERMANENT, id="no login offered"),
        pytest.param(smtplib.SMTPServerDisconnected("gone"), Verdict.RETRY, id="closed"),
        pytest.param(smtplib.SMTPRecipientsRefused({}), Verdict.PERMANENT, id="nobody left"),
        pytest.param(
            smtplib.SMTPRecipientsRefused({"a@b": (550, b"no"), "c@d": (451, b"later")}), Verdict.RETRY, id="one later"
        ),
        pytest.param(ConnectionResetError("reset"), Verdict.RETRY, id="reset"),
        pytest.param(TimeoutError(), Verdict.RETRY, id="late"),
    ],
)
def test_errors_have_a_class(err: Exception, verdict: Verdict) -> None:
    found = judge(err)
    assert found.verdict is verdict
    assert found.meaning


# --- mails ----------------------------------------------------------------------------------------------------------


def mail(told: Message, *, plain: bool = False) -> EmailMessage:
    return read(mailer()._mail(told, NOW, plain=plain).as_bytes())


def parts(found: EmailMessage) -> dict[str, str]:
    return {
        part.get_content_type(): part.get_content().replace("\r\n", "\n")
        for part in found.walk()
        if not part.is_multipart()
    }


def test_headers_say_that_a_program_wrote_it() -> None:
    found = mail(SINGLE)
    assert found["Subject"] == "api 1.4.2 -> 1.5.0"
    assert found["Date"] == "Wed, 25 Nov 2026 18:00:05 +0000"
    assert found["Auto-Submitted"] == "auto-generated"
    assert found["X-Auto-Response-Suppress"] == "All"
    assert found["List-Id"] == "updater <updater.example.com>"
    assert (found["Importance"], mail(FAILURE)["Importance"]) == (None, "high")


def test_mails_about_one_image_are_one_thread() -> None:
    first, later, other = mail(SINGLE), mail(replace(SINGLE, id="f" * 32)), mail(message(entry(name="web")))
    assert first["Message-ID"] == "<0123456789abcdef0123456789abcdef@example.com>"
    assert first["Message-ID"] != later["Message-ID"]
    assert first["References"] == later["References"] == later["In-Reply-To"]
    assert other["References"] != first["References"]
    assert re.fullmatch(r"<[0-9a-f]{32}\.subject@example\.com>", first["References"])
    assert mail(SEVERAL)["References"] is None


def test_the_same_message_has_the_same_id_whatever_it_is() -> None:
    odd = replace(SINGLE, id="odd id>\r\nBcc: x@evil.example")
    assert mail(odd)["Message-ID"] == mail(odd, plain=True)["Message-ID"]
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", mail(odd)["Message-ID"])


@pytest.mark.parametrize("told", list(EVERY.values()), ids=list(EVERY))
def test_every_message_has_both_parts(told: Message) -> None:
    found = parts(mail(told))
    assert set(found) == {"text/plain", "text/html"}
    assert told.title in found["text/plain"]


def test_plain_is_text_alone() -> None:
    assert set(parts(mail(SEVERAL, plain=True))) == {"text/plain"}


def test_a_template_makes_the_text_and_there_is_no_html() -> None:
    assert parts(mail(MARKED)) == {"text/plain": "operator's *own* <b>words</b>\n"}
    assert parts(mail(MARKED, plain=True))["text/plain"].startswith("api 1.4.2 -> 1.5.0")


def test_a_command_is_code() -> None:
    text, page = parts(mail(message(entry(action="Approve it with `updater approve <a>`")))).values()
    assert "Approve it with `updater approve <a>`" in text
    assert "<p>Approve it with <code>updater approve &lt;a&gt;</code></p>" in page


def test_chinese_is_written_in_seven_bits() -> None:
    told = message(entry(headline="api 已更新", facts=(("镜像", "ghcr.io/acme/api"),)), language="zh")
    raw = mailer()._mail(told, NOW, plain=False).as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 998
    found = read(raw)
    assert found["Subject"] == "api 已更新"
    assert 'lang="zh-CN"' in parts(found)["text/html"]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in {"href", "src"}]


OURS = {"html", "head", "meta", "body", "h2", "h3", "p", "table", "tr", "td", "code", "a"}


def test_outside_text_adds_no_header_and_no_tag() -> None:
    raw = mailer()._mail(HOSTILE_MESSAGE, NOW, plain=False).as_bytes()
    found = read(raw)
    assert set(found.keys()) == set(mail(SINGLE).keys())
    assert found["Bcc"] is None
    page = Page(parts(found)["text/html"])
    assert page.tags <= OURS
    assert page.links == [COMMIT.url]


@pytest.mark.parametrize("told", [HUGE, MARKED_HUGE], ids=["huge", "template"])
def test_what_is_too_large_is_shortened(told: Message) -> None:
    assert len(mailer()._mail(told, NOW, plain=False).as_bytes()) <= Email.max_bytes
    assert mailer().weigh(told) > Email.max_bytes


def test_several_weigh_what_they_are() -> None:
    assert mailer().weigh(SINGLE) < mailer().weigh(SEVERAL) < mailer().weigh(MANY)
    assert Page(parts(mail(SEVERAL))["text/html"]).links == [COMMIT.url, NOTES.url] * 2 + [NOTES.url]
    assert parts(mail(TEST))["text/plain"] == "Test message of updater\n"


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"host": "mail.example.com"}, "beyond loopback", id="in the clear over a network"),
        pytest.param({"username": "me"}, "alone", id="a user without a password"),
        pytest.param({"password": "env:PASSWORD"}, "alone", id="a password without a user"),
        pytest.param({"username": "me", "password": "pw"}, "literal secret", id="a literal password"),
        pytest.param({"to": []}, "at least 1 item", id="nobody"),
        pytest.param({"to": ["ops"]}, "expected an address", id="no address"),
        pytest.param({"to": ["a@example.com, b@example.com"]}, "expected an address", id="two in one"),
        pytest.param({"to": ["a@example.com\r\nBcc: b@example.com"]}, "expected an address", id="a header"),
        pytest.param({"from": "Upd\nater <a@example.com>"}, "expected an address", id="a header in a name"),
        pytest.param({"from": "更新@example.com"}, "expected an address", id="an address that is not ASCII"),
        pytest.param({"host": "mail.example.com:587"}, "without a port", id="a port in the host"),
        pytest.param({"host": ".example.com"}, "without a port", id="no host"),
        pytest.param({"tls": "sometimes"}, "starttls", id="tls now and then"),
        pytest.param({"port": 0}, "greater than", id="no port"),
    ],
)
def test_what_is_unsafe_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        mailer(**fields)


def test_a_name_may_be_in_any_language() -> None:
    channel = mailer(**{"from": "镜像更新 <updater@example.com>"})
    assert str(read(channel._mail(SINGLE, NOW, plain=False).as_bytes())["From"]) == "镜像更新 <updater@example.com>"


def test_the_defaults_are_those_of_submission() -> None:
    found = Email.model_validate(
        {"kind": "email", "host": "mail.example.com", "from": "a@b.example", "to": ["c@d.example"]}
    )
    assert (found.port, found.tls, found.title) == (587, "starttls", "email")


def test_who_sends_no_mail_does_not_load_what_mails_need() -> None:
    """The configuration loads the whole family; a daemon may have a DingTalk channel alone."""
    program = (
        "import sys; from updater.plugins import members; from updater.notifiers.base import Notifier\n"
        "members(Notifier)\n"
        "print([name for name in ('smtplib', 'email.policy', 'email.contentmanager') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
