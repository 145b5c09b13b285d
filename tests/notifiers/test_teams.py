"""Teams: an Adaptive Card in which outside text is only text, and the failures that look like successes."""

from __future__ import annotations

import re
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
from updater.model.message import Message
from updater.notifiers.base import Verdict
from updater.notifiers.teams import Teams

HOOK = "https://prod-1.westeurope.logic.azure.com/workflows/secretflow/triggers/manual/paths/invoke?sig=secretsignature"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", HOOK)


def teams(**more: Any) -> Teams:
    return Teams.model_validate({"kind": "teams", "url": "env:HOOK"} | more)


def card(told: Message, *, plain: bool = False) -> dict[str, Any]:
    """Return the card, after the envelope has been checked."""
    request = teams().request(delivery(told, plain=plain))
    assert request.url == HOOK
    assert len(request.body) <= 28 * 1024
    document = body(request)
    (attachment,) = document["attachments"]
    assert (document["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    content = attachment["content"]
    assert (content["type"], content["version"]) == ("AdaptiveCard", "1.4")
    assert "entities" not in content["msteams"]  # without these nothing is a mention
    assert isinstance(content, dict)
    return content


def blocks(value: Any) -> list[str]:
    """Return the text of every block and fact, which is Markdown."""
    if isinstance(value, list):
        return [text for one in value for text in blocks(one)]
    if not isinstance(value, dict):
        return []
    own = [value["text"]] if value.get("type") == "TextBlock" else []
    own += [value["title"], value["value"]] if "value" in value else []
    return own + [text for one in value.values() for text in blocks(one)]


def test_one_event_is_a_coloured_title_its_facts_and_buttons() -> None:
    found = card(EVERY["single"])
    head, facts = found["body"]
    assert (head["style"], head["items"][0]["text"]) == ("good", "api 1.4.2 -> 1.5.0")
    assert facts["facts"][0] == {"title": "Image", "value": "ghcr.io/acme/api"}
    assert [action["url"] for action in found["actions"]] == [COMMIT.url, NOTES.url]


def test_several_events_have_their_own_headlines_and_buttons() -> None:
    found = card(SEVERAL)
    assert "actions" not in found
    assert [item["type"] for item in found["body"]] == ["Container"] + ["TextBlock", "FactSet", "ActionSet"] * 3


def test_a_failure_is_red_and_says_what_to_do() -> None:
    found = card(FAILURE)
    assert found["body"][0]["style"] == "attention"
    assert "Look at the registry." in blocks(found)


def test_a_test_message_is_a_title_alone() -> None:
    assert blocks(card(TEST)) == ["Test message of updater"]


def test_plain_is_a_card_of_lines_without_links() -> None:
    found = card(SEVERAL, plain=True)
    assert {block["type"] for block in found["body"]} == {"TextBlock"}
    assert "actions" not in found


def test_the_words_of_a_template_are_markup() -> None:
    found = card(MARKED)
    assert "operator's *own* <b>words</b>" in blocks(found)
    assert [action["url"] for action in found["actions"]] == [COMMIT.url, NOTES.url]


def test_one_template_of_several_keeps_its_links() -> None:
    _, own, links, *_ = card(message(entry(markup="*own*"), entry()))["body"]
    assert own["text"] == "*own*"
    assert [action["url"] for action in links["actions"]] == [COMMIT.url, NOTES.url]


@pytest.mark.parametrize("plain", [False, True])
def test_outside_text_holds_no_markdown(plain: bool) -> None:
    found = card(HOSTILE_MESSAGE, plain=plain)
    for text in blocks(found):
        assert re.search(r"(?<!\\)[*_\[\]`~<]|^[>#]", text.replace("\\\\", "")) is None
        assert "\n" not in text
    assert [action["url"] for action in found.get("actions", ())] == ([] if plain else [COMMIT.url])


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        pytest.param("v1.5.0-rc.1", "v1.5.0-rc.1", id="a tag stays as it is"),
        pytest.param("# heading", r"\# heading", id="heading"),
        pytest.param("- list", r"\- list", id="list"),
        pytest.param("1. list", r"1\. list", id="numbered list"),
        pytest.param("1.5.0", "1.5.0", id="a version is no list"),
        pytest.param("[x](y)", r"\[x\](y)", id="link"),
        pytest.param("a_b*c", r"a\_b\*c", id="emphasis"),
        pytest.param("<at>all</at>", r"\<at>all\</at>", id="mention"),
        pytest.param("a\\*b", "a\\\\\\*b", id="a backslash of their own"),
    ],
)
def test_markdown_is_escaped(text: str, escaped: str) -> None:
    assert Teams.escape(text) == escaped


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("told", [HUGE, MANY, MARKED_HUGE], ids=["huge", "many", "template"])
def test_what_is_too_large_is_shortened(told: Message, plain: bool) -> None:
    assert card(told, plain=plain)["body"]
    assert teams().weigh(told) > Teams.max_bytes


TOO_MANY = (
    "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x"
)
TOO_LARGE = TOO_MANY.replace("429", "413")
GONE = TOO_MANY.replace("429", "404")
OFF = {"error": {"code": "WorkflowTriggerIsNotEnabled", "message": "Could not execute workflow"}}


@pytest.mark.parametrize(
    ("status", "text", "verdict"),
    [
        pytest.param(202, "", Verdict.DELIVERED, id="a workflow took it"),
        pytest.param(200, "1", Verdict.DELIVERED, id="a connector took it"),
        pytest.param(200, "", Verdict.DELIVERED, id="a gateway took it"),
        pytest.param(200, {"status": "done"}, Verdict.DELIVERED, id="a workflow that answers in JSON"),
        pytest.param(200, TOO_MANY, Verdict.PAUSE, id="200 with a 429 in its text"),
        pytest.param(200, TOO_LARGE, Verdict.DEGRADE, id="200 with a 413 in its text"),
        pytest.param(200, GONE, Verdict.PERMANENT, id="200 with a 404 in its text"),
        pytest.param(200, "Summary or Text is required.", Verdict.DEGRADE, id="200 with a refusal in its text"),
        pytest.param(200, "Bad payload received by generic incoming webhook.", Verdict.DEGRADE, id="200, bad payload"),
        pytest.param(200, "<html>Log in, an error occurred</html>", Verdict.RETRY, id="a page of something in between"),
        pytest.param(400, OFF, Verdict.PERMANENT, id="the workflow is turned off"),
        pytest.param(404, {"error": {"code": "WorkflowNotFound"}}, Verdict.PERMANENT, id="the workflow was deleted"),
        pytest.param(401, {"error": {"code": "DirectApiAuthorizationRequired"}}, Verdict.PERMANENT, id="no signature"),
        pytest.param(400, {"error": {"code": "TriggerInputSchemaMismatch"}}, Verdict.DEGRADE, id="card refused"),
        pytest.param(502, {"error": {"code": "NoResponse"}}, Verdict.RETRY, id="the workflow hangs"),
        pytest.param(400, "Bad Request", Verdict.DEGRADE, id="400"),
        pytest.param(413, "", Verdict.DEGRADE, id="413"),
        pytest.param(429, "", Verdict.PAUSE, id="429"),
        pytest.param(410, "", Verdict.PERMANENT, id="410"),
        pytest.param(503, "", Verdict.RETRY, id="503"),
    ],
)
def test_answers_have_a_class(status: int, text: Any, verdict: Verdict) -> None:
    found = teams().read(answer(status, text))
    assert found.verdict is verdict
    assert verdict is Verdict.DELIVERED or found.meaning


def test_over_the_wire() -> None:
    with served(in_turn(reply(202), None)) as (server, wire):
        delivered, reset = over_the_wire(teams(base_url=server.url), wire, "secret")
    assert (delivered.verdict, reset.verdict) == (Verdict.DELIVERED, Verdict.RETRY)
    assert server.requests[0].query == {"sig": ["secretsignature"]}
    assert server.requests[0].headers["content-type"] == "application/json; charset=utf-8"


def test_the_address_is_a_reference() -> None:
    with pytest.raises(ValidationError, match="literal secret"):
        teams(url=HOOK)
    with pytest.raises(ValidationError, match="without a query"):
        teams(base_url="https://gateway.example.com/?key=1")
