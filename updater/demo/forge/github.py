"""How GitHub Enterprise Server answers: https://docs.github.com/en/rest and its GraphQL API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from updater.demo.forge.repository import Hosted, No, Pull, Style
from updater.demo.services.base import Answered, say

if TYPE_CHECKING:
    from updater.demo.forge.server import Asked, StandIn

PREFIX = "/api/v3"
GRAPHQL = "/api/graphql"
_REPOSITORY = r"/repos/(?P<repository>[^/]+/[^/]+)"
_PULL = rf"{_REPOSITORY}/pulls/(?P<number>[0-9]+)"
_ISSUE = rf"{_REPOSITORY}/issues/(?P<number>[0-9]+)"

Route = Callable[["StandIn", Hosted, "Asked", int], Answered]


def answer(forge: StandIn, asked: Asked) -> Answered:
    """Answer one question."""
    if asked.path.startswith("/app/") or asked.path.endswith("/installation"):
        return _app(forge, asked)
    if not asked.token:
        return error(401, "Requires authentication")
    if not forge.door.knows(asked.token):
        return error(401, "Bad credentials")
    if asked.path == GRAPHQL:
        return _graphql(forge, asked)
    for method, pattern, route in ROUTES:
        match = re.fullmatch(pattern, asked.path)
        if match and method == asked.method:
            hosted = forge.hosted.get(match["repository"])
            if hosted is None or not forge.door.knows(asked.token, hosted.name):
                break
            try:
                return route(forge, hosted, asked, int(match.groupdict().get("number") or 0))
            except No as err:
                return _no(err, hosted, asked)
    return error(404, "Not Found")


def error(status: int, message: str, *errors: str, header: tuple[tuple[str, str], ...] = ()) -> Answered:
    """Return a refusal."""
    said: dict[str, Any] = {
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": str(status),
    }
    if errors:
        said["errors"] = [{"resource": "PullRequest", "code": "custom", "message": one} for one in errors]
    return say(said, status, *header)


def _no(err: No, hosted: Hosted, asked: Asked) -> Answered:
    branch = asked.body.get("head", "")
    return {
        "absent": lambda: error(404, "Not Found"),
        "branch": lambda: say({"message": "Validation Failed", "errors": [
            {"resource": "PullRequest", "field": "head", "code": "invalid"}]}, 422),
        "empty": lambda: error(422, "Validation Failed", f"No commits between {asked.body.get('base')} and {branch}"),
        "exists": lambda: error(
            422, "Validation Failed", f"A pull request already exists for {hosted.name.partition('/')[0]}:{branch}."),
        "moved": lambda: error(409, "Head branch was modified. Review and try the merge again."),
        "done": lambda: error(405, "Pull Request is not mergeable"),
        "checks": lambda: error(405, 'Required status check "ci" is expected.'),
        "conflict": lambda: error(405, "Pull Request is not mergeable"),
    }[err.why]()  # fmt: skip


def _shown(hosted: Hosted, pull: Pull) -> dict[str, Any]:
    owner, _, name = hosted.name.partition("/")
    repository = {"id": hosted.id, "name": name, "full_name": hosted.name, "owner": {"login": owner}}
    time = "%Y-%m-%dT%H:%M:%SZ"
    done = pull.done.strftime(time) if pull.done else None
    return {
        "id": 9_000_000 + pull.number, "node_id": f"PR_{hosted.id}_{pull.number}", "number": pull.number,
        "html_url": f"{hosted.url}/pull/{pull.number}", "state": "open" if pull.state == "open" else "closed",
        "locked": False, "draft": False, "title": pull.title, "body": pull.body or None,
        "user": {"login": hosted.author, "id": 13, "type": "Bot"},
        "created_at": pull.opened.strftime(time), "updated_at": pull.updated.strftime(time),
        "closed_at": done, "merged_at": done if pull.state == "merged" else None,
        "merge_commit_sha": pull.merged or "0" * 39 + "1",
        "labels": [{"id": hosted.labels[one], "name": one, "color": "ededed"} for one in pull.labels],
        "requested_reviewers": [{"login": one, "id": hosted.people[one]} for one in pull.reviewers],
        "requested_teams": [{"slug": one} for one in pull.teams],
        "head": {"label": f"{owner}:{pull.branch}", "ref": pull.branch, "sha": pull.head, "repo": repository},
        "base": {"label": f"{owner}:{pull.target}", "ref": pull.target, "sha": hosted.tip(pull.target),
                 "repo": repository},
        "auto_merge": {"merge_method": pull.auto} if pull.auto else None,
    }  # fmt: skip


def _list(forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    wanted = asked.query
    head = wanted.get("head", "").split(":")
    found = [
        pull for pull in hosted.look()
        if head in ([""], [hosted.name.partition("/")[0], pull.branch])
        and wanted.get("base") in {None, pull.target}
        and wanted.get("state", "open") in {"all", "open" if pull.state == "open" else "closed"}
    ]  # fmt: skip
    page, links = forge.cut(found, asked, "per_page")
    return say([_shown(hosted, pull) for pull in page], 200, *links)


def _open(_forge: StandIn, hosted: Hosted, asked: Asked, _: int) -> Answered:
    body = asked.body
    branch = body["head"].rpartition(":")[2]
    return say(_shown(hosted, hosted.open(branch, body["base"], body["title"], body.get("body") or "")), 201)


def _get(_forge: StandIn, hosted: Hosted, _asked: Asked, number: int) -> Answered:
    return say(_shown(hosted, hosted.find(number)))


def _change(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull = hosted.revise(number, asked.body.get("title"), asked.body.get("body"))
    if asked.body.get("state") == "closed":
        hosted.close(number)
    return say(_shown(hosted, pull))


def _merge(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull = hosted.merge(number, asked.body.get("merge_method", "merge"), asked.body.get("sha", ""))
    return say({"sha": pull.merged, "merged": True, "message": "Pull Request successfully merged"})


def _label(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull = hosted.find(number)
    for name in asked.body["labels"]:
        hosted.labels.setdefault(name, 500 + len(hosted.labels))  # it makes those that are missing
        if name not in pull.labels:
            pull.labels.append(name)
    return say([{"id": hosted.labels[name], "name": name} for name in pull.labels])


def _comment(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    hosted.find(number).comments.append(asked.body["body"])
    return say({"id": 1, "body": asked.body["body"]}, 201)


def _ask(_forge: StandIn, hosted: Hosted, asked: Asked, number: int) -> Answered:
    pull, users, teams = hosted.find(number), asked.body.get("reviewers", []), asked.body.get("team_reviewers", [])
    if hosted.author in users:
        return error(422, "Review cannot be requested from pull request author.")
    if not set(users) <= set(hosted.people) or not set(teams) <= hosted.teams:
        return error(
            422, "Reviews may only be requested from collaborators. One or more of the users or teams you specified "
            f"is not a collaborator of the {hosted.name} repository.",
        )  # fmt: skip
    pull.reviewers += [one for one in users if one not in pull.reviewers]
    pull.teams += [one for one in teams if one not in pull.teams]
    return say(_shown(hosted, pull), 201)


ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", rf"{_REPOSITORY}/pulls", _list),
    ("POST", rf"{_REPOSITORY}/pulls", _open),
    ("GET", _PULL, _get),
    ("PATCH", _PULL, _change),
    ("PUT", rf"{_PULL}/merge", _merge),
    ("POST", rf"{_PULL}/requested_reviewers", _ask),
    ("POST", rf"{_ISSUE}/labels", _label),
    ("POST", rf"{_ISSUE}/comments", _comment),
)


def _app(forge: StandIn, asked: Asked) -> Answered:
    """Answer an app, which proves itself anew each time."""
    app = forge.door.app
    if app is None or (wrong := app.proves(asked.token, forge.door.now())):
        return error(401, wrong if app else "A JSON web token could not be decoded")
    if match := re.fullmatch(rf"{_REPOSITORY}/installation", asked.path):
        found = app.installations.get(match["repository"])
        return say({"id": found, "app_id": app.id}) if found else error(404, "Not Found")
    match = re.fullmatch(r"/app/installations/([0-9]+)/access_tokens", asked.path)
    reached = {name for name, number in app.installations.items() if match and number == int(match[1])}
    if not reached or asked.method != "POST":
        return error(404, "Not Found")
    named = asked.body.get("repositories")
    wanted = reached if named is None else {name for name in reached if name.rpartition("/")[2] in named}
    if not wanted:
        return error(422, "There is at least one repository that does not exist or is not accessible")
    token, until = forge.door.issue(wanted)
    return say({"token": token, "expires_at": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "permissions": {"contents": "write", "pull_requests": "write"}}, 201)  # fmt: skip


def _graphql(forge: StandIn, asked: Asked) -> Answered:
    """Answer the two questions that auto-merge needs; no GraphQL is read, only which of them it is."""
    query, given = str(asked.body.get("query")), asked.body.get("variables", {})
    if "enablePullRequestAutoMerge" in query:
        wanted = given["input"]
        _, repository, number = wanted["pullRequestId"].split("_")
        hosted = next(one for one in forge.hosted.values() if one.id == int(repository))
        pull = hosted.find(int(number))
        if why := _not_later(hosted, pull, wanted.get("expectedHeadOid")):
            return _unprocessable("enablePullRequestAutoMerge", why)
        styles: dict[str, Style] = {"MERGE": "merge", "SQUASH": "squash", "REBASE": "rebase"}
        pull.auto = styles[wanted["mergeMethod"]]
        enabled = {"pullRequest": {"autoMergeRequest": {"enabledAt": "2026-01-01T00:00:00Z"}}}
        return say({"data": {"enablePullRequestAutoMerge": enabled}})
    found = forge.hosted.get(f"{given['owner']}/{given['name']}")
    if found is None or given["number"] not in found.pulls:
        return _unprocessable("repository", "Could not resolve to a Repository", "NOT_FOUND")
    pull = found.find(given["number"])
    rollup = None if found.checks == "none" else {"state": found.checks.upper()}
    return say({"data": {"repository": {
        "autoMergeAllowed": found.auto_merge, "viewerDefaultMergeMethod": found.style.upper(),
        "pullRequest": {
            "id": f"PR_{found.id}_{pull.number}", "mergeStateStatus": _status(found, pull),
            "autoMergeRequest": {"enabledAt": "2026-01-01T00:00:00Z"} if pull.auto else None,
            "commits": {"nodes": [{"commit": {"oid": pull.head, "statusCheckRollup": rollup}}]},
        },
    }}})  # fmt: skip


def _status(hosted: Hosted, pull: Pull) -> str:
    if hosted.conflicts(pull):
        return "DIRTY"
    if hosted.required and hosted.checks != "success":
        return "BLOCKED"
    return "CLEAN" if hosted.checks in {"none", "success"} else "UNSTABLE"


def _not_later(hosted: Hosted, pull: Pull, head: str | None) -> str:
    """Return why a request cannot be merged later; empty where it can."""
    status = _status(hosted, pull)
    if not hosted.auto_merge:
        return "Auto merge is not allowed for this repository"
    if status in {"CLEAN", "UNSTABLE"}:
        return f"Pull request Pull request is in {status.lower()} status"
    return "The head of the pull request was changed" if head and head != pull.head else ""


def _unprocessable(path: str, message: str, kind: str = "UNPROCESSABLE") -> Answered:
    return say({"data": {path: None}, "errors": [{"type": kind, "path": [path], "message": message}]})
