"""The figures of `/metrics` (contract, section 4): counted where things happen, or read from the state when asked.

What counts here is told by callbacks: nothing below the daemon knows of it. Figures last as long as the process, as
Prometheus expects of them. Names that people elsewhere could make up without end are summed up as `other`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from updater import __version__
from updater.errors import StoreError
from updater.model.commit import Commit
from updater.model.decision import Reason
from updater.model.event import Event, Kind
from updater.pipeline.report import Outcome
from updater.pipeline.scan import limits

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from updater.config.images import Item
    from updater.daemon.desk import Desk
    from updater.pipeline.report import Report
    from updater.store.outbox import Letter
    from updater.store.tags import Tags

STAGES = ("committed", "applied", "notified")
BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 86400, 7 * 86400)  # seconds
ENDPOINTS = frozenset({"tags", "manifest", "blob", "referrer", "token"})
MOST_REGISTRIES = 200  # a pattern may find others in Git
MOST_COMMITS = 1000  # whose way is followed until they are applied
FRESH = 1.0  # seconds that one answer serves whoever asks
UNKNOWN = "unknown"

Labels = tuple[str, ...]


class Metrics:
    """What was counted since the process began; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Labels] = Counter()
        self._decisions: Counter[Labels] = Counter()
        self._commits: Counter[Labels] = Counter()
        self._conflicts: Counter[Labels] = Counter()
        self._delays = {stage: [0] * (len(BUCKETS) + 1) for stage in STAGES}
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._scanned: dict[str, float] = {}  # when each registry answered what it was asked about an image
        self._registries: set[str] = set()
        self._committed: OrderedDict[str, datetime] = OrderedDict()  # by revision
        self._asking = threading.Lock()
        self._answer: tuple[float, bytes, str] | None = None

    # --- what happens ------------------------------------------------------------------------------------------------

    def asked(self, registry: str, endpoint: str, code: str) -> None:
        """A registry, or its token service, answered: `code` is its status, or `error` where none came."""
        with self._lock:
            registry = self._known(registry)
            endpoint = endpoint if endpoint in ENDPOINTS else "other"
            fine = code == "error" or (code.isascii() and code.isdecimal() and len(code) == 3)
            self._requests[registry, endpoint, code if fine else "other"] += 1
            if code == "200" and endpoint in {"tags", "manifest"}:
                self._scanned[registry] = time.time()

    def pushed(self, commit: Commit) -> None:
        """A commit of ours is on its branch, whoever asked for it."""
        with self._lock:
            self._commits[(commit.repository,)] += 1
            self._follow(commit.revision, datetime.now(UTC))

    def conflicted(self, repository: str) -> None:
        """Somebody else had pushed first."""
        with self._lock:
            self._conflicts[(repository,)] += 1

    def cycle(self, report: Report, tags: Tags, now: datetime) -> None:
        """A cycle ended. Raises StoreError."""
        commits = [written for written in report.written if written.commit]
        with self._lock:
            for row in report.rows:
                known = row.reason in Reason.__members__.values() and row.outcome is not Outcome.FAILED
                self._decisions[(row.reason if known else row.outcome.value,)] += 1
        new: Counter[tuple[str, str]] = Counter()  # a tag counts once in each commit
        for written in commits:
            new.update({(b.image, b.tag) for change in written.changes for b in change.bumps if b.tag})
        for image in {image for image, _ in new}:
            for tag, seen in tags.seen(image, {tag for one, tag in new if one == image}).items():
                if seen.first_seen is not None:
                    for _ in range(new[image, tag]):
                        self._took("committed", now - seen.first_seen)

    def before(self, events: Iterable[Event]) -> None:
        """These were stored before the process began: their commits may still be on their way."""
        self.happened(event for event in events if event.kind is Kind.IMAGE_UPDATED)

    def happened(self, events: Iterable[Event], now: datetime | None = None) -> None:
        """These were stored: commits begin their way to the clusters, and syncs end it."""
        now = now or datetime.now(UTC)
        for event in events:
            if event.kind is Kind.IMAGE_UPDATED and event.commit:
                with self._lock:
                    self._follow(event.commit, event.at)
            elif event.kind is Kind.SYNC_SUCCEEDED and event.commit:
                with self._lock:
                    since = self._committed.get(event.commit)
                if since is not None:
                    self._took("applied", now - since)

    def told(self, letters: Iterable[Letter], now: datetime | None = None) -> None:
        """A service took these."""
        now = now or datetime.now(UTC)
        for letter in letters:
            if letter.event is not None and letter.since is None:  # a reminder tells nothing new
                self._took("notified", now - letter.event.at)

    def _follow(self, revision: str, at: datetime) -> None:
        while len(self._committed) >= MOST_COMMITS:
            self._committed.popitem(last=False)
        self._committed.setdefault(revision, at)

    def _took(self, stage: str, delay: Any) -> None:
        seconds = max(0.0, delay.total_seconds())
        with self._lock:
            self._seconds[stage] += seconds
            self._delays[stage][next((i for i, most in enumerate(BUCKETS) if seconds <= most), len(BUCKETS))] += 1

    def _known(self, registry: str) -> str:
        if registry not in self._registries and len(self._registries) >= MOST_REGISTRIES:
            return "other"
        self._registries.add(registry)
        return registry

    # --- what is asked -----------------------------------------------------------------------------------------------

    def text(self, desk: Desk) -> tuple[bytes, str]:
        """Return the page that Prometheus reads, and its content type; it is made once a second at most."""
        with self._asking:
            if self._answer is None or time.monotonic() > self._answer[0]:
                from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

                registry = CollectorRegistry(auto_describe=False)
                registry.register(_Figures(self, desk))
                body = generate_latest(registry)
                self._answer = (time.monotonic() + FRESH, body, CONTENT_TYPE_LATEST)
            return self._answer[1:]

    def counted(self, repositories: Iterable[str]) -> Iterator[Metric]:
        """Yield what was counted; nothing yet is 0 where it is known what there is to count."""
        from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

        none = dict.fromkeys(((name,) for name in repositories), 0)
        with self._lock:
            counters = (
                ("updater_decisions", "What was decided about references in Git", ["reason"], dict(self._decisions)),
                ("updater_registry_requests", "Requests that registries and their token services answered",
                 ["registry", "endpoint", "code"], dict(self._requests)),
                ("updater_commits", "Commits that were pushed", ["repository"], none | self._commits),
                ("updater_push_conflicts", "Pushes that came second and were planned anew", ["repository"],
                 none | self._conflicts),
            )  # fmt: skip
            delays = {stage: (list(counts), self._seconds[stage]) for stage, counts in self._delays.items()}
        for name, words, labels, values in counters:
            counter = CounterMetricFamily(name, words, labels=labels)
            for key, value in sorted(values.items()):
                counter.add_metric(list(key), value)
            yield counter
        histogram = HistogramMetricFamily(
            "updater_delay_seconds",
            "From a tag first seen to its commit, from the commit to the cluster, from an event to its message",
            labels=["stage"],
        )
        for stage, (counts, seconds) in delays.items():
            sums = [sum(counts[: i + 1]) for i in range(len(counts))]
            buckets = [(f"{most:g}", count) for most, count in zip((*BUCKETS, float("inf")), sums, strict=True)]
            buckets[-1] = ("+Inf", sums[-1])
            histogram.add_metric([stage], buckets, seconds)
        yield histogram

    def scanned(self, items: Sequence[Item], desk: Desk) -> dict[str, float]:
        """Return when each registry answered last, 0 for one that is configured and never did; as far as is known."""
        from updater.daemon.agenda import host_of

        found: dict[str, float] = {}
        polls = desk.polls
        for item in items:
            host, poll = host_of(item), polls.get(item.name)
            if host != "*":
                last = poll.at.timestamp() if poll is not None and not poll.failures else 0.0
                found[host] = max(found.get(host, 0.0), last)
        with self._lock:
            return {host: max(found.get(host, 0.0), self._scanned.get(host, 0.0)) for host in {*found, *self._scanned}}


class _Figures:
    """What a registry of prometheus_client asks at a scrape."""

    def __init__(self, metrics: Metrics, desk: Desk) -> None:
        self._metrics, self._desk = metrics, desk

    def collect(self) -> Iterator[Metric]:
        """Yield every family; what the state cannot tell now is left empty, and said so."""
        desk = self._desk
        items = desk.settings.items
        yield _gauge("updater_build_info", "The version of the program", ["version"], {(__version__,): 1})
        yield _gauge(
            "updater_config_last_reload_successful", "Whether the files are the configuration that counts", [],
            {(): float(not desk.problems)},
        )  # fmt: skip
        polls, outcomes, available = desk.polls, dict.fromkeys([*map(str, Outcome), UNKNOWN], 0.0), {}
        for item in items:
            poll = polls.get(item.name)
            outcome = poll.outcome if poll is not None and poll.outcome in outcomes else UNKNOWN
            outcomes[outcome] += 1
            available[(item.name,)] = float(outcome == Outcome.AVAILABLE)
        yield _gauge(
            "updater_images", "Items by what became of them", ["outcome"], {(one,): n for one, n in outcomes.items()}
        )
        yield _gauge(
            "updater_update_available", "Whether an update is known that is not written", ["image"], available
        )  # fmt: skip
        scanned = {(host,): at for host, at in sorted(self._metrics.scanned(items, desk).items())}
        words = "When a registry last answered what it was asked about an image; 0: never"
        yield _gauge("updater_scan_last_success_timestamp_seconds", words, ["registry"], scanned)
        told = limits((item.exact for item in items if item.exact), desk.world.registry_of)
        words = "Pulls that a registry said remain; absent where it says nothing of that"
        left = {(host,): float(limit.remaining) for host, limit in sorted(told.items())}
        yield _gauge("updater_registry_ratelimit_remaining", words, ["registry"], left)
        yield from self._metrics.counted(one.name for one in desk.settings.repositories)
        yield from self._outbox()

    def _outbox(self) -> Iterator[Metric]:
        from updater.store.outbox import Outbox, State

        settings, now = self._desk.settings.notifications, datetime.now(UTC)
        channels = [one.title for one in settings.channels] if settings else []
        try:
            figures = Outbox(self._desk.database).figures(channels)
            readable = 1.0
        except StoreError:
            figures, readable = {}, 0.0
        letters = {
            (channel, state.value): float(found.states.get(state.value, 0))
            for channel, found in figures.items() for state in State
        }  # fmt: skip
        oldest = {
            (channel,): max(0.0, (now - found.oldest).total_seconds()) if found.oldest else 0.0
            for channel, found in figures.items()
        }
        yield _gauge("updater_outbox_messages", "Events for a channel", ["channel", "state"], letters)
        yield _gauge("updater_outbox_oldest_seconds", "How long the oldest has waited", ["channel"], oldest)
        yield _gauge("updater_state_readable", "Whether the state could be read for this page", [], {(): readable})


def _gauge(name: str, words: str, labels: list[str], values: dict[Any, float]) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
