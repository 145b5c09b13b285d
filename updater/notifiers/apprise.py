"""Whatever apprise knows: some 170 further services, as plain text. An optional extra."""

from __future__ import annotations

import importlib
import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import Field

from updater.model.event import Severity
from updater.model.message import Message
from updater.notifiers.base import Delivery, Limit, Notifier, Reply, Verdict, Wire, said
from updater.notifiers.fitting import cleaned, fitted, plain_entry, plain_text
from updater.secrets import SecretRef
from updater.transport.trust import bundle

MIN_PART = 6  # characters; shorter parts of a URL are ordinary words
INSTALL = "install updater[apprise]"
REFUSED = {"dingtalk": "dingtalk", "feishu": "feishu", "lark": "lark", "wecombot": "wecom"}
"""Module of a plugin that does not read the service's answer, and calls every message delivered -> our own kind."""

_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "failure"}
_CALLS = re.compile(r"(?<=@)(?!sha256:|sha512:)|(?<=<)(?=[!@#&/A-Za-z])")
GAP = "\u200b"  # invisible; what it parts calls nobody and is no tag

_log = logging.getLogger("apprise")  # it tells whole addresses, which hold secrets; a Reply has what it captured
_log.propagate = False
_log.addHandler(logging.NullHandler())
for _name in ("urllib3", "charset_normalizer"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Apprise(Notifier):
    """Any service of apprise by its URL, as plain text; needs `updater[apprise]`.

    Its HTTP goes its own way: *_PROXY of the environment, no `network.proxy`. DingTalk, Feishu, Lark and WeCom are
    refused: apprise reports them delivered when they are not, and kinds of our own do better. A template makes the
    text of its event. Why a message failed is not known: it is tried again.
    """

    limit: ClassVar[Limit] = Limit(20, 60.0)
    max_bytes: ClassVar[int] = 4000  # some services take no more

    kind: Literal["apprise"] = "apprise"
    url: SecretRef = Field(description="secret reference of one URL of apprise, e.g. of gotify://HOST/TOKEN")

    def address(self) -> str:
        """Return the URL."""
        return self.url.resolve().strip()

    def deliver(self, delivery: Delivery, wire: Wire) -> Reply:
        """Hand the message to apprise and read whether it was taken."""
        url = self.address()
        try:
            library: Any = importlib.import_module("apprise")
        except ImportError:
            return Reply(Verdict.PERMANENT, "", "apprise is not installed", INSTALL)
        service = _service(library, url, wire.seconds)
        if service is None:
            return Reply(Verdict.PERMANENT, "", "", "apprise knows no service at this URL: check the secret")
        own = REFUSED.get(type(service).__module__.rpartition(".")[2])
        if own:
            return Reply(Verdict.PERMANENT, "", "", f"apprise does not read what {own} answers; use `kind: {own}`")
        with _trusting(service, wire.ca_file):
            return self._sent(library, service, delivery, wire.seconds)

    def _sent(self, library: Any, service: Any, delivery: Delivery, seconds: float) -> Reply:
        message = fitted(delivery.message, self.weigh, self.max_bytes)
        body = self.escape(plain_text(message)) if delivery.plain else _body(message)
        hub = library.Apprise(asset=service.asset)
        hub.add(service)
        outcome = hub.notify(
            body=body, title=self.escape(message.title), notify_type=_TYPES[message.severity], body_format="text",
            timeout=seconds,
        )  # fmt: skip
        if outcome:
            return Reply(Verdict.DELIVERED)
        words = " ".join(str(line.message) for line in outcome.logs())
        return Reply(Verdict.RETRY, "", said(_blanked(words, self.address())), "apprise could not deliver it")

    def weigh(self, message: Message) -> int:
        """Return the bytes of title and text."""
        message = cleaned(message)
        return len((self.escape(message.title) + _body(message)).encode(errors="replace"))

    @staticmethod
    def escape(text: str) -> str:
        """Keep names from being mentions or tags, in whichever service it ends."""
        return _CALLS.sub(GAP, text)


def _body(message: Message) -> str:
    parts = [entry.markup or Apprise.escape(plain_entry(message, entry)) for entry in message.entries]
    return "\n\n".join(filter(None, [Apprise.escape(message.note), *parts])) or Apprise.escape(message.title)


def _blanked(words: str, url: str) -> str:
    """Blank every part of the URL: a service is asked at another address, with the same secrets in it."""
    for part in sorted(re.split(r"[^\w.%+~-]+", url), key=len, reverse=True):
        if len(part) >= MIN_PART:
            words = words.replace(part, "***").replace(unquote(part), "***")
    return words


def _service(library: Any, url: str, seconds: float) -> Any:
    """Return apprise's own object for the URL, None where it knows none. Nothing is kept on disk, or tried twice."""
    asset = library.AppriseAsset(
        storage_mode="memory", secure_logging=True, service_timeout=seconds, http_redirects=False
    )
    manager = importlib.import_module("apprise.plugins")
    found = manager.url_to_dict(url, secure_logging=True)
    if not found:
        return None
    return library.Apprise.instantiate(found | {"cto": seconds, "rto": seconds, "retry": 0}, asset=asset)


@contextmanager
def _trusting(service: Any, ca_file: Path | None) -> Iterator[None]:
    """Have the service trust a private CA besides the usual ones, unless its URL turns verifying off."""
    if ca_file is None or service.verify_certificate is not True:
        yield
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(bundle(ca_file))
        file.flush()
        service.verify_certificate = file.name
        yield
