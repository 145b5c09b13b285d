"""The server: Git and the API of one kind of forge on one port of loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl, urlencode

from updater.demo.forge import gitea, github, gitlab
from updater.demo.forge.door import App, Door, password
from updater.demo.forge.repository import Hosted
from updater.demo.git_server import Handler, Server, create
from updater.demo.services.base import Answered, bearer

Kind = Literal["github", "gitlab", "gitea"]
T = TypeVar("T")
_SHAPES = {"github": github, "gitlab": gitlab, "gitea": gitea}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to the API; the path is below that of the API, and as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    token: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class StandIn:
    """Serves until `close`; a context manager.

    tokens    what logs in at Git, as the password of Basic, and at the API
    app       the GitHub App that may log in
    page      entries of a list at once at most; none of the three gives more than 100, Gitea 50
    script    called for every question to the API; None: behave, else what to answer instead
    asked     what the API was asked, in the order of the questions
    now       the clock of the forge
    """

    def __init__(
        self,
        folder: Path,
        kind: Kind,
        *,
        tokens: Iterable[str] = (),
        app: App | None = None,
        page: int = 50,
        script: Callable[[Asked], Answered | None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int = 0,
    ) -> None:
        self.folder, self.kind, self.page, self.script, self.now = folder, kind, page, script, now
        folder.mkdir(parents=True, exist_ok=True)
        self.door = Door(tokens, app, now)
        self.asked: list[Asked] = []
        self.hosted: dict[str, Hosted] = {}
        self._server = _Server(("127.0.0.1", port), folder, "")
        self._server.forge = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="forge", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the forge, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def api(self) -> str:
        """The address of its API."""
        return f"{self.url}{_SHAPES[self.kind].PREFIX}"

    def create(self, name: str, files: Mapping[str, bytes], branch: str = "main") -> Hosted:
        """Make the repository `owner/name`, with one commit; its clients find it at `url`."""
        bare = self.folder / f"{name}.git"
        create(bare, files, branch)
        self.hosted[name] = Hosted(name, 1000 + len(self.hosted), bare, f"{self.url}/{name}", self.now)
        return self.hosted[name]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, asked: Asked) -> Answered:
        """Answer one question to the API."""
        self.asked.append(asked)
        return self.script(asked) or _SHAPES[self.kind].answer(self, asked)

    def cut(self, entries: Sequence[T], asked: Asked, size: str) -> tuple[list[T], tuple[tuple[str, str], ...]]:
        """Return one page of a list, and the header that leads to the next one."""
        limit = min(int(asked.query.get(size) or 30), self.page)
        page = int(asked.query.get("page") or 1)
        shown = list(entries[(page - 1) * limit : page * limit])
        if page * limit >= len(entries):
            return shown, ()
        query = urlencode({**asked.query, size: limit, "page": page + 1})
        return shown, (("Link", f'<{self.api}{asked.path}?{query}>; rel="next"'),)


class _Server(Server):
    forge: StandIn

    def __init__(self, address: tuple[str, int], folder: Path, login: str) -> None:
        super().__init__(address, folder, login)
        self.RequestHandlerClass = _Handler


class _Handler(Handler):
    server: _Server

    def allowed(self) -> bool:
        """Say whether git may come in: its path names the repository."""
        repository = self.path.lstrip("/").partition(".git/")[0]
        return self.server.forge.door.knows(password(self.headers.get("Authorization", "")), repository)

    def do_GET(self) -> None:
        """Answer a question of git, or of a client of the API."""
        self._either()

    def do_POST(self) -> None:
        """Likewise."""
        self._either()

    def do_PUT(self) -> None:
        """Answer a client of the API."""
        self._either()

    def do_PATCH(self) -> None:
        """Likewise."""
        self._either()

    def _either(self) -> None:
        if not self.path.startswith("/api/"):
            self._serve()
            return
        raw = b"".join(self._body())
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        authorization = headers.get("authorization", "")
        token = authorization.partition(" ")[2] if authorization.lower().startswith("token ") else bearer(self.headers)
        forge = self.server.forge
        below = path.removeprefix(_SHAPES[forge.kind].PREFIX)
        body = body if isinstance(body, dict) else {}
        asked = Asked(self.command, below, dict(parse_qsl(query)), body, headers.get("private-token") or token, headers)
        self._say(forge.answer(asked))

    def _say(self, answer: Answered) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()
