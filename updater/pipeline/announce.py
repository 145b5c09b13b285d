"""From how an application stood and how it stands now to events. Pure.

What is told hangs on what was rendered, not on the commit: a commit that changes nothing of an application tells nobody
about it. A cluster that is down is one event, and its applications are silent until it is back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from updater.model.application import Application, ApplicationStatus
from updater.model.event import Event, Kind, Subject
from updater.model.health import Health
from updater.model.sync import Phase, SyncStatus
from updater.pipeline.alike import Has
from updater.secrets import redact
from updater.store.applications import Delivered
from updater.store.journal import Condition, Standing, Writing

STARTED, SYNC, DRIFT, HEALTH = "started", "sync", "drift", "health"  # topics
CLUSTER, ALIKE, REFUSED = "cluster", "alike", "applications"
SHORT = 12  # characters of a revision that people are shown
MAX_NAMES = 20  # objects that one event names
MAX_KEY = 32  # characters
REASONS = 4  # of one failure that are told; who fails in more ways than that is not told about any longer

_NUMBER = re.compile(r"[0-9][0-9a-f]*")
_WAY = re.compile(r"nothing was written: |\b(?:dry run|apply|creation|replacement) of ")  # how an error was met
FEW = 3  # mistakes that one event names


@dataclass(frozen=True, slots=True)
class Step:
    """One application, as it stands now. `drifting` says why it stays out of sync, empty where that is being mended.

    commit_url  where people see its revision; ended: `status.last` is a sync that ended now
    """

    application: Application
    status: ApplicationStatus
    drifting: str = ""
    commit_url: str | None = None
    ended: bool = False
    tell_baseline: bool = False


def subject_of(application: Application, cluster: str) -> Subject:
    """Return what events about an application are about."""
    return Subject(application=application.name, project=application.project, cluster=cluster)


def announce(step: Step, standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of a step, and what it tells."""
    return _Announcing(step, standing, now, subject_of(step.application, step.status.cluster)).writing()


def started(application: Application, cluster: str, revision: str, standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored when a sync begins: once for a commit, however often it is tried or healed."""
    subject, writing = subject_of(application, cluster), Writing()
    last = standing.conditions.get((subject.key, STARTED))
    if last is None or last.key != revision[:MAX_KEY]:
        event = Event(Kind.SYNC_STARTED, now, subject, new=revision, commit=revision)
        writing.ended += [last] if last else []
        writing.events.append(event)
        writing.conditions.append(Condition(subject.key, STARTED, revision[:MAX_KEY], event.id, now))
    return writing


def cluster(name: str, trouble: str, applications: Iterable[str], standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of a cluster that cannot be reached, or can be again."""
    subject, writing = Subject(cluster=name), Writing()
    last = standing.conditions.get((subject.key, CLUSTER))
    if trouble and last is None:
        event = Event(
            Kind.CLUSTER_UNREACHABLE, now, subject, why=redact(trouble), images=tuple(sorted(applications))[:MAX_NAMES]
        )
        writing.events.append(event)
        writing.conditions.append(Condition(subject.key, CLUSTER, event.key, event.id, now))
    elif not trouble and last is not None:
        writing.ended.append(last)
        writing.events.append(Event(Kind.CLUSTER_RECOVERED, now, subject))
    return writing


def alike(group: str, differing: Mapping[str, Has], standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of applications that should be alike: what each has, empty where all agree.

    It is told once, and again where they have something else.
    """
    subject, writing = Subject(application=group), Writing()
    last = standing.conditions.get((subject.key, ALIKE))
    if not differing:
        writing.ended += [last] if last else []
        return writing
    why = "; ".join(f"{name}: {has}" for name, has in sorted(differing.items())[:MAX_NAMES])
    key = _digest(str(sorted((name, has.what) for name, has in differing.items())))
    if last is None or last.key != key:
        event = Event(Kind.CLUSTERS_DIFFER, now, subject, why=redact(why))
        writing.ended += [last] if last else []
        writing.events.append(event)
        writing.conditions.append(Condition(subject.key, ALIKE, key, event.id, now))
    return writing


def left(those: Collection[tuple[str, str]], gone: Collection[str], standing: Standing) -> Writing:
    """Return what is to be forgotten of applications, by name and cluster, that are not there any more."""
    ended = [
        condition
        for (subject, _), condition in standing.conditions.items()
        if any(subject.startswith(f"application={name} ") and subject.endswith(f" cluster={cluster}")
               for name, cluster in those)
    ]  # fmt: skip
    return Writing(ended=ended, gone=list(gone))


@dataclass(slots=True)
class _Announcing:
    step: Step
    standing: Standing
    now: datetime
    subject: Subject

    def writing(self) -> Writing:
        status, before = self.step.status, self.before
        found = Writing(applications=[status])
        if status.stale:
            return found  # what is known is told already, and why it is stale is told of its cluster
        if self.step.ended:
            self._synced(found)
        new = before is None or before.compared_at is None
        self._drift(found, new=new)
        self._health(found, new=new)
        return found

    @property
    def before(self) -> ApplicationStatus | None:
        return self.standing.applications.get(self.step.status.name)

    def _synced(self, found: Writing) -> None:
        """Tell of a sync that ended; the same content once, and the same failure of one content once."""
        status, before = self.step.status, self.before
        last = status.last
        if last is None or last.phase is Phase.RUNNING:
            return
        succeeded, application = last.phase is Phase.SUCCEEDED, self.step.application
        if succeeded:
            found.keep[application.name] = application.history
            found.deliveries.append(Delivered(application.name, last.revision, status.rendered, last.images, self.now))
        told = self._condition(SYNC)
        key = _said(told.key if told else "", status.rendered, None if succeeded else last.message)
        if told is not None and told.key == key:
            return
        event = Event(
            Kind.SYNC_SUCCEEDED if succeeded else Kind.SYNC_FAILED, self.now, self.subject,
            old=before.applied or None if before else None, new=last.revision or None,
            why=redact(last.message), commit=last.revision or None, commit_url=self.step.commit_url,
            images=last.images[:MAX_NAMES],
        )  # fmt: skip
        found.ended += [told] if told else []
        found.events.append(event)
        found.conditions.append(Condition(self.subject.key, SYNC, key, event.id, self.now))

    def _drift(self, found: Writing, *, new: bool) -> None:
        status = self.step.status
        if status.sync is SyncStatus.UNKNOWN:
            return  # what was told may hold still
        event = None
        names = sorted(str(one.key) for one in status.resources if one.sync is SyncStatus.OUT_OF_SYNC)
        if status.sync is SyncStatus.OUT_OF_SYNC and self.step.drifting:
            event = Event(
                Kind.OUT_OF_SYNC, self.now, self.subject, new=status.revision[:SHORT], why=redact(self.step.drifting),
                images=tuple(names[:MAX_NAMES]), commit=status.revision, commit_url=self.step.commit_url,
            )  # fmt: skip
        self._stand(DRIFT, event, _digest(f"{status.rendered} {names}"), found, new=new)

    def _health(self, found: Writing, *, new: bool) -> None:
        """Degraded until Healthy again: what is on its way back is not yet back."""
        status, last = self.step.status, self._condition(HEALTH)
        if status.health is Health.DEGRADED:
            bad = [one for one in status.resources if one.health and one.health.health is Health.DEGRADED]
            why = "; ".join(f"{one.key}: {one.health.message}" for one in bad[:3] if one.health)
            event = Event(
                Kind.HEALTH_DEGRADED, self.now, self.subject, new=status.revision[:SHORT], why=redact(why),
                commit=status.revision, commit_url=self.step.commit_url,
            )  # fmt: skip
            self._stand(HEALTH, event, status.rendered, found, new=new)
        elif status.health is Health.HEALTHY and last is not None:
            found.ended.append(last)
            found.events.append(
                Event(
                    Kind.HEALTH_RECOVERED, self.now, self.subject, new=status.revision[:SHORT], commit=status.revision
                )
            )

    def _stand(self, topic: str, event: Event | None, key: str, found: Writing, *, new: bool) -> None:
        last = self._condition(topic)
        if event is None:
            found.ended += [last] if last else []
        elif last is None or last.key != key[:MAX_KEY]:
            found.ended += [last] if last else []
            found.conditions.append(Condition(self.subject.key, topic, key[:MAX_KEY], event.id, self.now))
            (found.baseline if new and not self.step.tell_baseline else found.events).append(event)

    def _condition(self, topic: str) -> Condition | None:
        return self.standing.conditions.get((self.subject.key, topic))


def _said(before: str, rendered: str, failure: str | None) -> str:
    """Return the key of what was said of a sync: the content, and the reasons for which it failed.

    Numbers in a reason, as times and counts, make no other one, and neither does whether it was met in a dry run.
    """
    content = _digest(rendered)[:7]
    if failure is None:
        return content
    known, *reasons = before.split(" ")
    reasons = reasons if known == content else []
    reason = _digest(alike_in(failure))[:5]
    return " ".join([content, *reasons, *([reason] if reason not in reasons and len(reasons) < REASONS else [])])


def alike_in(failure: str) -> str:
    """Return what stays of an error where the same happens again, in a dry run or not."""
    return " ".join(_NUMBER.sub("", _WAY.sub("", failure)).split())


def refused(problems: Sequence[str], standing: Standing, now: datetime) -> Writing:
    """Return what is to be stored of application manifests that cannot be used, or of none such being left."""
    subject, writing = Subject(), Writing()
    last = standing.conditions.get((subject.key, REFUSED))
    key = _digest("\n".join(sorted(problems))) if problems else ""
    if last is not None and last.key != key:
        writing.ended.append(last)
    if problems and (last is None or last.key != key):
        more = f"; and {len(problems) - FEW} more" if len(problems) > FEW else ""
        event = Event(Kind.CONFIG_REJECTED, now, subject, why=redact("; ".join(problems[:FEW]) + more))
        writing.events.append(event)
        writing.conditions.append(Condition(subject.key, REFUSED, key, event.id, now))
    return writing


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
