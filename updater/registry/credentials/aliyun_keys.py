"""Keys of Alibaba Cloud: where they come from, and how a request is signed with them (ACS3-HMAC-SHA256).

https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature
https://help.aliyun.com/zh/ram/developer-reference/api-sts-2015-04-01-assumerolewithoidc
https://help.aliyun.com/zh/ecs/user-guide/view-instance-metadata
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

from pydantic import AwareDatetime, BaseModel, Field

from updater.errors import RegistryError
from updater.registry.credentials.asking import NEAR, Token, ask, done, near, passing, read
from updater.secrets import SecretRef, remember

if TYPE_CHECKING:
    from updater.transport.http import Http

ALGORITHM = "ACS3-HMAC-SHA256"
PREFIX = "ALIBABA_CLOUD_"
SESSION = "updater"  # how what we do is called in the account's audit trail
ROLES = "/latest/meta-data/ram/security-credentials/"
TOKEN_SECONDS = 60

_Printable = Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", max_length=256)]


@dataclass(frozen=True, slots=True)
class Keys:
    """An AccessKey; a temporary one has a token beside it and ends in `seconds` from when it came."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    seconds: float = float("inf")

    @property
    def fleeting(self) -> tuple[str, ...]:
        """What is a secret only until the next keys come."""
        return (self.secret, self.token) if self.seconds < float("inf") else ()


class _Lent(BaseModel):
    """Temporary keys, as STS and the metadata service spell them."""

    AccessKeyId: _Printable
    AccessKeySecret: _Printable
    SecurityToken: Token
    Expiration: AwareDatetime

    def keys(self) -> Keys:
        seconds = (self.Expiration - datetime.now(UTC)).total_seconds()
        return Keys(self.AccessKeyId, self.AccessKeySecret, self.SecurityToken, seconds)


class _Assumed(BaseModel):
    Credentials: _Lent


def from_environment() -> Keys | None:
    """Return the keys of the environment; None where there are none. Raises RegistryError for half of them."""
    names = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
    key_id, secret, token = (os.environ.get(f"{PREFIX}{name}", "") for name in names)
    if not key_id and not secret:
        return None
    if not key_id or not secret:
        raise RegistryError(f"one half of an AccessKey; expected ${PREFIX}ACCESS_KEY_ID and ${PREFIX}ACCESS_KEY_SECRET")
    remember(secret)
    remember(token)
    return Keys(key_id, secret, token)


def of_service_account(http: Http, sts: str, deadline: float) -> Keys | None:
    """Return the keys of a service account's RAM role (RRSA of ACK); None where the environment names none."""
    names = ("ROLE_ARN", "OIDC_PROVIDER_ARN", "OIDC_TOKEN_FILE")
    role, provider, file = (os.environ.get(f"{PREFIX}{name}", "") for name in names)
    if not (role and provider and file):
        return None
    proof = SecretRef(f"file:{Path(file).absolute()}").resolve()
    form = {
        "Action": "AssumeRoleWithOIDC", "Version": "2015-04-01", "Format": "JSON", "SignatureNonce": nonce(),
        "Timestamp": now(), "RoleArn": role, "OIDCProviderArn": provider, "RoleSessionName": SESSION,
        "OIDCToken": proof,
    }  # fmt: skip
    with passing(proof):
        answer = ask(http, "POST", f"{sts}/", form=form, deadline=deadline)
        return read(_Assumed, done(answer, "POST", _STS), "POST").Credentials.keys()


def of_machine(metadata: str, role: str | None, deadline: float) -> Keys:
    """Return the keys of the RAM role of an ECS instance. Raises RegistryError."""
    with near() as http:

        def get(path: str, token: str) -> bytes:
            headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
            answer = ask(http, "GET", metadata + path, headers=headers, deadline=deadline, reach=NEAR)
            return done(answer, "GET", {}).body

        try:
            given = ask(
                http, "PUT", f"{metadata}/latest/api/token", deadline=deadline, reach=NEAR,
                headers={"X-aliyun-ecs-metadata-token-ttl-seconds": str(TOKEN_SECONDS)},
            )  # fmt: skip
            token = given.body.decode("latin-1").strip() if given.status == 200 else ""  # older ones know no tokens
            if not re.fullmatch(r"[\x21-\x7e]{0,1024}", token):
                raise RegistryError(f"PUT {given.url}: the answer is no token")
            name = role or get(ROLES, token).decode("latin-1").strip()
            if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", name):
                raise RegistryError(f"GET {metadata}{ROLES}: the answer is no name of a RAM role")
            headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
            answer = ask(http, "GET", f"{metadata}{ROLES}{name}", headers=headers, deadline=deadline, reach=NEAR)
            return read(_Lent, done(answer, "GET"), "GET").keys()
        except RegistryError as err:
            raise RegistryError(
                f"no AccessKey: {err}; expected access_key_id and access_key_secret, ${PREFIX}ACCESS_KEY_ID and "
                f"${PREFIX}ACCESS_KEY_SECRET, RRSA, or a machine with a RAM role"
            ) from err


def signed(
    keys: Keys, method: str, base: str, path: str, query: Mapping[str, str], *, action: str, version: str
) -> tuple[str, dict[str, str]]:
    """Return address and headers of a request without a body, signed for now."""
    parts = urlsplit(base)
    headers = {
        "host": parts.netloc,
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "x-acs-date": now(),
        "x-acs-signature-nonce": nonce(),
        "x-acs-version": version,
    }
    headers |= {"x-acs-security-token": keys.token} if keys.token else {}
    names = sorted(headers)
    line = "&".join(f"{quote(key, safe='~')}={quote(query[key], safe='~')}" for key in sorted(query))
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    canonical = "\n".join([method, path, line, lines, ";".join(names), headers["x-acs-content-sha256"]])
    text = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(keys.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"{ALGORITHM} Credential={keys.key_id},SignedHeaders={';'.join(names)},Signature={signature}"
    )
    return f"{parts.scheme}://{parts.netloc}{path}{'?' if line else ''}{line}", headers


def now() -> str:
    """Return the time as the APIs want it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def nonce() -> str:
    """Return what no other request has."""
    return secrets.token_hex(16)


_STS = {
    "AuthenticationFail.OIDCToken.Expired": "the token of the service account has ended; is its file still renewed?",
    "AuthenticationFail": "the identity provider does not trust this token: look at its issuer and audience",
    "EntityNotExist": "the RAM role or the identity provider does not exist",
    "NoPermission": "the RAM role does not trust this service account",
}
