"""How GitLab answers: https://docs.gitlab.com/api/merge_requests/."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from updater.demo.forge.repository import Hosted, No, Pull
from updater.demo.services.base import Answered, say

if TYPE_CHECKING:
    from updater.demo.forge.server import Asked, StandIn

PREFIX = "/api/v4"
_LIST = r"/projects/(?P<project>[^/]+)/merge_requests"
_ONE = rf"{_LIST}/(?P<number>[0-9]+)"
_STATES = {"open": "opened", "closed": "closed", "merged": "merged"}

Route = Callable[["StandIn", Hosted, "Asked", int], Answered]


def answer(forge: StandIn, asked: Asked) -> Answered:
    """Answer one question."""
    if not forge.door.knows(asked.token):
        return say({"message": "401 Unauthorized"}, 401)
    if asked.path == "/users" and asked.method == "GET":
        return _users(forge, asked)
    for method, pattern, route in ROUTES:
        match = re.fullmatch(pattern, asked.path)
        if match and method == asked.method:
            hosted = forge.hosted.get(unquote(match["project"]))
            if hosted is None:
                return say({"message": "404 Project Not Found"}, 404)
            try:
                return route(forge, hosted, asked, int(match.groupdict().get("number") or 0))
            except No as err:
                return _no(err)
    return say({"error": "404 Not Found"}, 404)


def _no(err: No) -> Answered:
    status, message = {
        "absent": (404, "404 Not found"),
        "branch": (400, {"source_branch": ["does not exist"]}),
        "empty": (422, ["No changes between the branches"]),
        "exists": (409, [f"Another open merge request already exists for this source branch: !{err.number}"]),
        "moved": (409, "SHA does not match HEAD of source branch"),
        "done": (405, "405 Method Not Allowed"),
        "checks": (405, "405 Method Not Allowed"),
        "conflict": (422, "Branch cannot be merged"),
    }[err.why]
    return say({"message": message}, int(str(status)))


def _users(forge: StandIn, asked: Asked) -> Answered:
    wanted = asked.query.get("username", "").lower()
    people = {name: number for hosted in forge.hosted.values() for name, number in hosted.people.items()}
    found = [{"id": number, "username": name} for name, number in people.items() if name.lower() == wanted]
    return say(found)


def _shown(hosted: Hosted, pull: Pull) -> dict[str, Any]:
    def time(value: Any) -> str | None:
        return value.isoformat(timespec="milliseconds") if value else None

    merged = pull.state == "merged"
    return {
        "id": 8_000_000 + pull.number, "iid": pull.number, "project_id": hosted.id,
        "title": pull.title, "description": pull.body, "state": _STATES[pull.state],
        "created_at": time(pull.opened), "updated_at": time(pull.updated),
        "merged_at": time(pull.done) if merged else None, "closed_at": None if merged else time(pull.done),
        "source_branch": pull.branch, "target_branch": pull.target,
        "source_project_id": hosted.id, "target_project_id": hosted.id,
        "author": {"id": 13, "username": hosted.author},
        "reviewers": [{"id": hosted.people[one], "username": one} for one in pull.reviewers],
        "labels": sorted(pull.labels), "draft": False, "merge_when_pipeline_succeeds": pull.auto is not None,
        "sha": pull.head, "merge_commit_sha": pull.merged if merged and hosted.style == "merge" else None,
        "squash_commit_sha": pull.merged if merged and hosted.style == "squash" else None,
        "web_url": f"{hosted.url}/-/merge_requests/{pull.number}",
        "head_pipeline": None if hosted.checks == "none" else {"id": 1, "status": hosted.checks},
    }  # fmt: skip


def _list(forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    wanted = asked.query
    found = [
        pull for pull in hosted.look()
        if wanted.get("source_branch") in {None, pull.branch} and wanted.get("target_branch") in {None, pull.target}
        and wanted.get("state", "all") in {"all", _STATES[pull.state]}
    ]  # fmt: skip
    page, links = forge.cut(found, asked, "per_page")
    return say([_shown(hosted, pull) for pull in page], 200, *links)


def _open(_forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    body = asked.body
    pull = hosted.open(body["source_branch"], body["target_branch"], body["title"], body.get("description") or "")
    return say(_shown(hosted, pull), 201)


def _get(_forge: StandIn, hosted: Hosted, _asked: Asked, number: int) -> Answered:
    return say(_shown(hosted, hosted.find(number)))


def _change(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    body = asked.body
    pull = hosted.revise(number, body.get("title"), body.get("description"))
    for name in filter(None, str(body.get("add_labels") or "").split(",")):
        hosted.labels.setdefault(name, 500 + len(hosted.labels))  # it makes those that are missing
        if name not in pull.labels:
            pull.labels.append(name)
    if "reviewer_ids" in body:  # in place of those who were asked
        pull.reviewers = [name for name, number in hosted.people.items() if number in body["reviewer_ids"]]
    if body.get("state_event") == "close":
        hosted.close(number)
    return say(_shown(hosted, pull))


def _note(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    hosted.find(number).comments.append(asked.body["body"])
    return say({"id": 1, "body": asked.body["body"]}, 201)


def _merge(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull, body = hosted.find(number), asked.body
    if pull.state != "open" or hosted.checks == "failure":
        raise No("done")
    if body.get("sha") not in {None, pull.head}:
        raise No("moved")
    if hosted.checks == "pending" and (body.get("auto_merge") or body.get("merge_when_pipeline_succeeds")):
        pull.auto = hosted.style
    else:
        hosted.merge(number)
    return say(_shown(hosted, pull))


ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", _LIST, _list),
    ("POST", _LIST, _open),
    ("GET", _ONE, _get),
    ("PUT", _ONE, _change),
    ("PUT", rf"{_ONE}/merge", _merge),
    ("POST", rf"{_ONE}/notes", _note),
)
