"""Messages as people and scripts meet them: a channel that is tried, a queue that is looked at, a `once` that tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.path import WholePath, head, manifest, processes
from updater.demo.sink import Arrived, Fault, Hang, MessageSink, say, shown
from updater.model.limits import USUAL, Limits

TOKEN, SECRET = "0123456789abcdef-of-the-test", "SECof-the-test-0123456789"
ONCE = 30.0  # seconds that `once` may wait for its messages
START = 5.0  # seconds that Python and a cycle may take besides


@dataclass
class Group:
    """A fleet that is behind by one tag, and a robot of a group that is told so."""

    path: WholePath
    sink: MessageSink
    bare: Path
    answers: list[Fault] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    def script(self, _: Arrived) -> Fault | None:
        """Answer so, or behave; look for the token in what every process shows of itself."""
        self.seen += processes(TOKEN) + processes(SECRET)
        return next(iter(self.answers), None)

    def secret(self, name: str, value: str) -> str:
        """Write a secret into a file; return its reference."""
        file = self.path.folder / name
        file.write_text(value)
        return f"file:{file}"

    def configure(self, **more: Any) -> None:
        """Write the configuration; `more` is of the channel."""
        url = self.secret("hook", f"{self.sink.url}/robot/send?access_token={TOKEN}")
        channel = {"kind": "dingtalk", "url": url, "secret": self.secret("secret", SECRET)} | more
        image = self.path.entry("acme/api", range="1.x")
        self.path.configure([image], notifications={"channels": [channel]})


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    with WholePath.embedded(tmp_path) as path, MessageSink(tokens=[TOKEN], secrets={TOKEN: SECRET}) as sink:
        path.push("acme/api", "1.0.0")
        path.push("acme/api", "1.1.0")
        bare = path.create("fleet", {"api.yaml": manifest(path.image("acme/api"), "1.0.0")})
        made = Group(path, sink, bare)
        sink.script = made.script
        made.configure()
        yield made


def refused(code: int, words: str) -> Fault:
    return say({"errcode": code, "errmsg": words})


# --- notify test -----------------------------------------------------------------------------------------------------


def test_a_channel_that_works_is_proved_with_a_real_message(group: Group) -> None:
    ran = group.path.run("notify", "test", "dingtalk")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == ["dingtalk: delivered", "  the service answered: 0 ok"]
    [message] = group.sink.messages
    assert "dingtalk" in shown(message)


def test_its_document_says_what_the_service_answered(group: Group) -> None:
    ran = group.path.run("notify", "test", "dingtalk", "--json")
    assert (ran.code, ran.json) == (
        0,
        {
            "channel": "dingtalk",
            "delivered": True,
            "verdict": "delivered",
            "code": "0",
            "said": "ok",
            "meaning": "",
        },
    )


def test_a_wrong_secret_is_told_in_the_words_of_the_service_and_in_ours(group: Group) -> None:
    group.configure(secret=group.secret("wrong", "SECanother-0123456789"))
    ran = group.path.run("notify", "test", "dingtalk")
    assert (ran.code, group.sink.messages) == (1, [])
    assert "not delivered (permanent)" in ran.out
    assert "the service answered: 310000 sign not match" in ran.out
    assert "which means: the signature is wrong" in ran.out
    document = group.path.run("notify", "test", "dingtalk", "--json")
    assert (document.code, document.json["delivered"], document.json["code"]) == (1, False, "310000")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "env:NO_SUCH_HOOK"}, "env:NO_SUCH_HOOK"),
        ({"secret": "file:/nowhere/secret"}, "file:/nowhere/secret"),
        ({"base_url": "http://127.0.0.1:1"}, "127.0.0.1:1"),
    ],
    ids=["no address", "no secret", "nobody there"],
)
def test_what_cannot_be_sent_says_why(group: Group, more: dict[str, Any], said: str) -> None:
    group.configure(**more)
    ran = group.path.run("notify", "test", "dingtalk")
    assert ran.code == 1
    assert said in ran.out
    assert TOKEN not in ran.out + ran.err


def test_an_unknown_channel_is_wrong_usage_and_the_known_ones_are_named(group: Group) -> None:
    for command in ("test", "queue"):
        ran = group.path.run("notify", command, "slack")
        assert (ran.code, ran.out) == (2, "")
        assert "no channel is named 'slack'; known: dingtalk" in ran.err
    assert group.sink.arrivals == []


def test_without_channels_there_is_nothing_to_test_and_an_empty_queue(group: Group) -> None:
    group.path.configure([group.path.entry("acme/api")])
    assert group.path.run("notify", "test", "dingtalk").code == 2
    ran = group.path.run("notify", "queue", "--json")
    assert (ran.code, ran.json) == (0, {"channels": {}, "messages": []})


# --- once, and the queue ---------------------------------------------------------------------------------------------


def test_once_has_told_what_it_did_when_it_ends(group: Group) -> None:
    ran = group.path.run("once", "--json")
    assert (ran.code, len(ran.json["commits"])) == (0, 1)
    [message] = group.sink.messages
    assert "1.0.0 -> 1.1.0" in shown(message)
    assert "updater notify queue" not in ran.err
    queue = group.path.run("notify", "queue", "--json").json
    assert queue == {
        "channels": {"dingtalk": {"waiting": 0, "sent": 1, "dead": 0, "cancelled": 0, "oldest_seconds": None}},
        "messages": [],
    }
    assert group.path.run("once").code == 0
    assert len(group.sink.arrivals) == 1  # nothing new, nothing told


def test_messages_that_are_left_are_in_the_queue_and_change_no_exit_code(group: Group) -> None:
    group.answers = [refused(300001, "token is not exist")]
    ran = group.path.run("once", "--json")
    assert (ran.code, len(ran.json["commits"]), ran.json["failures"]) == (0, 1, [])
    assert ran.err == "1 message waits: updater notify queue\n"
    queue = group.path.run("notify", "queue", "--json")
    [letter] = queue.json["messages"]
    told = {name: letter[name] for name in ("channel", "state", "kind", "attempts")}
    assert told == {"channel": "dingtalk", "state": "waiting", "kind": "image_updated", "attempts": 1}
    assert "1.1.0" in letter["text"]
    assert letter["answer"].startswith("300001 token is not exist (there is no robot with this token")
    assert set(letter) == {"channel", "state", "event", "kind", "text", "since", "due", "attempts", "answer"}
    figures = queue.json["channels"]["dingtalk"]
    assert (figures["waiting"], figures["sent"], figures["dead"]) == (1, 0, 0)
    assert 0 <= figures["oldest_seconds"] < 60
    table = group.path.run("notify", "queue", "dingtalk").out
    assert all(word in table for word in ("CHANNEL", "dingtalk", "waiting", "1.1.0", "300001 token is not exist"))
    group.answers = []
    assert group.path.run("notify", "test", "dingtalk").code == 0
    assert group.path.run("once").code == 0
    assert "1.0.0 -> 1.1.0" in shown(group.sink.messages[-1])


def test_what_is_given_up_stays_in_the_queue_with_the_answer(group: Group) -> None:
    group.answers = [refused(430104, "content is not allowed")]
    assert group.path.run("once").code == 0
    [letter] = group.path.run("notify", "queue", "--json").json["messages"]
    assert (letter["state"], letter["attempts"], letter["due"]) == ("dead", 2, None)
    assert letter["answer"].startswith("430104 content is not allowed")


def test_once_waits_no_longer_than_half_a_minute_for_a_service_that_hangs(group: Group) -> None:
    """The commit is pushed and shown, and no attempt was cut off in the middle: each is told in the queue."""
    before = head(group.bare)
    group.answers = [Hang()]
    group.path.limits = hasty = Limits(messages=6.0, message=2.0)
    ran = group.path.run("once", "--json")
    assert (ran.code, len(ran.json["commits"]), head(group.bare) != before) == (0, 1, True)
    assert ran.seconds < ONCE - (USUAL.messages - hasty.messages) + START
    [letter] = group.path.run("notify", "queue", "--json").json["messages"]
    assert "no answer in time" in letter["answer"]
    assert letter["attempts"] == len(group.sink.arrivals)


def test_locks_that_cannot_be_made_are_a_failure_beside_the_commit(group: Group) -> None:
    before = head(group.bare)
    assert group.path.run("check").code == 0
    (group.path.data / "lanes").write_text("in the way")
    ran = group.path.run("once", "--json")
    assert (ran.code, len(ran.json["commits"]), head(group.bare) != before) == (1, 1, True)
    [failure] = ran.json["failures"]
    assert (failure["what"], "lanes" in failure["error"], "Traceback" in ran.err) == ("state", True, False)
    tried = group.path.run("notify", "test", "dingtalk")
    assert (tried.code, "lanes" in tried.err, "Traceback" in tried.err) == (1, True, False)


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [True, False], ids=["delivered", "refused by a service that repeats them"])
def test_token_and_secret_are_never_shown_stored_or_passed_on(group: Group, accepted: bool) -> None:
    if not accepted:
        group.answers = [refused(300001, f"token {TOKEN} is not exist, {SECRET}, access_token={TOKEN}&sign")]
    commands = [("once", "--json"), ("once",), ("notify", "test", "dingtalk"), ("notify", "queue"), ("check",)]
    told = "".join(ran.out + ran.err for ran in (group.path.run(*command) for command in commands))
    kept = [file for file in group.path.data.rglob("*") if file.is_file()]
    assert len(group.sink.arrivals) >= 2
    assert accepted == bool(group.sink.messages)
    assert any(file.name == "state.db" for file in kept)
    for word in (TOKEN, SECRET):
        assert word not in told
        assert [file for file in kept if word.encode() in file.read_bytes()] == []
    assert group.seen == []
    assert json.dumps(group.path.run("notify", "queue", "--json").json).count(TOKEN) == 0
