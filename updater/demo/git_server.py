"""A small Git server on loopback: smart HTTP by `git http-backend`, for the demonstration and the tests."""

from __future__ import annotations

import base64
import hmac
import os
import re
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Self, cast
from urllib.parse import unquote

from updater.git.commit import Author, stream

MAX_BODY = 1 << 30  # bytes of one push
_CHUNK = 1 << 16
_AUTHOR = Author("Demo", "demo@localhost")
_CONFIG = """\
[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
[http]
	receivepack = true
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[receive]
	autogc = false
"""


class GitServer:
    """Serves the bare repositories in `folder` at `url`; with a `password`, to that user alone.

    `tls` names a certificate and its key.
    """

    def __init__(
        self,
        folder: Path,
        *,
        username: str = "",
        password: str = "",
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        login = base64.b64encode(f"{username}:{password}".encode()).decode() if password else ""
        self._server = Server(("127.0.0.1", port), folder, f"Basic {login}" if login else "")
        self._scheme = "https" if tls else "http"
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="git-server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the server, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create(self, name: str, files: Mapping[str, bytes] | None = None, branch: str = "main") -> str:
        """Make a repository, with one commit where there are files, and return its URL."""
        create(self.folder / f"{name}.git", files or {}, branch)
        return f"{self.url}/{name}.git"

    def close(self) -> None:
        """Stop serving; requests on their way are cut off."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def create(path: Path, files: Mapping[str, bytes], branch: str = "main") -> None:
    """Make a bare repository that may be pushed to, with one commit where there are files."""
    for part in ("objects/info", "objects/pack", "refs/heads", "hooks"):
        (path / part).mkdir(parents=True)
    (path / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    (path / "config").write_text(_CONFIG)
    if files:
        text = stream(
            f"refs/heads/{branch}", None, files, {}, message="First commit\n", author=_AUTHOR, at=datetime.now(UTC)
        )
        command = ["git", f"--git-dir={path}", "fast-import", "--quiet", "--date-format=raw"]
        subprocess.run(command, input=text, env=environment(), check=True, capture_output=True, timeout=60)


def environment() -> dict[str, str]:
    """Return the environment of git's server side: nothing of ours but where programs are found."""
    fixed = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/dev/null", "LC_ALL": "C"}
    return {"PATH": os.environ.get("PATH", os.defpath)} | fixed


class Server(ThreadingHTTPServer):
    """Listens, and knows the folder and the login."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], folder: Path, login: str) -> None:
        self.folder, self.login = folder, login
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""


class Handler(BaseHTTPRequestHandler):
    """Hands one request to `git http-backend`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _CHUNK
    timeout = 60
    server: Server

    def do_GET(self) -> None:
        """Serve one request for references."""
        self._serve()

    def do_POST(self) -> None:
        """Serve one request with a body."""
        self._serve()

    def log_message(self, *_: Any) -> None:
        """Keep quiet: the demonstration prints what matters."""

    def handle_expect_100(self) -> bool:
        """Let the client go on at once; what we write is buffered."""
        self.send_response_only(100)
        self.end_headers()
        self.wfile.flush()
        return True

    def _serve(self) -> None:
        with tempfile.TemporaryFile() as body:  # whole before git starts, so that neither side waits for the other
            try:
                size = sum(body.write(chunk) for chunk in self._body())
            except ValueError as err:
                self.close_connection = True
                self.send_error(400, str(err))
                return
            if not self.allowed():
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body.seek(0)
            self._run(body, size)

    def allowed(self) -> bool:
        """Say whether the login is right."""
        given = self.headers.get("Authorization", "")
        return not self.server.login or hmac.compare_digest(given.encode(), self.server.login.encode())

    def _body(self) -> Iterator[bytes]:
        """Yield the body in pieces. Raises ValueError where its framing is wrong or it is too large."""
        left = MAX_BODY
        sizes = (
            self._chunk_sizes()
            if self.headers.get("Transfer-Encoding")
            else [int(self.headers.get("Content-Length") or 0)]
        )
        for size in sizes:
            left -= size
            if size < 0 or left < 0:
                raise ValueError("the body is too large, or smaller than nothing")
            while size > 0:
                chunk = self.rfile.read(min(size, _CHUNK))
                if not chunk:
                    raise ValueError("the body ended early")
                size -= len(chunk)  # noqa: PLW2901  what is left of this piece
                yield chunk

    def _chunk_sizes(self) -> Iterator[int]:
        while size := int(self.rfile.readline(32).split(b";")[0], 16):
            yield size
            self.rfile.readline(3)
        while self.rfile.readline(1024).strip():
            pass

    def _run(self, body: IO[bytes], size: int) -> None:
        command, pipe, null = ["git", "http-backend"], subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command, stdin=body, stdout=pipe, stderr=null, env=self._variables(size)) as child:
            try:
                self._answer(cast("BufferedReader", child.stdout))
            except BaseException:
                child.kill()
                raise

    def _variables(self, size: int) -> dict[str, str]:
        path, _, query = self.path.partition("?")
        return environment() | {
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "PATH_INFO": unquote(path),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(size),
            "REMOTE_ADDR": self.client_address[0],
        }

    def _answer(self, output: BufferedReader) -> None:
        headers = dict(_headers(output))
        status = int(headers.pop("Status", "200").split()[0])
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while chunk := output.read1(_CHUNK):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _headers(output: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the headers of a CGI program's answer, up to the empty line."""
    for line in iter(lambda: output.readline(8192).strip(), b""):
        name, _, value = line.decode("latin-1").partition(":")
        if re.fullmatch(r"[A-Za-z-]+", name) and name != "Content-Length":
            yield name, value.strip()
