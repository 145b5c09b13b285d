"""A front door over a real state, in this process: a daemon without a clock, whose cycles run when a test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from apscheduler.schedulers.background import BackgroundScheduler
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from tests.lab.loop import Lab, pod
from updater.config.load import load
from updater.daemon.build import prepare
from updater.daemon.desk import Desk
from updater.daemon.remember import open_state
from updater.daemon.run import Daemon
from updater.model.event import Event
from updater.store.journal import Journal, Writing
from updater.store.polls import Polls
from updater.web.app import application
from updater.web.serve import serve

ORIGIN = "http://127.0.0.1"
FLEET = """\
repositories: [{name: fleet, url: FLEET}]
images:
  - {image: HOST/acme/api, name: api, policy: {kind: semver, range: 1.x}, labels: {team: shop}}
  - {image: HOST/acme/web, name: web, level: minor}
  - {image: HOST/acme/gone, name: gone}
"""


@dataclass
class Front:
    """What a browser or a script meets."""

    daemon: Daemon
    app: ASGIApp
    lab: Lab | None = None
    session: dict[str, str] = field(default_factory=dict)

    @property
    def desk(self) -> Desk:
        return self.daemon.desk

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request, in this process; `options` are those of httpx."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                return await client.request(method, path, **options)

        return asyncio.run(asked())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask for something."""
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Have something done, as a browser of this machine has it done."""
        if not self.session:
            answer = self.get("/api/v1/session")
            cookie = answer.headers["set-cookie"].partition(";")[0]
            self.session = {"Cookie": cookie, "X-CSRF-Token": answer.json()["csrf"], "Origin": ORIGIN}
        headers = {**self.session, **options.pop("headers", {})}
        return self.ask("POST", path, headers=headers, **options)

    def cycle(self) -> None:
        """Look at everything that is due."""
        agenda = self.daemon.now.agenda
        for host in agenda.hosts:
            if due := agenda.take(host, time.monotonic()):
                self.daemon._cycle(self.daemon.now, due)

    def look(self) -> None:
        """Look at everything."""
        self.desk.check([item.name for item in self.desk.settings.items])
        self.cycle()

    def write(self, events: Iterable[Event], *, baseline: bool = False) -> None:
        """Have something happened."""
        found = list(events)
        writing = Writing(baseline=found) if baseline else Writing(events=found)
        Journal(self.daemon.database).write(lambda _: writing, datetime.now(UTC), (), ())
        self.desk.bell.ring()

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve it on a port of its own, for what a connection shows; give its address."""
        with capture_logs() as logs, serve(self.desk):
            yield next(str(one["url"]) for one in logs if one["event"] == "serving").rstrip("/")


@contextmanager
def open_front(config: Path, lab: Lab | None = None) -> Iterator[Front]:
    """Open the front door of a configuration."""
    settings = load(config, {"UPDATER_LISTEN": "127.0.0.1:0"})
    prepare(settings.data)
    daemon = Daemon(settings, config)
    with ExitStack() as stack:
        daemon.database = stack.enter_context(closing(open_state(settings)))
        daemon.known = Polls(daemon.database).read()
        daemon._scheduler = BackgroundScheduler()  # that never starts
        daemon.now = daemon._generation(settings)
        stack.callback(daemon.now.closing.close)
        stack.callback(daemon.now.couriers.close, 5.0)
        yield Front(daemon, application(daemon.desk, 0), lab)


@contextmanager
def fleet(lab: Lab, more: str = "") -> Iterator[Front]:
    """Open one over a registry and a repository with three images: one to update, one to hold, one that is not there.

    Nothing was looked at yet.
    """
    lab.push("acme/api", "1.4.2", "1.5.0")
    lab.push("acme/web", "1.0.0", "2.0.0")
    url = lab.repository("fleet", {
        "apps/api.yaml": pod("HOST/acme/api:1.4.2"),
        "apps/web.yaml": pod("HOST/acme/web:1.0.0"),
        "apps/gone.yaml": pod("HOST/acme/gone:1.0.0"),
    })  # fmt: skip
    with open_front(lab.configure(FLEET + more, fleet=url), lab) as found:
        yield found
