"""What people read about an event, in both languages."""

# ruff: noqa: RUF001 - the full-width marks are Chinese punctuation

from __future__ import annotations

import string
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest

from updater.messages.events import (
    MAX_HEADLINE,
    MAX_LINE,
    MAX_VALUE,
    WORDS,
    context,
    entry,
    held_back,
    line,
    message,
    reminder,
)
from updater.messages.events import test_message as made_for_testing
from updater.messages.templates import Template, compile_template
from updater.messages.words import Labels, Words, fill
from updater.model.decision import Hold, Reason, Update
from updater.model.event import ENDS, Event, Kind, Severity, Spot, Subject
from updater.model.image import ImageRef
from updater.model.message import Entry, Language, Link
from updater.model.past import Past
from updater.model.tag import Scan, Tag
from updater.pipeline.decide import Known, decide
from updater.policies.rule import Rule
from updater.secrets import remember

AT = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 30, 22, 15, tzinfo=UTC)
LANGUAGES: tuple[Language, ...] = ("en", "zh")
DIGEST = "sha256:" + "0123456789abcdef" * 4
SPOT = Spot("fleet", "main", "apps/api/deployment.yaml", 17, "ghcr.io/acme/api")
UPDATED = Event(
    kind=Kind.IMAGE_UPDATED,
    at=AT,
    subject=Subject(image="api", item="api/prod", reference="ghcr.io/acme/api"),
    old="1.4.2",
    new="1.5.0",
    digest=DIGEST,
    why="semver >=1.4.0 <2.0.0, newest of 212",
    commit="0123456789abcdef0123456789abcdef01234567",
    commit_url="https://git.example.com/platform/fleet/commit/0123456789abcdef0123456789abcdef01234567",
    release_notes="https://github.com/acme/api/releases/tag/1.5.0",
    spots=(SPOT,),
)
HELD = replace(UPDATED, kind=Kind.UPDATE_HELD, new="2.0.0", digest=None, commit=None, commit_url=None,
               release_notes=None, reason="level", why="level: a major change, allowed is minor")  # fmt: skip
CONTRACT_REASONS = {
    "up_to_date", "no_match", "older", "level", "ambiguous", "min_age", "platform_missing", "moved_tag", "unverified",
    "not_mirrored", "held", "suspended", "window_closed", "incomplete_scan", "stale_scan", "human_rollback",
    "human_edit", "flapping", "unparsable_current", "contested", "not_referenced", "not_writable", "awaiting_merge",
    "pull_request_closed",
}  # fmt: skip
PLACEHOLDERS = {"name", "command", "change", "old", "new", "reason", "repository", "branch", "registry", "cluster"}


def _placeholders(pattern: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}


def _about(kind: Kind) -> Event:
    """An event that has everything that its kind may have."""
    loop_two = kind.value.startswith(("sync_", "out_of", "health_", "cluster"))
    subject = Subject(application="shop", project="team-a", cluster="cloud") if loop_two else UPDATED.subject
    return replace(UPDATED, kind=kind, subject=subject, reason="level" if kind is Kind.UPDATE_HELD else "")


# --- the tables of words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", WORDS.values(), ids=list(WORDS))
def test_a_language_tells_every_kind_and_every_reason(words: Words) -> None:
    assert set(words.kinds) == set(Kind)
    assert set(words.reasons) >= {*Reason, *CONTRACT_REASONS}
    for told in words.kinds.values():
        assert told.headline
        assert told.detail
        assert "{n}" in told.one
        assert "{n}" in told.many
        assert _placeholders(told.headline) | _placeholders(told.action) <= PLACEHOLDERS
        assert _placeholders(told.still) <= {"since"}
    for reason in words.reasons.values():
        assert reason.words
        assert _placeholders(reason.action) <= {"command"}
    assert all(getattr(words.labels, field.name) for field in fields(Labels))


@pytest.mark.parametrize("kind", Kind)
def test_languages_agree_on_who_must_act_and_where_it_leads(kind: Kind) -> None:
    first, *others = (words.kinds[kind] for words in WORDS.values())
    for other in others:
        assert bool(other.action) == bool(first.action)
        assert bool(other.link) == bool(first.link)
        assert _commands(other.action) == _commands(first.action)
        assert _placeholders(other.headline) == _placeholders(first.headline)


@pytest.mark.parametrize("reason", sorted(WORDS["en"].reasons))
def test_languages_agree_on_what_opens_a_hold(reason: str) -> None:
    first, *others = (words.reasons[reason] for words in WORDS.values())
    assert all(_commands(other.action) == _commands(first.action) for other in others)


def _commands(action: str) -> list[str]:
    """What stands in backticks: commands and keys, which no language translates."""
    return sorted(action.split("`")[1::2])


@pytest.mark.parametrize("kind", [kind for kind in Kind if replace(UPDATED, kind=kind).severity is Severity.ERROR])
def test_an_error_says_what_to_do(kind: Kind) -> None:
    assert WORDS["en"].kinds[kind].action


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_told_without_a_gap(kind: Kind, language: Language) -> None:
    told = entry(_about(kind), language)
    texts = [told.headline, told.action, line(told.event, language), *(text for fact in told.facts for text in fact)]
    assert all(not set("{}[]") & set(text.replace("`update: []`", "")) for text in texts)
    assert all(text == " ".join(text.split()) for text in texts)
    assert all(label and value for label, value in told.facts)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", Kind)
def test_an_event_that_knows_nothing_is_told_too(kind: Kind, language: Language) -> None:
    told = entry(Event(kind, AT, Subject()), language)
    assert told.headline
    assert told.links == ()
    assert "{" not in told.headline + told.action


@pytest.mark.parametrize(
    ("pattern", "values", "filled"),
    [
        ("{name} updated[: {change}]", {"name": "api", "change": "1 -> 2"}, "api updated: 1 -> 2"),
        ("{name} updated[: {change}]", {"name": "api", "change": ""}, "api updated"),
        ("only watched (`update: []`)", {}, "only watched (`update: []`)"),
        ("{name}[ at {old}]", {"name": "[{old}]", "old": "{name}"}, "[{old}] at {name}"),
    ],
    ids=["everything known", "what is unknown is left out", "brackets of a text stay", "values are no patterns"],
)
def test_a_pattern_is_filled_in(pattern: str, values: dict[str, str], filled: str) -> None:
    assert fill(pattern, values) == filled


# --- one event --------------------------------------------------------------------------------------------------------


def test_an_update_says_what_from_what_to_what_where_why_and_in_which_commit() -> None:
    assert entry(UPDATED, "en") == Entry(
        UPDATED,
        "api/prod updated: 1.4.2 -> 1.5.0",
        (
            ("Image", "ghcr.io/acme/api"),
            ("Where", "apps/api/deployment.yaml:17 in fleet, branch main"),
            ("Policy", "semver >=1.4.0 <2.0.0, newest of 212"),
            ("Digest", "sha256:0123456789ab"),
            ("Commit", "0123456789ab"),
        ),
        "",
        (
            Link("View commit", str(UPDATED.commit_url)),
            Link("Release notes", "https://github.com/acme/api/releases/tag/1.5.0"),
        ),
        line="api/prod updated: 1.4.2 -> 1.5.0 (apps/api/deployment.yaml:17 in fleet, branch main)",
    )


def test_it_says_the_same_in_chinese() -> None:
    told = entry(UPDATED, "zh")
    assert told.headline == "api/prod 已更新：1.4.2 -> 1.5.0"
    assert ("位置", "fleet 仓库 main 分支：apps/api/deployment.yaml:17") in told.facts
    assert [link.text for link in told.links] == ["查看提交", "更新说明"]


def test_a_hold_says_why_in_plain_words_and_who_can_open_it() -> None:
    told = entry(HELD, "en")
    assert told.headline == "api/prod 1.4.2 -> 2.0.0 held: above the allowed level"
    assert ("Details", "a major change, allowed is minor") in told.facts
    assert told.action == "Approve it once with `updater approve api/prod`, or raise `level`"
    assert entry(HELD, "zh").headline == "api/prod 暂缓更新（1.4.2 -> 2.0.0）：超出允许的升级级别"


DECIDED: dict[str, tuple[dict[str, object], str, str, str]] = {
    "an update": ({}, "1.4.2", "1.4.2 1.4.3 1.5.0", "semver 1.x，3 个候选中最新"),
    "an update past a stray tag": (
        {"policy": {"kind": "semver"}},
        "1.4.2",
        "1.4.2 1.5.0 400.0.0",
        "semver *，3 个候选中最新，已跳过 1 个（level）",
    ),
    "a level": (
        {"level": "patch"},
        "1.4.2",
        "1.4.2 1.5.0",
        "semver 1.x，2 个候选中最新的是 1.5.0；本次为 minor 级变更，最高允许 patch",
    ),
    "a stray tag": (
        {"policy": {"kind": "semver"}, "level": "major"},
        "1.4.2",
        "1.4.2 400.0.0",
        "semver *，2 个候选中最新的是 400.0.0；主版本跨越 399 个，最多允许 20 个",
    ),
    "what nothing fits": ({}, "1.4.2", "2.0.0 x", "semver 1.x：2 个标签均不符合"),
    "a current tag without a version": ({}, "latest", "1.5.0", "semver 1.x 无法识别当前标签 latest"),
}


@pytest.mark.parametrize(("fields", "current", "tags", "said"), DECIDED.values(), ids=list(DECIDED))
def test_what_decisions_say_is_said_in_chinese_too(
    fields: dict[str, object], current: str, tags: str, said: str
) -> None:
    """Held to what the policies really say: a wording that changes there must change in the table."""
    rule = Rule.model_validate(
        {"policy": {"kind": "semver", "range": "1.x"}, "platforms": [], "min_age": 0, "moved_tag": "follow"} | fields
    )
    here = ImageRef("ghcr.io", "acme/api", current)
    scan = Scan(here.name, tuple(map(Tag, tags.split())), AT, complete=True)
    decision = decide(rule, here, scan, AT, Known(past=Past()))
    assert isinstance(decision, Update | Hold)
    event = replace(HELD, reason=decision.reason.value) if isinstance(decision, Hold) else UPDATED
    assert said in dict(entry(replace(event, why=decision.why), "zh").facts).values()


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("3 h 12 min left", "还需等待 3 h 12 min"),
        (
            "held by a person until 2026-12-08 00:00 UTC: release freeze; again",
            "人工暂停，截止 2026-12-08 00:00 UTC：release freeze；again",
        ),
        ("held by a person", "人工暂停"),
        (
            "outside the allow window '0 8 * * 1-5' for 8h, UTC",
            "当前不在允许更新的时间窗口内：'0 8 * * 1-5' for 8h, UTC",
        ),
        ("{_1} [x{name}], newest of 3", "{_1} [x{name}]，3 个候选中最新"),
        ("something else; entirely", "something else; entirely"),
    ],
    ids=["a time to wait", "a hold with an end", "a hold", "a window", "values are no patterns", "unknown words stay"],
)
def test_parts_of_a_why_in_chinese(why: str, said: str) -> None:
    assert WORDS["zh"].why(why) == said


def test_an_error_keeps_its_words() -> None:
    event = Event(Kind.SCAN_FAILED, AT, Subject(registry="ghcr.io"), why="it has failed; 3 s left")
    assert dict(entry(event, "zh").facts)["错误"] == "it has failed; 3 s left"


def test_a_hold_for_a_reason_that_nobody_knows_is_told_by_its_word() -> None:
    assert entry(replace(HELD, reason="eclipse"), "en").headline == "api/prod 1.4.2 -> 2.0.0 held: eclipse"


@pytest.mark.parametrize(
    ("spots", "where"),
    [
        ((SPOT,), "apps/api/deployment.yaml:17 in fleet, branch main"),
        ((SPOT, replace(SPOT, file="b.yaml", line=3)), "apps/api/deployment.yaml:17, b.yaml:3 in fleet, branch main"),
        ((SPOT, replace(SPOT, branch="release")), "2 places, e.g. apps/api/deployment.yaml:17 in fleet, branch main"),
        ((SPOT,) * 12, "12 places, e.g. apps/api/deployment.yaml:17 in fleet, branch main"),
    ],
    ids=["one place", "a few places", "several branches", "many places are counted"],
)
def test_where(spots: tuple[Spot, ...], where: str) -> None:
    assert dict(entry(replace(UPDATED, spots=spots), "en").facts)["Where"] == where


@pytest.mark.parametrize(
    ("subject", "spelled", "headline"),
    [
        (Subject(image="api", item="api/prod", reference="ghcr.io/acme/api"), "", "api/prod updated: 1.4.2 -> 1.5.0"),
        (Subject(image="nginx", reference="docker.io/library/nginx"), "nginx", "nginx updated: 1.4.2 -> 1.5.0"),
        (
            Subject(image="team-a", item="team-a", reference="registry.example.com/team-a/**"),
            "registry.example.com/team-a/web",
            "registry.example.com/team-a/web (team-a) updated: 1.4.2 -> 1.5.0",
        ),
        (
            Subject(image="registry.example.com/team-a/**", reference="registry.example.com/team-a/**"),
            "registry.example.com/team-a/web",
            "registry.example.com/team-a/web updated: 1.4.2 -> 1.5.0",
        ),
    ],
    ids=["the name of an item", "as Git spells it", "a named entry for many images", "an entry that is a pattern"],
)
def test_which_image(subject: Subject, spelled: str, headline: str) -> None:
    event = replace(UPDATED, subject=subject, spots=(replace(SPOT, spelled=spelled),))
    assert entry(event, "en").headline == headline


def test_a_command_can_be_copied_into_a_shell() -> None:
    subject = Subject(image="registry.example.com/team-a/**", reference="registry.example.com/team-a/**")
    told = entry(replace(HELD, subject=subject), "en")
    assert "`updater approve 'registry.example.com/team-a/**'`" in told.action


@pytest.mark.parametrize(
    ("old", "new", "headline"),
    [
        (f"1.4.2@{DIGEST}", f"1.5.0@{DIGEST}",
         "api/prod updated: 1.4.2@sha256:0123456789ab -> 1.5.0@sha256:0123456789ab"),
        (f"@{DIGEST}", f"@sha512:{'c' * 128}", "api/prod updated: @sha256:0123456789ab -> @sha512:cccccccccccc"),
        (None, "1.5.0", "api/prod updated: 1.5.0"),
        ("-", "1.5.0", "api/prod updated: 1.5.0"),
    ],
    ids=["digests are shortened", "digests alone", "nothing before", "nothing before, as trailers say it"],
)  # fmt: skip
def test_from_what_to_what(old: str | None, new: str, headline: str) -> None:
    assert entry(replace(UPDATED, old=old, new=new, digest=None), "en").headline == headline


def test_a_version_too_long_for_the_headline_is_whole_among_the_facts() -> None:
    told = entry(replace(UPDATED, new="main-" + "a" * 100), "en")
    assert len(told.headline) <= MAX_HEADLINE
    assert dict(told.facts)["Version"] == "1.4.2 -> main-" + "a" * 100


def test_a_person_who_went_back_is_told_as_that() -> None:
    event = replace(HELD, kind=Kind.HUMAN_ROLLBACK, old="1.4.2", new="1.5.0")
    assert entry(event, "en").headline == "api/prod was taken back to 1.4.2 by a person, 1.5.0 is held"
    assert "Version" not in dict(entry(event, "en").facts)


def test_a_refused_push_says_who_must_allow_it_and_what_it_would_have_updated() -> None:
    images = tuple(f"app-{n}" for n in range(8))
    event = Event(Kind.PUSH_REJECTED, AT, Subject(repository="fleet", branch="main"), why="protected", images=images)
    told = entry(event, "en")
    assert told.headline == "Push to main of fleet was refused"
    assert told.action == "Let the updater push to main of fleet, or set `write_back`"
    assert dict(told.facts)["Images"] == "app-0, app-1, app-2, app-3, app-4 and 3 more"
    assert dict(entry(event, "zh").facts)["涉及镜像"] == "app-0、app-1、app-2、app-3、app-4 等共 8 个"


def test_a_pull_request_is_not_called_a_commit() -> None:
    event = replace(UPDATED, kind=Kind.PULL_REQUEST_OPENED)
    assert [entry(event, language).links[0].text for language in LANGUAGES] == ["Pull request", "查看合并请求"]


def test_a_recovery_calls_the_error_an_earlier_one() -> None:
    for recovery in set(ENDS) - {Kind.SYNC_SUCCEEDED}:
        told = entry(Event(recovery, AT, Subject(registry="ghcr.io", cluster="cloud"), why="HTTP 503"), "en")
        assert dict(told.facts)["Earlier error"] == "HTTP 503"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (UPDATED, "api/prod updated: 1.4.2 -> 1.5.0 (apps/api/deployment.yaml:17 in fleet, branch main)"),
        (HELD, "api/prod 1.4.2 -> 2.0.0 held: above the allowed level (a major change, allowed is minor)"),
        (
            Event(Kind.SCAN_FAILED, AT, Subject(registry="ghcr.io"), why="ghcr.io answered 503\nto a list"),
            "ghcr.io could not be scanned (ghcr.io answered 503 to a list)",
        ),
    ],
    ids=["what was done: where", "what was held: why", "what failed: the error"],
)
def test_one_line_stands_alone(event: Event, said: str) -> None:
    assert line(event) == said


# --- hostile texts ----------------------------------------------------------------------------------------------------

HOSTILE = "a\r\nb\x1b[31m\u202e\u2028\x00c {0.__class__} {name} [x] " + "d" * 3000


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", Kind)
def test_texts_from_outside_stay_on_one_line_and_short(kind: Kind, language: Language) -> None:
    subject = Subject(**dict.fromkeys(("image", "item", "reference", "registry", "repository", "branch", "application",
                                       "project", "cluster"), HOSTILE))  # fmt: skip
    spot = Spot(HOSTILE, HOSTILE, HOSTILE, 1, HOSTILE)
    event = Event(kind, AT, subject, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE,
                  (spot,) * 500, (HOSTILE,) * 500, {HOSTILE: HOSTILE})  # fmt: skip
    told = reminder(entry(event, language), SINCE, language)
    summary = message([event, replace(UPDATED, subject=subject)], language, note=HOSTILE)
    texts = {
        told.headline: MAX_HEADLINE, summary.title: MAX_HEADLINE, summary.note: MAX_VALUE, told.action: MAX_VALUE,
        line(event, language): MAX_LINE, **dict.fromkeys((value for _, value in told.facts), MAX_VALUE),
    }  # fmt: skip
    assert all(text.isprintable() and len(text) <= most for text, most in texts.items())
    assert told.links == ()
    assert told.facts


def test_a_secret_that_slipped_into_a_text_is_blanked_before_it_is_cut() -> None:
    remember("hunter2-hunter2-hunter2")
    told = entry(
        replace(HELD, new="hunter2-hunter2-hunter2", why="x" * (MAX_VALUE - 10) + " hunter2-hunter2-hunter2"), "en"
    )
    assert "hunter2" not in repr((told.headline, told.facts))
    assert "***" in told.headline


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "https:git.example.com",
        "//git.example.com/x",
        "https://git.example.com/a b",
        "https://git.example.com/\nx",
        'https://git.example.com/"onclick="x',
        "https://git.example.com/<b>",
        "https://user:secret@git.example.com/x",
        "https://git.example.com:port/x",
        "https://g\u0456t.example.com/x",
        "https://git.example.com/" + "x" * 3000,
        "",
    ],
)
def test_what_is_no_address_of_a_page_becomes_no_link(url: str) -> None:
    assert entry(replace(UPDATED, commit_url=url, release_notes=url), "en").links == ()
    assert context(replace(UPDATED, commit_url=url), "en")["commit_url"] == ""


@pytest.mark.parametrize("url", ["https://git.example.com/c/1?a=b&c=d#e", "http://127.0.0.1:3000/x", "https://[::1]/x"])
def test_an_address_of_a_page_becomes_a_link(url: str) -> None:
    assert entry(replace(UPDATED, commit_url=url), "en").links[0].url == url


def test_a_page_that_people_reach_is_linked_to() -> None:
    shop = Event(Kind.SYNC_FAILED, AT, Subject(application="a b", cluster="cloud"), why="no")
    page = "https://updater.example.com"
    told = message([UPDATED, shop], "en", page=page)
    assert [one.links[-1] for one in told.entries] == [
        Link("Details", f"{page}/images/api/prod"), Link("Details", f"{page}/applications/a%20b")
    ]  # fmt: skip
    assert entry(UPDATED, "zh", page=page).links[-1].text == "查看详情"
    assert not any("Details" in link.text for link in entry(UPDATED, "en").links)
    assert entry(Event(Kind.CONFIG_REJECTED, AT, Subject()), "en", page=page).links == ()


# --- messages ---------------------------------------------------------------------------------------------------------

WEB = replace(UPDATED, subject=Subject(image="web", item="web", reference="ghcr.io/acme/web"))
BACK = replace(UPDATED, old="1.5.0", new="1.4.2", reason="held", why="rolled back to 1.4.2 by a person")
FAILED = replace(WEB, kind=Kind.UPDATE_FAILED, subject=Subject(image="db", item="db"))


@pytest.mark.parametrize(
    ("events", "en", "zh"),
    [
        ([UPDATED], "api/prod updated: 1.4.2 -> 1.5.0", "api/prod 已更新：1.4.2 -> 1.5.0"),
        ([UPDATED, WEB], "2 images updated (fleet main)", "2 个镜像已更新（fleet main）"),
        ([UPDATED, replace(UPDATED, old="1.4.1")], "1 image updated (fleet main)", "1 个镜像已更新（fleet main）"),
        (
            [UPDATED, WEB, replace(FAILED, spots=())],
            "2 images updated, 1 failed",
            "2 个镜像已更新，1 个更新失败",
        ),
        (
            [UPDATED, BACK],
            "1 image updated, 1 image rolled back (fleet main)",
            "1 个镜像已更新，1 个镜像已回退（fleet main）",
        ),
        (
            [replace(UPDATED, kind=kind, spots=()) for kind in list(Kind)[:5]],
            "1 image updated, 1 update available, 1 update held, ...",
            "1 个镜像已更新，1 个镜像有新版本，1 个更新已暂缓，...",
        ),
    ],
    ids=["one event", "several of a kind", "one image twice", "several kinds", "a rollback", "many kinds"],
)
def test_the_title_of_a_message(events: list[Event], en: str, zh: str) -> None:
    assert message(events, "en").title == en
    assert message(events, "zh").title == zh


def test_a_rollback_is_no_update_in_words() -> None:
    en, zh = entry(BACK, "en"), entry(BACK, "zh")
    assert (en.headline, zh.headline) == ("api/prod rolled back: 1.5.0 -> 1.4.2", "api/prod 已回退：1.5.0 -> 1.4.2")
    assert "`updater resume api/prod`" in en.action
    assert "`updater resume api/prod`" in zh.action
    assert ("详情", "由人工回退到 1.4.2") in zh.facts


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event", [UPDATED, HELD, FAILED], ids=["where", "why", "error"])
def test_an_entry_has_the_one_line_of_its_event(event: Event, language: Language) -> None:
    told = entry(event, language)
    assert told.line == line(event, language)
    assert len(told.line) > len(told.headline)


def test_a_note_alone_is_the_title() -> None:
    told = message([], "en", note=held_back(3, SINCE, "en"))
    assert (told.title, told.note, told.entries) == (held_back(3, SINCE, "en"), "", ())


def test_a_message_has_the_same_id_for_the_same_events_alone() -> None:
    again = message([UPDATED, WEB], "zh")
    assert message([UPDATED, WEB], "en").id == again.id
    assert len({message(events, "en").id for events in ([UPDATED], [WEB], [UPDATED, WEB], [WEB, UPDATED])}) == 4


def test_a_message_takes_the_template_of_the_kind_before_that_of_all() -> None:
    templates = {"*": compile_template("any {{ subject }}"), "image_updated": compile_template("up {{ subject }}")}
    told = message([UPDATED, HELD], "en", templates=templates)
    assert [one.markup for one in told.entries] == ["up api/prod", "any api/prod"]


def test_what_was_held_back_is_counted() -> None:
    assert held_back(1, SINCE, "en") == "1 event was held back since 2026-11-30 22:15 UTC; see updater notify queue"
    assert held_back(12, SINCE, "en") == "12 events were held back since 2026-11-30 22:15 UTC; see updater notify queue"
    assert (
        held_back(12, SINCE, "zh") == "自 2026-11-30 22:15 UTC 起有 12 条事件未能送达，可用 updater notify queue 查看"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_test_message_says_that_it_is_one(language: Language) -> None:
    told = made_for_testing(language, "ops\n", AT)
    assert told.test
    assert told.entries == ()
    assert told.severity is Severity.INFO
    assert "ops" in told.title
    assert told.title.isprintable()
    assert "2026-12-01 08:00 UTC" in told.note


@pytest.mark.parametrize(
    ("language", "headline"),
    [
        ("en", "api/prod 1.4.2 -> 2.0.0 held: above the allowed level (still held since 2026-11-30 22:15 UTC)"),
        (
            "zh",
            "api/prod 暂缓更新（1.4.2 -> 2.0.0）：超出允许的升级级别（自 2026-11-30 22:15 UTC 起仍处于暂缓状态）",
        ),
    ],
)
def test_a_reminder_says_since_when(language: Language, headline: str) -> None:
    told = reminder(entry(HELD, language), SINCE, language)
    assert told.headline == headline
    assert told.action == entry(HELD, language).action
    assert told.line.startswith(line(HELD, language))
    assert told.line.endswith(headline[-20:])


def test_a_reminder_of_a_long_headline_still_says_since_when() -> None:
    told = reminder(entry(replace(HELD, old="a" * 128, new="b" * 128, reason="c" * 200), "en"), SINCE, "en")
    assert len(told.headline) == MAX_HEADLINE
    assert told.headline.endswith("… (still held since 2026-11-30 22:15 UTC)")


def test_a_reminder_of_an_operators_template_says_so_too() -> None:
    told = reminder(entry(HELD, "en", compile_template("**{{ subject }}**")), SINCE, "en")
    assert told.markup == "**api/prod**\n\nstill held since 2026-11-30 22:15 UTC"


# --- templates --------------------------------------------------------------------------------------------------------


def test_an_operators_template_makes_the_markup_beside_our_own_words() -> None:
    template = compile_template("**{{ subject }}** {{ why }}")
    told = entry(UPDATED, "en", template, escape=lambda text: text.replace("<", "&lt;"))
    assert told.markup == "**api/prod** semver >=1.4.0 &lt;2.0.0, newest of 212"
    assert told.headline == entry(UPDATED, "en").headline


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_template_that_fails_loses_no_message(language: Language) -> None:
    template = compile_template("{{ spots[0].file }}")
    told = entry(replace(UPDATED, spots=()), language, template)
    assert told.markup is None
    assert told.headline == entry(UPDATED, language).headline
    label, why = told.facts[-1]
    assert label == WORDS[language].labels.template
    assert "line 1" in why


def test_a_template_that_makes_nothing_leaves_our_own_words() -> None:
    template: Template = compile_template("{% if severity == 'error' %}!{% endif %}")
    assert entry(UPDATED, "en", template).markup is None
