"""What needs neither registry nor Git, in a process of its own; prints JSON in seconds.

Each is the best of some rounds: what else runs on the machine only adds.

`stream`: one image bumped in a stream of 2,000 documents: find the reference, edit it, verify the result.
`streams`: the same with all of the images, each in a document of its own.
`decide`: 10,000 tags and a semver range: filter, parse, order, decide, with a reason for each tag.
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from updater.editors.base import references
from updater.editors.document import Words, parse
from updater.model.decision import Update
from updater.model.image import ImageRef
from updater.model.past import Past
from updater.model.tag import Needs, Scan, Tag
from updater.pipeline.decide import Known, decide
from updater.pipeline.edit import edit
from updater.policies.choose import judge
from updater.policies.rule import Rule
from updater.policies.semver import Semver

ROUNDS = 5
DOCUMENTS = 2000
TAGS = 10_000
MANY = 100_000


def _document(n: int) -> str:
    """About 2.5 kB: a Deployment with what people put around an image."""
    env = "".join(f'            - {{name: SETTING_{k}, value: "{n * 7919 % 104729}-{k}"}}\n' for k in range(38))
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{n}\n  labels:\n    app: app-{n}\nspec:\n"
        f"  replicas: 2\n  template:\n    spec:\n      containers:\n        - name: main  # the one that matters\n"
        f"          image: registry.example.test/team/app-{n}:1.0.0\n          env:\n{env}"
    )


def stream() -> float:
    """Bump one image of the stream; the best of the rounds."""
    data = "---\n".join(_document(n) for n in range(DOCUMENTS)).encode()
    name = f"registry.example.test/team/app-{DOCUMENTS // 2}"

    def bump() -> None:
        document = parse("all.yaml", data, Words([name]))
        (found,) = (one for one in references(document) if one.image.name == name)
        change = edit("all.yaml", document.text, [(found, found.image.at("1.0.1"), "newest")])
        if len(change.after) != len(data) or change.after.count("1.0.1") != 1:
            raise RuntimeError("the edit is wrong")

    return _best(bump)


def streams() -> float:
    """Bump every image of the stream; the best of the rounds."""
    data = "---\n".join(_document(n) for n in range(DOCUMENTS)).encode()
    words = Words(f"registry.example.test/team/app-{n}" for n in range(DOCUMENTS))

    def bump() -> None:
        document = parse("all.yaml", data, words)
        found = references(document)
        change = edit("all.yaml", document.text, [(one, one.image.at("1.0.1"), "newest") for one in found])
        if len(change.after) != len(data) or change.after.count("1.0.1") != DOCUMENTS:
            raise RuntimeError("the edit is wrong")

    return _best(bump)


def decided() -> float:
    """Decide about 10,000 tags; the best of the rounds."""
    names = [f"1.{n // 100}.{n % 100}" if n % 5 else f"1.{n // 100}.{n % 100}-rc.{n}" for n in range(TAGS)]
    now = datetime.now(UTC)
    current = ImageRef.parse("registry.example.test/team/app:1.0.1")

    fresh = Tag("1.99.99", "sha256:" + "0" * 64, known=Needs.NAMES | Needs.DIGEST | Needs.SEEN)
    known = Known({fresh.name: fresh}, past=Past())  # what was fetched before; asking is measured by the cycles

    def choose() -> None:
        scan = Scan(current.name, tuple(map(Tag, names)), now)
        decision = decide(Rule(policy=Semver(range="1.x"), platforms=()), current, scan, now, known)
        if not isinstance(decision, Update) or decision.target.tag != "1.99.99":
            raise RuntimeError(f"the decision is wrong: {decision}")

    return _best(choose)


def explained() -> float:
    """Judge 100,000 tags, as `policy` and `explain` show them; the best of the rounds, in a process that has read none.

    Reading versions is cached, so each round has tags of its own.
    """
    fresh = iter(range(ROUNDS))

    def explain() -> None:
        major = next(fresh)
        tags = [
            Tag(f"{major}.{n // 100}.{n % 100}" if n % 5 else f"{major}.{n // 100}.{n % 100}-rc.{n}")
            for n in range(MANY)
        ]
        judged = judge(Rule(policy=Semver(range=f"{major}.x")), tags, f"{major}.0.1")
        if judged.target != f"{major}.999.99" or len(judged.verdicts) != MANY:
            raise RuntimeError(f"the judgement is wrong: {judged.target}")

    return _best(explain)


def _best(work: Callable[[], None]) -> float:
    return min(timeit.repeat(work, number=1, repeat=ROUNDS))


def main() -> dict[str, Any]:
    return {"stream": stream(), "streams": streams(), "decide": decided(), "explain": explained()}


if __name__ == "__main__":
    print(json.dumps(main()))
