"""A small OpenID Connect provider on loopback: what a login needs, with signed tokens, and ways to go wrong."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "updater", "s3cret-of-the-provider"
GOOD: dict[str, Any] = {"sub": "u-1", "preferred_username": "grace", "groups": ["platform", "dev"]}


@dataclass
class Code:
    """What was asked for, until it is traded for a token."""

    asked: dict[str, str]
    claims: dict[str, Any]


class Provider:
    """Knows one client and one person; a context manager. `spoil` changes the claims of the next ID tokens.

    A browser that comes to it is led back at once: the person is logged in there. By the name `localhost` it is another
    site than 127.0.0.1.
    """

    def __init__(self, name: str = "127.0.0.1") -> None:
        self.key, self.kid = _key(), "first"
        self.claims: dict[str, Any] = dict(GOOD)
        self.spoil: Callable[[dict[str, Any]], object] = lambda _claims: None
        self.sign: Callable[[dict[str, Any]], str] = self._signed
        self.metadata: dict[str, Any] = {}
        self.userinfo: dict[str, Any] | None = None
        self.asked: list[str] = []
        self.codes: dict[str, Code] = {}
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.issuer = f"http://{name}:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def turn_key(self) -> None:
        """Sign with another key from now on."""
        self.key, self.kid = _key(), secrets.token_hex(4)

    def log_in(self, url: str) -> str:
        """Do as a person at the provider: return where the browser is led back to, with its query."""
        query = dict(parse_qsl(urlsplit(url).query))
        expected = {"response_type": "code", "client_id": CLIENT, "code_challenge_method": "S256"}
        assert {name: query.get(name) for name in expected} == expected
        assert "openid" in query["scope"].split()
        assert len(query["state"]) >= 32
        assert len(query["nonce"]) >= 32
        assert len(query["code_challenge"]) == 43
        code = secrets.token_urlsafe(16)
        self.codes[code] = Code(query, dict(self.claims))
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def _get(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        path = urlsplit(handler.path).path
        self.asked.append(path)
        if path == "/authorize":
            handler.send_response(302)
            handler.send_header("Location", self.log_in(handler.path))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo", "scopes_supported": ["openid", "profile", "groups"],
            } | self.metadata,
            "/keys": {"keys": [_public(self.key, self.kid)]},
        }  # fmt: skip
        if path == "/userinfo" and self.userinfo is not None:
            assert handler.headers["Authorization"].startswith("Bearer at-")
            documents[path] = self.userinfo
        _answer(handler, 200 if path in documents else 404, documents.get(path, {}))

    def _post(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        login = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        code = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        if handler.headers["Authorization"] != login:
            _answer(handler, 401, {"error": "invalid_client"})
        elif (
            code is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != code.asked["redirect_uri"]
            or challenge != code.asked["code_challenge"]
        ):
            _answer(handler, 400, {"error": "invalid_grant", "error_description": "code or verifier"})
        else:
            now = int(time.time())
            claims = {
                "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": code.asked["nonce"],
            } | code.claims  # fmt: skip
            self.spoil(claims)
            token = f"at-{secrets.token_hex(8)}"
            _answer(handler, 200, {"access_token": token, "token_type": "Bearer", "id_token": self.sign(claims)})

    def _signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.kid})


def _new() -> rsa.RSAPrivateKey:
    return _key()


@dataclass
class Forger:
    """Signs with a key of its own, under the name of the provider's."""

    provider: Provider
    key: rsa.RSAPrivateKey = field(default_factory=_new)

    def __call__(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.provider.kid})


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _public(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return found | {"kid": kid, "use": "sig", "alg": "RS256"}


def _answer(handler: http.server.BaseHTTPRequestHandler, status: int, document: object) -> None:
    body = json.dumps(document).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
