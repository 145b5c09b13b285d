"""What people have done: check, hold, resume, approve, rollback, sync, send a test. Each is logged with who did it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import structlog

from updater.config.images import Item
from updater.daemon.couriers import try_out
from updater.errors import RegistryError, UpdaterError
from updater.notifiers.base import Verdict
from updater.pipeline.people import end_of, expect_tag, expect_there, gate, reason_of
from updater.pipeline.report import Report
from updater.pipeline.rollback import HOLD, back_at
from updater.pipeline.rollback import rollback as back
from updater.store.holds import Holds
from updater.web import facts
from updater.web.ledger import ledger_of, plain
from updater.web.sessions import Person

if TYPE_CHECKING:
    from updater.daemon.desk import Desk

PATIENCE = 60.0  # seconds that a person waits for a rollback; it goes on

log = structlog.get_logger()


class Refusal(Exception):
    """What a person cannot have done: a status of HTTP, and why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, plain(detail)


def check(desk: Desk, person: Person, name: str) -> list[str]:
    """Look at an image, or at one of its items, at once; return the names of the items. Returns before that is done."""
    items = _items(desk, person, name)
    names = [item.name for item in items]
    desk.check(names)
    _log("check", person, names)
    return names


def hold(desk: Desk, person: Person, name: str, until: str | None = None, reason: str = "") -> list[str]:
    """Stop an image until `resume`, for a while (`7d`) or until a time; return the names of the items."""
    items, now = _items(desk, person, name), datetime.now(UTC)
    with _as_refusal():
        end, why = end_of(until or None, now), reason_of(reason)
        holds = Holds(desk.database)
        for item in items:
            holds.hold(item.name, why, now, until=end)
    return _spoken(desk, "hold", person, items, until=end and end.isoformat(), reason=why)


def resume(desk: Desk, person: Person, name: str) -> list[str]:
    """Let an image go on, whatever held it; return the names of the items."""
    items, now = _items(desk, person, name), datetime.now(UTC)
    with _as_refusal():
        holds = Holds(desk.database)
        for item in items:
            holds.resume(item.name, now)
    return _spoken(desk, "resume", person, items)


def approve(desk: Desk, person: Person, name: str, tag: str | None = None) -> dict[str, str]:
    """Let a tag pass once: this one, or of each item the newest that a gate stopped at the last look.

    Return the tag by item. A tag that the last list does not have is asked for at the registry.
    """
    items, now = _items(desk, person, name), datetime.now(UTC)
    with _as_refusal():
        if tag:
            expect_tag(tag)
            expect_there(desk.world, items[0], tag)  # all are of one image
            found = {item.name: tag for item in items}
        else:
            found = {item.name: stopped for item in items if (stopped := stopped_tag(desk, item.name))}
        if not found:
            raise Refusal(409, f"nothing to approve: no gate that an approval opens stopped {name} at the last look")
        holds = Holds(desk.database)
        for item, one in found.items():
            holds.approve(item, one, now)
    _spoken(desk, "approve", person, [item for item in items if item.name in found], tags=found)
    return found


def stopped_tag(desk: Desk, name: str) -> str:
    """Return the tag that an approval would let pass, by what the last look found; empty where there is none."""
    found = facts.image(desk, name)
    if found is None or not found.newest:
        return ""
    best = next((one.why for one in found.tags if one.tag == found.newest), "")
    return found.newest if gate(found.reason, best) else ""


def rollback(desk: Desk, person: Person, name: str, to: str | None = None) -> dict[str, Any]:
    """Go back to the previous tag, or to one, and hold it; one at a time.

    Return what `rollback --json` prints. Where that takes too long it goes on, and what is returned says so.
    """
    items, now = _items(desk, person, name), datetime.now(UTC)
    with _as_refusal():
        if to:
            expect_tag(to)
    lock = _alone(desk)
    if not lock.acquire(blocking=False):
        raise Refusal(409, "another rollback is under way; try again when it is done")
    done: list[Report | UpdaterError] = []

    def work() -> None:
        try:
            done.append(back(desk.world, items, to or None, now, now + HOLD))
        except UpdaterError as err:
            done.append(err)
        except Exception:
            log.exception("rollback_failed")  # our own bug: said with its trace, to us alone
        finally:
            lock.release()
            desk.check([item.name for item in items])
            desk.check_git()
            desk.told()
            ledger_of(desk).kept.forget()

    worker = threading.Thread(target=work, name="rollback", daemon=True)
    worker.start()
    worker.join(PATIENCE)
    _log("rollback", person, [item.name for item in items], to=to)
    if worker.is_alive():
        return {"state": "under_way", "items": []}
    if not done or isinstance(done[0], UpdaterError):
        raise Refusal(502, str(done[0]) if done else "it failed; the log says why")
    report = done[0]
    rows = [{"name": one, "to": tags, "until": (now + HOLD).isoformat()} for one, tags in back_at(report).items()]
    if not rows and report.failures:
        raise Refusal(409, "; ".join(failure.error for failure in report.failures[:3]))
    return {"state": "done", "items": rows, **report.as_json()}


def sync(desk: Desk, person: Person, name: str) -> str:
    """Sync an application at once, by hand; returns its name before that is done."""
    _may(person)
    delivery = desk.delivery
    if delivery is None or not delivery.sync(name):
        raise Refusal(404, f"no application is named {name!r}")
    _log("sync", person, [name])
    return name


def test(desk: Desk, person: Person, channel: str) -> dict[str, Any]:
    """Send a real message to a channel; return what the service answered, and what that means."""
    _may(person)
    known = desk.settings.notifications.channels if desk.settings.notifications else ()
    if channel not in {one.title for one in known}:
        raise Refusal(404, f"no channel is named {channel!r}")
    lock = _testing.setdefault(channel, threading.Lock())
    if not lock.acquire(blocking=False):
        raise Refusal(409, "a test of this channel is under way")
    try:
        with _as_refusal():
            reply = try_out(desk.settings, desk.database, channel)
    finally:
        lock.release()
    _log("notify_test", person, [channel], verdict=reply.verdict.value)
    texts = {"code": plain(reply.code), "said": plain(reply.said), "meaning": plain(reply.meaning)}
    delivered = reply.verdict is Verdict.DELIVERED
    return {"channel": channel, "delivered": delivered, "verdict": reply.verdict.value, **texts}


_rolling: WeakKeyDictionary[Desk, threading.Lock] = WeakKeyDictionary()
_testing: dict[str, threading.Lock] = {}  # by channel: as many as are configured
_making = threading.Lock()


def _alone(desk: Desk) -> threading.Lock:
    with _making:
        return _rolling.setdefault(desk, threading.Lock())


def _may(person: Person | None) -> None:
    if person is None or not person.may_act:
        raise Refusal(403, "this login may look, and not act")


def _items(desk: Desk, person: Person, name: str) -> Sequence[Item]:
    _may(person)
    items = desk.items(name)
    if not items:
        raise Refusal(404, f"no image is named {name!r}")
    return items


def _spoken(desk: Desk, deed: str, person: Person, items: Sequence[Item], **more: object) -> list[str]:
    names = [item.name for item in items]
    _log(deed, person, names, **more)
    desk.check(names)
    desk.told()
    ledger_of(desk).kept.forget()
    return names


def _log(deed: str, person: Person, names: Sequence[str], **more: object) -> None:
    log.info("asked", deed=deed, by=person.name, names=list(names), **more)


@contextmanager
def _as_refusal() -> Iterator[None]:
    try:
        yield
    except ValueError as err:
        raise Refusal(422, str(err)) from err
    except RegistryError as err:
        raise Refusal(502, str(err)) from err
    except UpdaterError as err:
        raise Refusal(503, str(err)) from err
