"""What people have done, over a real registry and a real repository."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.front import Front, fleet
from tests.lab.loop import open_lab
from updater.pipeline.rollback import rollback
from updater.web import deeds, facts
from updater.web.deeds import Refusal
from updater.web.sessions import Person

ANNA, GUEST = Person("anna", may_act=True), Person("guest", may_act=False)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with open_lab(tmp_path) as lab, fleet(lab) as found:
        found.cycle()
        yield found


def status(front: Front, name: str) -> tuple[str, str]:
    front.look()
    found = facts.image(front.desk, name)
    assert found is not None
    return found.outcome, found.reason


def test_a_hold_stops_an_image_and_resume_lets_it_go_on(front: Front) -> None:
    assert front.lab
    assert deeds.hold(front.desk, ANNA, "api", "7d", "freeze") == ["api"]
    front.lab.push("acme/api", "1.6.0")
    assert status(front, "api") == ("held", "held")
    held = facts.images(front.desk)[0].held
    assert held
    assert held.reason == "freeze"
    deeds.resume(front.desk, ANNA, "api")
    assert status(front, "api")[0] == "updated"
    assert facts.images(front.desk)[0].held is None


def test_what_a_gate_stopped_passes_once_it_is_approved(front: Front) -> None:
    assert deeds.approve(front.desk, ANNA, "web") == {"web": "2.0.0"}
    assert status(front, "web")[0] == "updated"
    front.look()
    with pytest.raises(Refusal, match="nothing to approve"):
        deeds.approve(front.desk, ANNA, "web")


def test_a_rollback_is_a_commit_and_a_hold(front: Front) -> None:
    done = deeds.rollback(front.desk, ANNA, "api")
    assert [(one["name"], one["to"]) for one in done["items"]] == [("api", ["1.4.2"])]
    assert status(front, "api") == ("held", "held")
    latest = facts.changes(front.desk).items[0]
    assert latest.rollback
    assert latest.changes[0].new == "1.4.2"


def test_of_two_rollbacks_at_once_one_is_refused(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    really = rollback

    def slow(*given: object) -> object:
        begun.set()
        assert go.wait(30)
        return really(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("updater.web.deeds.back", slow)
    answers: list[object] = []
    first = threading.Thread(target=lambda: answers.append(deeds.rollback(front.desk, ANNA, "api")))
    first.start()
    assert begun.wait(30)
    with pytest.raises(Refusal) as refused:
        deeds.rollback(front.desk, ANNA, "web")
    go.set()
    first.join(30)
    assert refused.value.status == 409
    assert answers


@pytest.mark.parametrize(
    ("deed", "given", "code"),
    [
        (deeds.hold, ("nobody",), 404),
        (deeds.hold, ("api", "yesterday"), 422),
        (deeds.hold, ("api", "999999999999d"), 422),
        (deeds.hold, ("api", None, "two\nlines"), 422),
        (deeds.hold, ("api", None, "x" * 501), 422),
        (deeds.approve, ("api", "not a tag"), 422),
        (deeds.approve, ("api", "9.9.9"), 422),
        (deeds.rollback, ("api", "not a tag"), 422),
        (deeds.rollback, ("web",), 409),
        (deeds.sync, ("shop",), 404),
        (deeds.test, ("dingtalk",), 404),
    ],
)
def test_what_cannot_be_is_refused(front: Front, deed: object, given: tuple[str, ...], code: int) -> None:
    with pytest.raises(Refusal) as refused:
        deed(front.desk, ANNA, *given)  # type: ignore[operator]
    assert refused.value.status == code


@pytest.mark.parametrize(
    "deed", [deeds.check, deeds.hold, deeds.resume, deeds.approve, deeds.rollback, deeds.sync, deeds.test]
)
def test_who_may_only_look_does_nothing(front: Front, deed: object) -> None:
    with pytest.raises(Refusal) as refused:
        deed(front.desk, GUEST, "api")  # type: ignore[operator]
    assert refused.value.status == 403
