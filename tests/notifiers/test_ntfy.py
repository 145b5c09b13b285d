"""ntfy: plain text with a priority, links as actions, and what its answers mean."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from pydantic import ValidationError

from tests.lab.scripted import reply
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
    SEVERAL,
    SINGLE,
    TEST,
    answer,
    body,
    delivery,
    entry,
    in_turn,
    message,
    over_the_wire,
    served,
)
from updater.errors import NotifyError
from updater.model.message import Message
from updater.notifiers.base import Verdict
from updater.notifiers.ntfy import Ntfy
from updater.secrets import redact

TOKEN = "tk_secretofntfy"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", TOKEN)
    monkeypatch.setenv("PASSWORD", "pass:word-of-ntfy")
    monkeypatch.setenv("TOPIC", "a-topic-nobody-guesses")


def ntfy(**more: Any) -> Ntfy:
    return Ntfy.model_validate({"kind": "ntfy", "topic": "updates"} | more)


def payload(told: Message, *, plain: bool = False) -> dict[str, Any]:
    """Return what is sent, after what the service checks has been checked."""
    request = ntfy().request(delivery(told, plain=plain))
    assert request.url == "https://ntfy.sh/"
    assert len(request.body) <= 2 * 4096
    found = body(request)
    assert 0 < len(found["message"].encode()) <= 4096
    assert 0 < len(found["title"]) <= 200
    assert len(found.get("actions", ())) <= 3
    return found


def test_one_event_is_its_facts_under_its_headline_with_links() -> None:
    found = payload(SINGLE)
    assert (found["topic"], found["title"], found["priority"], found["tags"]) == (
        "updates", "api 1.4.2 -> 1.5.0", 3, ["package"],
    )  # fmt: skip
    assert found["message"] == "Image: ghcr.io/acme/api\nFile: apps/api/deployment.yaml:17"
    assert found["click"] == COMMIT.url
    assert found["actions"][1] == {"action": "view", "label": "Release notes", "url": NOTES.url}
    assert "markdown" not in found


def test_several_events_stand_apart_and_share_links() -> None:
    found = payload(SEVERAL)
    assert len(found["message"].split("\n\n")) == 3
    assert [action["url"] for action in found["actions"]] == [COMMIT.url, NOTES.url]


def test_a_failure_is_urgent_and_a_test_is_not() -> None:
    assert (payload(FAILURE)["priority"], payload(FAILURE)["tags"]) == (5, ["rotating_light"])
    assert (payload(TEST)["priority"], payload(TEST)["tags"]) == (3, ["test_tube"])


def test_plain_is_title_and_text_alone() -> None:
    assert set(payload(SEVERAL, plain=True)) == {"topic", "title", "message"}


@pytest.mark.parametrize("told", list(EVERY.values()), ids=list(EVERY))
def test_every_message_is_valid(told: Message) -> None:
    assert payload(told)["title"] == told.title


def test_a_template_is_markdown_and_what_stands_beside_it_is_escaped() -> None:
    assert payload(MARKED)["markdown"] is True
    told = message(*MARKED.entries, entry(headline="[x](y) *z*", facts=(), links=()))
    assert payload(told)["message"] == "operator's *own* <b>words</b>\n\n" + r"\[x\]\(y\) \*z\*"


@pytest.mark.parametrize("plain", [False, True])
def test_outside_text_is_no_markup_and_adds_no_field(plain: bool) -> None:
    found = payload(HOSTILE_MESSAGE, plain=plain)
    known = {"topic", "title", "message"} | (set() if plain else {"priority", "tags", "click", "actions"})
    assert set(found) == known
    assert all("\r" not in text and "\x00" not in text for text in (found["title"], found["message"]))
    assert [action["url"] for action in found.get("actions", ())] == ([] if plain else [COMMIT.url])


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "told",
    [HUGE, MANY, MARKED_HUGE, message(entry(facts=(("标签", "更新" * 1500),)))],
    ids=["huge", "many", "template", "three bytes a character"],
)
def test_what_is_too_long_is_shortened(told: Message, plain: bool) -> None:
    assert payload(told, plain=plain)
    assert ntfy().weigh(told) > Ntfy.max_bytes


def test_a_login_is_a_token_or_a_user() -> None:
    assert ntfy().request(delivery()).headers == {}
    assert ntfy(token="env:TOKEN").request(delivery()).headers == {"Authorization": f"Bearer {TOKEN}"}
    headers = ntfy(username="ci", password="env:PASSWORD").request(delivery()).headers
    encoded = b64encode(b"ci:pass:word-of-ntfy").decode()
    assert headers == {"Authorization": f"Basic {encoded}"}
    assert redact(encoded) == "***"


def test_a_topic_that_nobody_may_guess_is_a_reference() -> None:
    assert body(ntfy(topic="env:TOPIC").request(delivery()))["topic"] == "a-topic-nobody-guesses"
    assert "nobody-guesses" not in repr(ntfy(topic="env:TOPIC"))


def test_a_topic_that_is_none_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPIC", "../v1/account")
    with pytest.raises(NotifyError, match="no name of a topic"):
        ntfy(topic="env:TOPIC").request(delivery())


@pytest.mark.parametrize(
    ("status", "said", "verdict", "after"),
    [
        pytest.param(200, {"id": "x", "event": "message"}, Verdict.DELIVERED, None, id="delivered"),
        pytest.param(200, "<html>", Verdict.RETRY, None, id="no ntfy server"),
        pytest.param(429, {"code": 42901, "error": "limit reached"}, Verdict.PAUSE, 60.0, id="too many requests"),
        pytest.param(429, {"code": 42908, "error": "limit reached"}, Verdict.PAUSE, 3600.0, id="too many today"),
        pytest.param(429, "", Verdict.PAUSE, 60.0, id="too many, says a proxy"),
        pytest.param(401, {"code": 40101, "error": "unauthorized"}, Verdict.PERMANENT, None, id="wrong token"),
        pytest.param(403, {"code": 40301, "error": "forbidden"}, Verdict.PERMANENT, None, id="topic not ours"),
        pytest.param(404, {"code": 40401, "error": "page not found"}, Verdict.PERMANENT, None, id="wrong address"),
        pytest.param(400, {"code": 40009, "error": "topic invalid"}, Verdict.PERMANENT, None, id="no topic"),
        pytest.param(400, {"code": 40010, "error": "disallowed"}, Verdict.PERMANENT, None, id="reserved topic"),
        pytest.param(400, {"code": 40018, "error": "actions invalid"}, Verdict.DEGRADE, None, id="actions refused"),
        pytest.param(413, {"code": 41303, "error": "too large"}, Verdict.DEGRADE, None, id="too large"),
        pytest.param(500, {"code": 50001, "error": "internal"}, Verdict.RETRY, None, id="their bug"),
        pytest.param(507, {"code": 50701, "error": "full"}, Verdict.RETRY, None, id="their disk is full"),
    ],
)
def test_answers_have_a_class(status: int, said: Any, verdict: Verdict, after: float | None) -> None:
    found = ntfy().read(answer(status, said))
    assert (found.verdict, found.after) == (verdict, after)
    assert verdict is Verdict.DELIVERED or found.meaning


def test_retry_after_wins() -> None:
    assert ntfy().read(answer(429, {"code": 42908}, retry_after="5")).after == 5.0


def test_over_the_wire() -> None:
    with served(in_turn(reply(200, {"id": "x"}), None)) as (server, wire):
        delivered, reset = over_the_wire(ntfy(base_url=server.url, token="env:TOKEN"), wire, TOKEN)
    assert (delivered.verdict, reset.verdict) == (Verdict.DELIVERED, Verdict.RETRY)
    assert [asked.target for asked in server.requests] == ["/", "/"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"topic": "a/b"}, "letters, digits", id="no topic"),
        pytest.param({"topic": ""}, "name of a topic", id="an empty topic"),
        pytest.param({"token": "env:TOKEN", "username": "ci"}, "`token` beside", id="two logins"),
        pytest.param({"username": "ci"}, "alone", id="a user without a password"),
        pytest.param({"token": TOKEN}, "literal secret", id="a literal token"),
        pytest.param({"base_url": "http://ntfy.example.com"}, "plain HTTP", id="in the clear"),
        pytest.param({"base_url": "https://me:x@ntfy.example.com"}, "no address", id="a login in the address"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ntfy(**fields)
