"""`make bench`: what the product costs, as ratios to a floor that does the same work without it, in one run.

Every figure is taken from a process of its own, which gets a clean environment and a data folder that nobody used.
CPU is user and system time of that process and of all the children that it waited for (wait4, getrusage). Where two
sides are compared they take turns, after one uncounted run each, and the medians are divided.

once            `updater once` with 50 images to bump in one commit, from the start of the process to the push, against
                floor.py: it imports the same third-party modules (those that `once` was seen to import), lists tags
                with one httpx.Client, reads manifest and configuration of the old and the new image, then clones,
                replaces, commits and pushes with plain git. Both must leave the same tree on the server. Wall time
                and CPU, each divided by the floor's. `names alone`: neither side looks at the images (platforms: [],
                moved_tag: follow), so that listing, deciding, editing and pushing is all there is. `only we look`: the
                defaults against a floor that looks at nothing, which is what looking costs; the goals are the same.
start           `updater --version` against `python -c "import typer, rich"`: wall time.
no-op cycle     50 images with nothing new in a process that is up (resident.py): wall time, CPU, and the requests
                that go out; the median of the cycles after the first.
resident        memory (VmRSS) of `updater run` after eight seconds of polling these 50 images each second (daemon.py);
                without a channel, and with one to which there is nothing to say.
page            200 streams stay open and 40 pages a second come in even turns, each on a connection of its own, from
                visitors.py; the 95th percentile from connecting to the last byte, and the median cycle of 50 images
                with nothing new meanwhile to that with nobody at the page, in the same process (front.py).
1,000 references  in a repository of 20,000 files, of which half are YAML and 1,000 name one of five images.
                `first look` (clone, read all YAML, list, decide) and then `one commit` (look again, list, decide, edit,
                verify, commit, push), of a process that is up (resident.py), against plumbing.py: bare git commands
                that fetch, read and search the same, and then ask again, read, replace, fast-import and push. Both
                must leave the same tree. Then cycles with nothing new: which git processes they need, and what is left
                without those; the lists of five images are in it.
push to commit  from before an image is pushed to docker-registry, which tells the daemon of it, until the branch has
                moved at the Git server (hint.py); the 95th percentile of pushes that follow on each other.
event to sink   from just before an event is written, where nothing waits, to the first line of its request at a
                webhook (notify.py, sink.py): the 95th percentile; the daemon's couriers, the sink in another process.
letters         time for each of 10,000 events that wait for one webhook, each of them one request; CPU and memory are
                those of the whole process that sends them.
events at once  5,000 events for one DingTalk robot, from writing to the end by a clock that leaps over each wait.
stream          find, edit and verify one image in a stream of 2,000 documents and 5 MB, and all of its images, in
                memory (memory.py); the best of five, and so below.
1,000 apps      1,000 applications of five objects from one repository on three clusters, stand-ins in processes of
                their own (estate.py, stand_in.py), by the daemon's second loop without a rate (deliver.py), once.
                `apply`: from the start of the process, which has no clone yet, until all are in sync, against
                replay.py: it sends the requests that the stand-ins were sent until then, in their order and with
                the same bodies, ten at a time for each cluster, over nothing but urllib3, to stand-ins that are as
                empty; watches are left out. And against the same with the official client for Python.
                `nothing new`: a commit that belongs to no application, by the CPU of
                the process and its git until it is at rest again. `commit to PATCH`: from just before somebody
                pushes a new image of one application, and wakes the loop, until the first PATCH arrives; the worst of
                some, by the place of the application among the others. `resident`: the most that it held.
10,000 images   over five hosts (hosts.py), each named once in one repository, all due at once and up to date: CPU an
                image of the first cycle, which clones, reads and lists, and of one with nothing new, which lists; and
                the most memory that the process ever held (crowd.py).
three hosts     100 images each, one host that answers after 10 s, one that answers 429, and a good one (hosts.py):
                from the start of `updater run`, which has no clone yet, until the good one's images are committed,
                divided by the same where there is no other host (daemon.py).
1,000 images    CPU per image at 1,000 images divided by that at 100, of a no-op cycle and of the first cycle, which
                bumps every image (resident.py).
10,000 tags     time to decide about them with a semver range (memory.py).
100,000 tags    time to judge them, each with a verdict and why (memory.py).

Ratios hold on a busy machine, seconds do not: the last line tells how much else ran.

The registry is `docker-registry` and the Git server nginx with `git http-backend` where they are installed, else the
embedded ones; the head of the table says which. It prints figure, goal and verdict, writes bench.json, and exits 0,
also where a goal is missed or something could not be measured: then it says so.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench import daemon, estate, hint, hosts, lab, measure, sink
from tests.bench.stand_in import StandIn

TOP = Path(__file__).parents[2]
HERE = Path(__file__).parent
IMAGES, TAGS = 50, 200
FEW, MANY, MANY_TAGS = 100, 1000, 10
ROUNDS, START_ROUNDS, CYCLES = 9, 15, 9
MANY_CYCLES = 3
CROWD, HOSTS = 10_000, 5
NEIGHBOURS, APART_ROUNDS = 100, 5  # images of each of three hosts
PLACES = (0, 250, 500, 750, 999)  # of the applications whose image changes
AT_ONCE = 10  # requests for one cluster, as the product's default has it
LARGE_IMAGES, LARGE_ROUNDS = 5, 3
STREAMS, PAGES_A_SECOND, VISIT = 200, 40, 12.0  # of people at the page; seconds
EVENTS, LETTERS, BURST = 100, 10_000, 5_000
PUSHES = 30
CHANNEL = """\
notifications:
  channels:
    - {{kind: dingtalk, token: "file:{token}", base_url: "http://127.0.0.1:9"}}
"""
PIPE_WIDTH = 130  # characters of a line where no terminal says how many it has


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `goal` is the most that it may be, None where it is only told. `note` says what it is of."""

    name: str
    value: float
    unit: str
    goal: float | None
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.value <= self.goal


class Bench:
    """One run: measures by section, and tells `progress` what it is about."""

    def __init__(self, servers: lab.Lab, progress: Progress) -> None:
        self._lab, self._progress = servers, progress
        self.figures: list[Figure] = []
        self.failures: list[str] = []
        self.details: dict[str, Any] = {}

    def run(self) -> None:
        with self._step(f"seeding {IMAGES} repositories of {TAGS} tags"):
            fleet = self._lab.fleet("fleet", IMAGES, lab.tags(TAGS))
        self._try(lambda: self._once(fleet, "", fleet.config, look=True))
        self._try(lambda: self._once(fleet, ", names alone", fleet.blind, look=False))
        self._try(lambda: self._once(fleet, ", only we look", fleet.config, look=False))
        self._try(self._start)
        self._try(lambda: self._resident(fleet))
        self._try(lambda: self._daemon(fleet))
        self._try(lambda: self._front(fleet))
        self._try(self._large)
        self._try(self._hint)
        self._try(self._notify)
        self._try(self._burst)
        self._try(self._memory)
        self._try(self._growth)
        self._try(self._crowd)
        self._try(self._apart)
        self._try(self._deliver)

    def _try(self, section: Callable[[], None]) -> None:
        """A section that cannot be measured leaves the others alone."""
        try:
            section()
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as err:
            self.failures.append(str(err))

    @contextmanager
    def _step(self, what: str, total: int = 1) -> Iterator[Any]:
        """Show a section, and yield what counts its turns."""
        task = self._progress.add_task(what, total=total)
        yield lambda: self._progress.advance(task)
        self._progress.update(task, completed=total)

    def _add(self, name: str, value: float, unit: str, goal: float | None, note: str = "") -> None:
        self.figures.append(Figure(name, value, unit, goal, note))

    def _ratio(self, name: str, of: str, ours: float, floor: float, goal: float | None) -> None:
        self._add(name, ours / floor, f"x {of}", goal, f"{ours:.3f} s to {floor:.3f} s")

    def _once(self, fleet: lab.Fleet, which: str, config: Path, *, look: bool) -> None:
        """Compare with a floor that looks at the images that it writes, for digests and platforms, or does not."""
        plan = self._lab.folder / "plan.json"

        def once() -> measure.Run:
            return self._commit(fleet, [lab.updater(), "once", "--config", str(config)], "once")

        def floor() -> measure.Run:
            return self._commit(fleet, [lab.python(), str(HERE / "floor.py"), str(plan)], "the floor")

        with self._step("once against the floor", 2 * ROUNDS) as done:
            self._plan(fleet, plan, look=look)
            once()
            tree = fleet.tree
            floor()
            if fleet.tree != tree:
                raise RuntimeError("once and the floor did not write the same")
            ours, floors = measure.alternate(ROUNDS, once, floor, done=done)
        name = f"once, {IMAGES} bumps{which}"
        self._ratio(f"{name}: wall", "floor", measure.wall(ours), measure.wall(floors), 1.5)
        self._ratio(f"{name}: CPU", "floor", measure.cpu(ours), measure.cpu(floors), 2.0)
        self.details[name] = {"once": list(map(_seconds, ours)), "floor": list(map(_seconds, floors))}

    def _plan(self, fleet: lab.Fleet, plan: Path, *, look: bool) -> None:
        """Learn what `once` imports, and write down for the floor what to do."""
        seen = self._lab.folder / "modules.json"
        command = [lab.python(), str(HERE / "modules.py"), str(seen), "once", "--config", str(fleet.config)]
        self._commit(fleet, command, "once")
        modules = json.loads(seen.read_text())
        self.details["modules"] = sorted({name.partition(".")[0] for name in modules})
        plan.write_text(
            json.dumps(
                {
                    "modules": modules,
                    "registry": self._lab.registry_url,
                    "url": fleet.url,
                    "header": self._lab.git_header,
                    "places": fleet.places,
                    "look": look,
                }
            )
        )

    def _commit(self, fleet: lab.Fleet, command: list[str], who: str) -> measure.Run:
        """Run what must push exactly one commit on the branch as it was at first."""
        fleet.rewind()
        taken = measure.run(command, self._lab.environment())
        if fleet.parent != fleet.base:
            raise RuntimeError(f"{who} did not push exactly one commit: {taken.output[-2000:]}")
        return taken

    def _start(self) -> None:
        def version() -> measure.Run:
            return measure.run([lab.updater(), "--version"], self._lab.environment())

        def floor() -> measure.Run:
            return measure.run([lab.python(), "-c", "import typer, rich"], self._lab.environment())

        with self._step("start", 2 * START_ROUNDS) as done:
            version()
            floor()
            ours, floors = measure.alternate(START_ROUNDS, version, floor, done=done)
        self._ratio("updater --version: wall", "import typer, rich", measure.wall(ours), measure.wall(floors), 1.5)

    def _cycles(self, fleet: lab.Fleet, cycles: int) -> dict[str, Any]:
        fleet.rewind()
        command = [lab.python(), str(HERE / "resident.py"), str(fleet.config), str(cycles)]
        found: dict[str, Any] = measure.run(command, self._lab.environment()).document()
        self.details[f"cycles of {found['images']} images"] = found
        return found

    def _resident(self, fleet: lab.Fleet) -> None:
        with self._step(f"{CYCLES} cycles of {IMAGES} images"):
            found = self._cycles(fleet, CYCLES)
        name = f"no-op cycle, {IMAGES} images"
        self._add(f"{name}: requests", found["requests"], "requests", IMAGES)
        self._add(f"{name}: wall", _median(found, "wall"), "s", 0.3)
        self._add(f"{name}: CPU", _median(found, "cpu"), "CPU-s", 0.15)

    def _daemon(self, fleet: lab.Fleet) -> None:
        """The branch holds the newest tags since the cycles before."""
        with self._step(f"updater run, {IMAGES} images"):
            held = daemon.memory(fleet.config, IMAGES, self._lab.environment())
        self._add(f"updater run, {IMAGES} images: resident", held, "MiB", 80)
        token, config = self._lab.folder / "token", self._lab.folder / "channel.yaml"
        token.write_text("robot")
        config.write_text(fleet.config.read_text() + CHANNEL.format(token=token))
        with self._step(f"updater run, {IMAGES} images and a channel"):
            held = daemon.memory(config, IMAGES, self._lab.environment())
        self._add(f"updater run, {IMAGES} images, a channel: resident", held, "MiB", None)

    def _front(self, fleet: lab.Fleet) -> None:
        """People look at the page while a cycle follows on another; both are in the daemon's one process."""
        with daemon.front(fleet.config, IMAGES, self._lab.environment()) as running:
            with self._step("cycles with nobody at the page"):
                alone = running.cycles(CYCLES)
            with self._step(f"{STREAMS} streams, {PAGES_A_SECOND} pages a second") as done:
                command = [lab.python(), str(HERE / "visitors.py"), running.url, str(STREAMS), str(PAGES_A_SECOND)]
                with subprocess.Popen([*command, str(VISIT)], stdout=subprocess.PIPE, text=True) as visitors:
                    running.forget()
                    crowded = running.cycles(int(VISIT / 2))
                    done()
                    found = json.loads(visitors.communicate(timeout=measure.DEADLINE)[0])
        if found["refused"] or found["open"] != STREAMS:
            raise RuntimeError(f"{found['open']} of {STREAMS} streams stayed, refused: {found['refused']}")
        taken = found["taken"]
        self._add(
            "page, 95 of 100", taken[len(taken) * 95 // 100 - 1], "s", 0.1, f"{median(taken):.3f} s in the middle"
        )
        ours, floor = (median(one["wall"] for one in those) for those in (crowded, alone))
        self._ratio("cycle with people at the page: wall", "nobody", ours, floor, 1.25)
        self.details["page"] = taken

    def _large(self) -> None:
        """Bump every reference of a large repository in one commit, against bare git; then look at it for nothing."""
        with self._step(f"making a repository of {lab.FILES:,} files"):
            fleet = self._lab.large("large", LARGE_IMAGES, lab.tags(MANY_TAGS))
        plan = self._lab.folder / "plumbing.json"
        plan.write_text(json.dumps({"url": fleet.url, "header": self._lab.git_header, "changes": fleet.places}))
        cycles = [lab.python(), str(HERE / "resident.py"), str(fleet.config), str(CYCLES), str(lab.REFERENCES)]
        ours, floors = list[dict[str, Any]](), list[dict[str, Any]]()
        sides = ((ours, cycles), (floors, [lab.python(), str(HERE / "plumbing.py"), str(plan)]))
        with self._step("a large repository against bare git", 2 * LARGE_ROUNDS) as done:
            trees = set()
            for _ in range(LARGE_ROUNDS):
                for taken, command in sides:
                    taken.append(self._commit(fleet, command, command[1]).document())
                    trees.add(fleet.tree)
                    done()
        if len(trees) != 1:
            raise RuntimeError("the cycle and bare git did not write the same")
        name = f"{lab.REFERENCES:,} references in {lab.FILES:,} files"
        for work, of, goal in (("read", "first look", None), ("bump", "one commit", 2)):
            for what in ("wall", "cpu"):
                our = median(one["first" if work == "bump" else work][what] for one in ours)
                floor = median(one[work][what] for one in floors)
                words = "CPU" if what == "cpu" else what
                self._ratio(f"{name}, {of}: {words}", "bare git", our, floor, goal)
        idle = [cycle for one in ours for cycle in one["cycles"][1:]]  # the first reads what we wrote ourselves
        asked = max(len(cycle["commands"]) for cycle in idle)
        self._add(f"{name}, no-op poll: git", asked, "processes", 1, "one ls-remote")
        self._add(f"{name}, no-op poll: wall without git", median(one["wall"] - one["git"] for one in idle), "s", 0.05)
        self._add(f"{name}, no-op poll: CPU without git", median(one["own"] for one in idle), "CPU-s", 0.05)
        self.details[name] = {"cycles": ours, "bare git": floors}

    def _hint(self) -> None:
        with self._step(f"{PUSHES} pushes, each told of", PUSHES) as done:
            taken = sorted(hint.pushes(self._lab.folder / "hint", PUSHES, done))
        note = f"{median(taken):.3f} s in the middle, {taken[-1]:.3f} s at most"
        self._add("push to commit pushed, 95 of 100", taken[len(taken) * 95 // 100 - 1], "s", 1, note)
        self.details["push to commit pushed"] = taken

    def _notify(self) -> None:
        """Every event must be at the sink, so that what was lost does not pass for fast."""
        with sink.sink(self._lab.environment()) as webhook:
            with self._step(f"{EVENTS} events, one after the other"):
                written = self._told("latency", webhook.url, str(EVENTS)).document()["written"]
                arrived = dict(webhook.arrivals(EVENTS))
            taken = sorted(arrived[event] - before for event, before in written)
            self._add(
                "event to sink, 95 of 100", taken[len(taken) * 95 // 100 - 1], "s", 0.25, f"{taken[-1]:.3f} s at most"
            )
            self.details["event to sink"] = taken
            environment = self._lab.environment()
            with self._step(f"{LETTERS} letters to a webhook"):
                self._told("fill", webhook.url, str(LETTERS), environment=environment)
                sent = self._told("drain", webhook.url, environment=environment)
                messages = webhook.arrivals(EVENTS + LETTERS)
        if len(messages) != len(dict(messages)):
            raise RuntimeError("the webhook got an event more than once")
        seconds = sent.document()["seconds"]
        self._add(f"{LETTERS} letters: each", 1000 * seconds / LETTERS, "ms", 5, f"{LETTERS / seconds:.0f} a second")
        self._add(f"{LETTERS} letters: CPU", sent.cpu, "CPU-s", None)
        self._add(f"{LETTERS} letters: peak", sent.peak, "MiB", None)

    def _burst(self) -> None:
        with self._step(f"{BURST} events to a robot"):
            found = self._told("burst", str(BURST)).document()
        note = "{messages} messages in {minutes:.0f} min, {refused} refused".format(**found)
        self._add(f"{BURST} events at once, one robot", found["seconds"], "s", 10, note)

    def _told(self, *arguments: str, environment: dict[str, str] | None = None) -> measure.Run:
        command = [lab.python(), str(HERE / "notify.py"), *arguments]
        return measure.run(command, environment or self._lab.environment())

    def _memory(self) -> None:
        with self._step("5 MB of YAML, 10,000 tags"):
            found = measure.run([lab.python(), str(HERE / "memory.py")], self._lab.environment()).document()
        self._add("one image in 5 MB, 2,000 documents", found["stream"], "s", 0.15)
        self._add("5 MB, 2,000 documents, all images: wall", found["streams"], "s", 1.0)
        self._add("10,000 tags decided by semver", found["decide"], "s", 0.15)
        self._add("100,000 tags explained", found["explain"], "s", 2.0)

    def _growth(self) -> None:
        per_image: dict[int, tuple[float, float]] = {}
        for count in (FEW, MANY):
            with self._step(f"{count} images of {MANY_TAGS} tags"):
                found = self._cycles(self._lab.fleet(f"fleet-{count}", count, lab.tags(MANY_TAGS)), MANY_CYCLES)
            per_image[count] = _median(found, "cpu") / count, found["first"]["cpu"] / count
        for kind, (few, many) in zip(("no-op", "first"), zip(*per_image.values(), strict=True), strict=True):
            note = f"{1000 * many:.2f} ms to {1000 * few:.2f} ms"
            self._add(f"{MANY} images, {kind} cycle: CPU an image", many / few, f"x {FEW} images", 1.2, note)

    def _crowd(self) -> None:
        """Poll very many images over some hosts, all of them at once; a daemon takes them in turns."""
        environment = self._lab.environment()
        with hosts.hosts(environment, *["good"] * HOSTS) as those:
            with self._step(f"making a repository of {CROWD:,} images"):
                fleet = self._lab.crowd("crowd", CROWD, those, hosts.TAGS[-1])
            with self._step(f"{MANY_CYCLES} cycles of {CROWD:,} images over {HOSTS} hosts"):
                command = [lab.python(), str(HERE / "crowd.py"), str(fleet.config), str(MANY_CYCLES)]
                found = measure.run(command, environment).document()
        first, *later = found["cycles"]
        name = f"{CROWD:,} images over {HOSTS} hosts"
        for words, cycle in (("first cycle", first), ("nothing new", min(later, key=lambda one: one["cpu"]))):
            note = f"{cycle['wall']:.1f} s of wall"
            self._add(f"{name}, {words}: CPU an image", 1000 * cycle["cpu"] / CROWD, "ms", None, note)
        self._add(f"{name}: peak", found["peak"], "MiB", 300)
        self.details[name] = found

    def _apart(self) -> None:
        """Keep company with a host that is slow and one that is angry; each daemon gets a data folder of its own."""
        with hosts.hosts(self._lab.environment(), "good", "slow", "angry") as those:
            fleets = {name: self._lab.crowd(name, NEIGHBOURS * len(some), some, hosts.TAGS[0])
                      for name, some in (("alone", those[:1]), ("three", those))}  # fmt: skip
            for fleet in fleets.values():
                text = fleet.config.read_text()
                fleet.config.write_text(text.replace("defaults: {", "defaults: {platforms: [], moved_tag: follow, "))
            with self._step("three hosts, of which one is good", 2 * APART_ROUNDS) as done:
                taken = {name: list[float]() for name in fleets}
                for _ in range(APART_ROUNDS):
                    for name, fleet in fleets.items():
                        taken[name].append(daemon.committed(fleet, self._lab.environment()))
                        done()
        self._ratio("three hosts, one slow, one angry: the third", "alone", median(taken["three"]),
                    median(taken["alone"]), 1.2)  # fmt: skip
        self.details["three hosts"] = taken

    def _deliver(self) -> None:
        """Both sides end with the same objects, or what the floor sends is refused."""
        folder, environment = self._lab.folder / "estate", self._lab.environment()
        asked = [folder / f"asked-{n}.json" for n in range(estate.CLUSTERS)]
        made = estate.estate(self._lab)
        many, name = estate.APPLICATIONS, f"{estate.APPLICATIONS} apps"
        with estate.clusters(folder / "ours", environment) as those:
            config = made.config(folder, self._lab.login, those)
            start = time.perf_counter()
            with estate.daemon(config, environment) as loop:
                with self._step(f"{many} applications, applied"):
                    loop.synced(many)
                    ours = time.perf_counter() - start
                    requests = sum(one.take(file) for one, file in zip(those, asked, strict=True))
                    used = self._rest(loop, those)
                with self._step("a pass with nothing new"):
                    made.touch()
                    loop.wake()
                    idle = loop.rest(used) - used
                    idle_requests = sum(one.take(folder / "idle.json") for one in those)
                with self._step("commit to PATCH", len(PLACES)) as done:
                    waits = [self._patched(made, loop, those, number, done) for number in PLACES]
                held = loop.peak()
        for client, which in (("urllib3", "floor"), ("official", "the official client, bare")):
            with self._step(which), estate.clusters(folder / client, environment) as those:
                pairs = [str(path) for one, file in zip(those, asked, strict=True) for path in (one.kubeconfig, file)]
                command = [lab.python(), str(HERE / "replay.py"), client, str(AT_ONCE), *pairs]
                theirs = measure.run(command, environment)
            self._ratio(f"{name}, apply: wall", which, ours, theirs.wall, 2.0)
        self._add(
            f"{name}, apply: a second", many / ours, "applications", None, f"{requests} requests, {used:.1f} CPU-s"
        )
        self._add(f"{name}, nothing new: CPU", idle, "CPU-s", 1)
        self._add(f"{name}, nothing new: requests", idle_requests, "requests", 0)
        self._add(f"{name}, commit to PATCH", max(waits), "s", 1, f"{median(waits):.2f} s in the middle")
        self._add(f"{name}: resident", held, "MiB", 300)
        self.details["commit to PATCH"] = waits

    def _patched(
        self, made: estate.Estate, loop: estate.Loop, those: list[StandIn], number: int, done: Callable[[], None]
    ) -> float:
        """Commit a new image of one application, and return the seconds until its cluster hears of it."""
        used, start = loop.cpu(), time.monotonic()
        made.bump(number)
        loop.wake()
        heard = those[number % len(those)].patched() - start
        self._rest(loop, those, used)
        done()
        return heard

    def _rest(self, loop: estate.Loop, those: list[StandIn], used: float = 0.0) -> float:
        """Wait until nothing is under way, and have the clusters forget it; return the CPU used until now."""
        used = loop.rest(used)
        for one in those:
            one.take(self._lab.folder / "estate/forgotten.json")
        return used


def _seconds(taken: measure.Run) -> dict[str, float]:
    return {"wall": taken.wall, "cpu": taken.cpu, "peak_mib": taken.peak}


def _median(found: dict[str, Any], what: str) -> float:
    values: list[float] = [cycle[what] for cycle in found["cycles"]]
    return median(values)


def _table(figures: list[Figure], servers: dict[str, str]) -> Table:
    title = f"registry: {servers['registry']} · Git server: {servers['git']}"
    shown = Table("FIGURE", "MEASURED", "GOAL", "VERDICT", title=title, title_justify="left", box=None, pad_edge=False)
    for one in figures:
        verdict = {None: "", True: "[green]met[/]", False: "[red]missed[/]"}[one.met]
        goal = "" if one.goal is None else f"<= {one.goal:g}"
        shown.add_row(one.name, f"{one.value:.3g} {one.unit}{one.note and f': {one.note}'}", goal, verdict)
    return shown


def main() -> None:
    """Measure, print, write bench.json."""
    err = Console(stderr=True)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="updater-bench-", ignore_cleanup_errors=True) as name,
        lab.lab(Path(name)) as servers,
        Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress,
    ):
        bench = Bench(servers, progress)
        bench.run()
        where = servers.servers
    _tell(bench, where, time.monotonic() - started)


def _tell(bench: Bench, where: dict[str, str], seconds: float) -> None:
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    out.print(_table(bench.figures, where))
    for failure in bench.failures:
        out.print(f"[red]not measured:[/] {escape(failure)}")
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    out.print(f"{seconds:.0f} s with Python {platform.python_version()}, {load}; every run is in bench.json")
    figures = [asdict(figure) | {"met": figure.met} for figure in bench.figures]
    document = {
        "figures": figures,
        "failures": bench.failures,
        "servers": where,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "seconds": round(seconds, 1),
        "details": bench.details,
    }
    (TOP / "bench.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
