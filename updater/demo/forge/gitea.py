"""How Gitea and Forgejo answer: https://docs.gitea.com/api, and what routers/api/v1/repo/pull.go says beyond it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from updater.demo.forge.repository import Hosted, No, Pull
from updater.demo.services.base import Answered, say

if TYPE_CHECKING:
    from updater.demo.forge.server import Asked, StandIn

PREFIX = "/api/v1"
_REPOSITORY = r"/repos/(?P<repository>[^/]+/[^/]+)"
_PULL = rf"{_REPOSITORY}/pulls/(?P<number>[0-9]+)"
_ISSUE = rf"{_REPOSITORY}/issues/(?P<number>[0-9]+)"

Route = Callable[["StandIn", Hosted, "Asked", int], Answered]


def answer(forge: StandIn, asked: Asked) -> Answered:
    """Answer one question."""
    if not forge.door.knows(asked.token):
        return error(401, "invalid username, password or token")
    for method, pattern, route in ROUTES:
        match = re.fullmatch(pattern, asked.path)
        if match and method == asked.method:
            hosted = forge.hosted.get(match["repository"])
            if hosted is None:
                break
            try:
                return route(forge, hosted, asked, int(match.groupdict().get("number") or 0))
            except No as err:
                return _no(err)
    return error(404, "The target couldn't be found.")


def error(status: int, message: str) -> Answered:
    """Return a refusal."""
    return say({"message": message, "url": "https://gitea.example.com/api/swagger", "errors": None}, status)


def _no(err: No) -> Answered:
    return {
        "absent": lambda: error(404, "The target couldn't be found."),
        "branch": lambda: error(404, "The target couldn't be found."),
        "empty": lambda: error(422, "Invalid PullRequest: There are no changes between the head and the base"),
        "exists": lambda: error(409, f"pull request already exists for these targets [id: {err.number}]"),
        "moved": lambda: error(409, "head out of date"),
        "done": lambda: error(405, ""),
        "checks": lambda: error(405, "Not all required status checks successful"),
        "conflict": lambda: error(405, "Please try again later"),
    }[err.why]()


def _shown(hosted: Hosted, pull: Pull) -> dict[str, Any]:
    def time(value: Any) -> str | None:
        return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value else None

    owner, _, name = hosted.name.partition("/")
    repository = {"id": hosted.id, "name": name, "full_name": hosted.name, "owner": {"login": owner}}
    merged = pull.state == "merged"
    there = hosted.tip(pull.branch)
    return {
        "id": 7_000_000 + pull.number, "number": pull.number, "url": f"{hosted.url}/pulls/{pull.number}",
        "html_url": f"{hosted.url}/pulls/{pull.number}", "state": "open" if pull.state == "open" else "closed",
        "title": pull.title, "body": pull.body, "user": {"id": 13, "login": hosted.author},
        "labels": [{"id": hosted.labels[name], "name": name} for name in pull.labels],
        "requested_reviewers": [{"id": hosted.people[one], "login": one} for one in pull.reviewers],
        "mergeable": pull.state == "open", "merged": merged, "merged_at": time(pull.done) if merged else None,
        "merge_commit_sha": pull.merged if merged else None,
        "created_at": time(pull.opened), "updated_at": time(pull.updated), "closed_at": time(pull.done),
        "base": {"label": pull.target, "ref": pull.target, "sha": hosted.tip(pull.target), "repo_id": hosted.id,
                 "repo": repository},
        "head": {"label": pull.branch, "ref": pull.branch if there else f"refs/pull/{pull.number}/head",
                 "sha": there or pull.head, "repo_id": hosted.id, "repo": repository},
    }  # fmt: skip


def _repository(_forge: StandIn, hosted: Hosted, _asked: Asked, _: int) -> Answered:
    return say({"id": hosted.id, "full_name": hosted.name, "default_merge_style": hosted.style})


def _list(forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    wanted = asked.query.get("state", "open")
    base = asked.query.get("base_branch")
    found = [
        pull for pull in hosted.look()
        if wanted in {"all", "open" if pull.state == "open" else "closed"} and base in {None, pull.target}
    ]  # fmt: skip
    page, links = forge.cut(found, asked, "limit")
    return say([_shown(hosted, pull) for pull in page], 200, ("X-Total-Count", str(len(found))), *links)


def _open(_forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    body = asked.body
    return say(_shown(hosted, hosted.open(body["head"], body["base"], body["title"], body.get("body") or "")), 201)


def _get(_forge: StandIn, hosted: Hosted, _asked: Asked, number: int) -> Answered:
    return say(_shown(hosted, hosted.find(number)))


def _change(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull = hosted.revise(number, asked.body.get("title"), asked.body.get("body"))
    if asked.body.get("state") == "closed":
        hosted.close(number)
    return say(_shown(hosted, pull), 201)


def _labels(forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    known = [{"id": number, "name": name, "color": "ededed"} for name, number in hosted.labels.items()]
    page, links = forge.cut(known, asked, "limit")
    return say(page, 200, *links)


def _make(_forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    if not re.fullmatch("#?[0-9a-fA-F]{6}", str(asked.body.get("color"))):
        return error(422, "Invalid color")
    number = hosted.labels.setdefault(asked.body["name"], 500 + len(hosted.labels))
    return say({"id": number, "name": asked.body["name"]}, 201)


def _label(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull, names = hosted.find(number), {number: name for name, number in hosted.labels.items()}
    for wanted in asked.body["labels"]:
        if wanted in names and names[wanted] not in pull.labels:  # what it does not know is left out in silence
            pull.labels.append(names[wanted])
    return say([{"id": hosted.labels[name], "name": name} for name in pull.labels])


def _comment(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    hosted.find(number).comments.append(asked.body["body"])
    return say({"id": 1, "body": asked.body["body"]}, 201)


def _ask(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull, users, teams = hosted.find(number), asked.body.get("reviewers", []), asked.body.get("team_reviewers", [])
    if strange := [one for one in users if one not in hosted.people]:
        return error(404, f"user '{strange[0]}' does not exist")
    if strange := [one for one in teams if one not in hosted.teams]:
        return error(404, f"team '{strange[0]}' does not exist")
    if hosted.author in users:
        return error(422, "poster of pr can't be reviewer")
    pull.reviewers += [one for one in users if one not in pull.reviewers]
    pull.teams += [one for one in teams if one not in pull.teams]
    return say([], 201)


def _merge(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull, body = hosted.find(number), asked.body
    if pull.state != "open":
        raise No("done")
    if body.get("merge_when_checks_succeed") and hosted.checks == "pending":
        if pull.auto:
            return error(
                409, f"pull request is already scheduled to auto merge when checks succeed [pull_id: {number}]"
            )
        pull.auto = body["Do"]
        return Answered(201)
    if hosted.checks == "failure":
        raise No("checks")
    hosted.merge(number, body["Do"], body.get("head_commit_id", ""))
    return Answered(200)


ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", _REPOSITORY, _repository),
    ("GET", rf"{_REPOSITORY}/pulls", _list),
    ("POST", rf"{_REPOSITORY}/pulls", _open),
    ("GET", _PULL, _get),
    ("PATCH", _PULL, _change),
    ("POST", rf"{_PULL}/merge", _merge),
    ("POST", rf"{_PULL}/requested_reviewers", _ask),
    ("GET", rf"{_REPOSITORY}/labels", _labels),
    ("POST", rf"{_REPOSITORY}/labels", _make),
    ("POST", rf"{_ISSUE}/labels", _label),
    ("POST", rf"{_ISSUE}/comments", _comment),
)
