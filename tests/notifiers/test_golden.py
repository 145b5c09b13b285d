"""Golden files: what each service is sent for each kind of message, in each language, as people can review it.

`golden/<kind>/<case>.<language>.json` is the body of the request (a list where it takes several), `.txt` the title and
the text, or the mail's headers and parts. After a change that is meant, look at `git diff` after

    UPDATER_GOLDEN=write pytest tests/notifiers/test_golden.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from updater.messages.events import held_back, message, reminder
from updater.messages.events import test_message as made_for_testing
from updater.messages.templates import compile_template
from updater.model.event import Event, Kind, Spot, Subject
from updater.model.message import Language, Message
from updater.notifiers import apprise
from updater.notifiers.apprise import Apprise
from updater.notifiers.base import Delivery, HttpNotifier, Notifier
from updater.notifiers.email import Email
from updater.notifiers.fitting import fitted
from updater.plugins import members

GOLDEN = Path(__file__).with_name("golden")
WRITE = os.environ.get("UPDATER_GOLDEN") == "write"
NOW = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 30, 22, 15, tzinfo=UTC)
LANGUAGES: tuple[Language, ...] = get_args(Language)

SECRETS = {
    "GOLDEN_ADDRESS": "https://hooks.example.com/golden-webhook-address",
    "GOLDEN_TOKEN": "golden-token-0123456789",
    "GOLDEN_PAIR": "123456789/golden-token-0123456789",
}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "apprise": {"url": "env:GOLDEN_ADDRESS"},
    "dingtalk": {"token": "env:GOLDEN_TOKEN", "at": {"mobiles": ["13800000000"]}},
    "discord": {"token": "env:GOLDEN_PAIR"},
    "email": {"host": "mail.example.com", "from": "Updater <updater@example.com>", "to": ["ops@example.com"]},
    "feishu": {"token": "env:GOLDEN_TOKEN"},
    "lark": {"token": "env:GOLDEN_TOKEN"},
    "ntfy": {"topic": "updates"},
    "slack": {"url": "env:GOLDEN_ADDRESS"},
    "teams": {"url": "env:GOLDEN_ADDRESS"},
    "telegram": {"token": "env:GOLDEN_TOKEN", "chat_id": "-1001234567890"},
    "webhook": {"url": "https://hooks.example.com/golden"},
    "wecom": {"token": "env:GOLDEN_TOKEN"},
}
"""The fewest settings that each member can be made of."""

FAMILY = members(Notifier)


# --- what happened ----------------------------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WRITTEN: dict[str, Any] = {"commit": COMMIT, "commit_url": f"https://git.example.com/platform/fleet/commit/{COMMIT}"}
DIGEST = "sha256:" + "0123456789abcdef" * 4


def _image(name: str, item: str = "") -> Subject:
    return Subject(image=name, item=item or name, reference=f"ghcr.io/acme/{name}")


def _spots(name: str, count: int = 1) -> tuple[Spot, ...]:
    return tuple(
        Spot(
            "fleet",
            "main",
            f"apps/{name}/{'deployment' if n == 0 else f'job-{n}'}.yaml",
            17 + n,
            f"ghcr.io/acme/{name}",
        )
        for n in range(count)
    )


UPDATED = Event(
    Kind.IMAGE_UPDATED, NOW, _image("api", "api/prod"), "1.4.2", "1.5.0", DIGEST,
    why="semver >=1.4.0 <2.0.0, newest of 212", spots=_spots("api", 12), **WRITTEN,
    release_notes="https://github.com/acme/api/releases/tag/1.5.0",
)  # fmt: skip
AVAILABLE = Event(
    Kind.UPDATE_AVAILABLE, NOW, Subject("prometheus", "prometheus", "quay.io/prometheus/prometheus"),
    "v3.1.0", "v3.2.1", why="docker, newest of 96",
    spots=(Spot("fleet", "main", "monitoring/values.yaml", 8, "quay.io/prometheus/prometheus"),),
)  # fmt: skip
HELD = Event(
    Kind.UPDATE_HELD, NOW, _image("api", "api/prod"), "1.4.2", "2.0.0", reason="level",
    why="semver >=1.4.0, 2.0.0 is newest of 212; level: a major change, allowed is minor", spots=_spots("api"),
)  # fmt: skip
HELD_PATTERN = replace(
    HELD, subject=Subject("team-a/**", "team-a/**", "registry.example.com/team-a/**"),
    spots=(Spot("fleet", "main", "apps/web/deployment.yaml", 17, "registry.example.com/team-a/web"),),
)  # fmt: skip
SCAN_FAILED = Event(
    Kind.SCAN_FAILED, NOW, Subject(registry="registry.example.com"),
    why="registry.example.com answered 503 to the list of tags of team-a/web", images=("team-a/web", "team-a/worker"),
)  # fmt: skip
PUSH_REJECTED = Event(
    Kind.PUSH_REJECTED, NOW, Subject(repository="fleet", branch="main"),
    why="the remote refused the push: protected branch hook declined", images=("api/prod", "web"),
)  # fmt: skip
HUMAN_ROLLBACK = Event(
    Kind.HUMAN_ROLLBACK, NOW, _image("web"), "2.6.1", "2.7.0", reason="human_rollback",
    why="docker, 2.7.0 is newest of 34; human_rollback: a person went back from 2.7.0", spots=_spots("web"),
)  # fmt: skip
HARM = (
    "<b>&amp;</b> *b* _i_ `c` [x](https://evil.example) <https://evil.example|x> <!channel> @everyone @all "
    "</at><at id=all></at> \x00\u202e\r\n# h\n\n> q ``` ~~ || \\ {{ 7 * 7 }} https://evil.example"
)
HOSTILE = replace(
    UPDATED, new=f"1.5.0{HARM}", why=HARM, digest=None, commit_url="javascript:alert(1)", release_notes='https://x"><b>',
    spots=(Spot("fleet", "main", f"apps/{HARM}.yaml", 17, "ghcr.io/acme/api"),),
)  # fmt: skip
TEMPLATE = compile_template(
    "{{ subject }} ({{ labels.team|default('nobody') }}): {{ old }} -> {{ new }}\n"
    "{% for spot in spots %}\n- {{ spot.file }}:{{ spot.line }}\n{% endfor %}\n{{ why }}"
)

Made = Callable[[Notifier, Language], Message]


def _of(*events: Event) -> Made:
    return lambda _member, language: message(events, language)


def _reminded(_member: Notifier, language: Language) -> Message:
    told = message([HELD], language)
    entry = reminder(told.entries[0], SINCE, language)
    return replace(told, title=entry.headline, entries=(entry,))


def _by_template(member: Notifier, language: Language) -> Message:
    event = replace(UPDATED, spots=_spots("api", 2), labels={"team": "core_platform"})
    return message([event], language, templates={"*": TEMPLATE}, escape=member.escape)


CASES: Mapping[str, Made] = {
    "image_updated": _of(UPDATED),
    "one_commit": _of(
        replace(UPDATED, spots=_spots("api")),
        replace(UPDATED, subject=_image("web"), old="2.6.1", new="2.7.0", spots=_spots("web"), digest=None),
        replace(HELD, subject=_image("worker"), old="7.2", new="8.0", spots=_spots("worker")),
    ),
    "update_available": _of(AVAILABLE),
    "update_held": _of(HELD),
    "held_pattern": _of(HELD_PATTERN),
    "scan_failed": _of(SCAN_FAILED),
    "push_rejected": _of(PUSH_REJECTED),
    "human_rollback": _of(HUMAN_ROLLBACK),
    "hostile": _of(HOSTILE),
    "held_back": lambda _member, language: message([UPDATED], language, note=held_back(12, SINCE, language)),
    "only_held_back": lambda _member, language: message([], language, note=held_back(12, SINCE, language)),
    "reminder": _reminded,
    "test": lambda member, language: made_for_testing(language, member.title, NOW),
    "template": _by_template,
}


# --- what is sent -----------------------------------------------------------------------------------------------------


def _sent(member: Notifier, told: Message) -> tuple[str, str]:
    """Return the extension and the text of what is sent; a service that takes one event at a time gets several."""
    parts = [replace(told, title=entry.headline, entries=(entry,)) for entry in told.entries]
    if member.merges or len(parts) < 2:
        parts = [told]
    match member:
        case HttpNotifier():
            bodies = [json.loads(member.request(Delivery(part, NOW)).body) for part in parts]
            shown = bodies[0] if len(bodies) == 1 else bodies
            return "json", json.dumps(shown, ensure_ascii=False, indent=2) + "\n"
        case Email():
            return "txt", "\n".join(_mail(member, part) for part in parts)
        case Apprise():
            return "txt", "\n".join(_titled(member, part) for part in parts)
        case _:
            pytest.fail(f"nothing here can show what {type(member).__name__} sends")


def _mail(member: Email, told: Message) -> str:
    mail = member._mail(told, NOW, plain=False)
    heads = [f"{name}: {value}" for name, value in mail.items() if name not in {"Content-Type", "MIME-Version"}]
    bodies = [
        f"--- {part.get_content_type()} ---\n{part.get_content()}" for part in mail.walk() if not part.is_multipart()
    ]
    return "\n".join([*heads, "", *bodies])


def _titled(member: Apprise, told: Message) -> str:
    told = fitted(told, member.weigh, member.max_bytes)
    return f"{member.escape(told.title)}\n\n{apprise._body(told)}\n"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


WANTED = list(product(FAMILY, CASES, LANGUAGES))


def test_the_family_is_known() -> None:
    """A new member needs a row in SETTINGS; one that is gone leaves none."""
    assert set(SETTINGS) == set(FAMILY)


@pytest.mark.parametrize(("kind", "case", "language"), WANTED)
def test_what_is_sent(kind: str, case: str, language: Language) -> None:
    member = FAMILY[kind].model_validate({"kind": kind, **SETTINGS[kind]})
    ending, sent = _sent(member, CASES[case](member, language))
    file = GOLDEN / kind / f"{case}.{language}.{ending}"
    if WRITE:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(sent.encode())
    assert sent == file.read_bytes().decode()


def test_no_file_is_left_over() -> None:
    """A file that no case makes would be reviewed for nothing."""
    stored = {file.relative_to(GOLDEN).as_posix().rpartition(".")[0] for file in GOLDEN.glob("*/*")}
    assert stored == {f"{kind}/{case}.{language}" for kind, case, language in WANTED}
