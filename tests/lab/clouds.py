"""Token services of four clouds on loopback: each reads the request as its cloud does, and refuses one that is wrong.

Signatures are computed anew from the bytes that came, after the published descriptions, by nothing that the product
uses. What is left out: every other action, regions (a service is asked at one address), and limits of rate.
`lent` counts the logins that were given, `script` answers in place of the cloud where it returns something.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, quote, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.lab.scripted import Answered, Asked, Scripted, reply

TAGS = {"name": "team/app", "tags": ["1.0", "1.1"]}


class Cloud:
    """The token service of one cloud and a registry beside it, at one address; a context manager."""

    life = 3600.0  # seconds of the next login

    def __init__(self) -> None:
        self.script: Callable[[Asked], Answered] = lambda _: b""
        self.given = count(1)
        self.lent: list[str] = []
        self.refusals: list[str] = []
        self.server = Scripted(self._answer)
        self.host, self.url = self.server.host, self.server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.server.close()

    def answer(self, asked: Asked) -> Answered:
        """Answer as the cloud does. Raises Refused."""
        raise NotImplementedError

    def allowed(self, asked: Asked) -> bool:
        """Say whether the registry takes this login: the one that was lent last, and no other."""
        return bool(self.lent) and asked.headers.get("authorization", "") == basic(self.username, self.lent[-1])

    username = ""
    challenge = 'Basic realm="registry"'

    def lend(self, size: int = 40) -> str:
        """Make another login."""
        self.lent.append(f"lent-{next(self.given)}-".ljust(size, "x"))
        return self.lent[-1]

    def asked(self, path: str) -> list[Asked]:
        """What came for one path."""
        return [asked for asked in self.server.requests if asked.path == path]

    def _answer(self, asked: Asked) -> Answered:
        if asked.path.startswith("/v2/"):
            return reply(200, TAGS) if self.allowed(asked) else reply(401, {}, ("WWW-Authenticate", self.challenge))
        if scripted := self.script(asked):
            return scripted
        try:
            return self.answer(asked)
        except Refused as err:
            self.refusals.append(f"{err.code}: {err}")
            return self.refusal(err)

    def refusal(self, err: Refused) -> bytes:
        """Spell a refusal."""
        return reply(err.status, {"error": err.code, "error_description": str(err)})


class Refused(Exception):
    """The cloud does not do it."""

    def __init__(self, code: str, said: str = "no", status: int = 400) -> None:
        super().__init__(said)
        self.code, self.status = code, status


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def hmac_of(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def expect(true: object, code: str, said: str = "no", status: int = 400) -> None:
    if not true:
        raise Refused(code, said, status)


# --- Amazon -----------------------------------------------------------------------------------------------------------


class Amazon(Cloud):
    """ECR and ECR Public, STS (AssumeRole and AssumeRoleWithWebIdentity), EC2's IMDSv2 and the agent of EKS and ECS.

    Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """

    username = "AWS"
    life = 12 * 3600.0
    targets: ClassVar[dict[str, str]] = {
        "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken": "ecr",
        "SpencerFrontendService.GetAuthorizationToken": "ecr-public",
    }

    def __init__(self) -> None:
        super().__init__()
        self.keys = {"AKIDLONG": "secret-of-the-long-key"}
        self.tokens: dict[str, str] = {}  # of temporary keys
        self.credentials: list[str] = []  # by whom logins were asked for
        self.scopes: list[str] = []  # region and service
        self.imds_token = "imds-session-token"
        self.pod_token = "pod-identity-token"

    def answer(self, asked: Asked) -> Answered:
        if asked.path == "/latest/api/token":
            expect(asked.method == "PUT" and asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds"), "TTL")
            return reply(200, self.imds_token.encode())
        if asked.path.startswith("/latest/meta-data/iam/security-credentials"):
            expect(asked.headers.get("x-aws-ec2-metadata-token") == self.imds_token, "Unauthorized", status=401)
            if asked.path.endswith("/"):
                return reply(200, b"role-of-the-machine")
            expect(asked.path.endswith("/role-of-the-machine"), "NotFound", status=404)
            return reply(200, {"Code": "Success", "Type": "AWS-HMAC"} | self._temporary("AKIDMACHINE", "Token"))
        if asked.path == "/pod":
            expect(asked.headers.get("authorization") == self.pod_token, "Unauthorized", status=401)
            return reply(200, self._temporary("AKIDPOD", "Token"))
        if asked.headers.get("x-amz-target"):
            return self._login(asked)
        return self._assumed(asked)

    def _login(self, asked: Asked) -> bytes:
        service = self.targets.get(asked.headers["x-amz-target"])
        expect(service and asked.method == "POST" and json.loads(asked.body) == {}, "UnknownOperationException")
        self.credentials.append(self._signer(asked, str(service)))
        login = {
            "authorizationToken": basic("AWS", self.lend()).removeprefix("Basic "),
            "expiresAt": time.time() + self.life,
        }
        return reply(200, {"authorizationData": [login] if service == "ecr" else login})

    def _assumed(self, asked: Asked) -> bytes:
        form = asked.form
        if form["Action"] == "AssumeRoleWithWebIdentity":
            expect(form["WebIdentityToken"] == "token-of-the-pod", "InvalidIdentityToken")
            key = "AKIDWEB"
        else:
            expect(form["Action"] == "AssumeRole", "InvalidAction")
            self.credentials.append(self._signer(asked, "sts"))
            key = "AKIDROLE"
        expect(form["RoleArn"].startswith("arn:aws:iam::123456789012:role/"), "AccessDenied", status=403)
        keys = self._temporary(key, "SessionToken")
        keys["SecretAccessKey"], keys["SessionToken"] = keys["SecretAccessKey"], keys["SessionToken"]
        fields = {"AccessKeyId": key, **{k: keys[k] for k in ("SecretAccessKey", "SessionToken", "Expiration")}}
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        action = form["Action"]
        space = "https://sts.amazonaws.com/doc/2011-06-15/"
        body = (
            f'<{action}Response xmlns="{space}"><{action}Result><AssumedRoleUser><Arn>a</Arn><AssumedRoleId>b'
            f"</AssumedRoleId></AssumedRoleUser><Credentials>{inner}</Credentials></{action}Result></{action}Response>"
        )
        return reply(200, body.encode(), ("Content-Type", "text/xml"))

    def _temporary(self, key: str, token: str) -> dict[str, str]:
        self.keys[key] = f"secret-of-{key}"
        self.tokens[key] = f"session-of-{key}"
        end = datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"AccessKeyId": key, "SecretAccessKey": self.keys[key], token: self.tokens[key], "Expiration": end}

    def _signer(self, asked: Asked, service: str) -> str:
        """Return whose signature it is, computed from what came."""
        scheme, _, rest = asked.headers.get("authorization", "").partition(" ")
        expect(scheme == "AWS4-HMAC-SHA256", "MissingAuthenticationToken", status=403)
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key, date, region, signed_for, end = parts["Credential"].split("/")
        expect(key in self.keys, "UnrecognizedClientException", "The security token is invalid", 403)
        expect((signed_for, end) == (service, "aws4_request"), "InvalidSignatureException", "scope", 403)
        stamp = asked.headers["x-amz-date"]
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        expect(abs((datetime.now(UTC) - at).total_seconds()) < 300 and stamp[:8] == date, "RequestExpired", status=403)
        names = parts["SignedHeaders"].split(";")
        expect({"host", "x-amz-date"} <= set(names), "InvalidSignatureException", "headers", 403)
        expect(asked.headers.get("x-amz-security-token", "") == self.tokens.get(key, ""), "ExpiredToken", status=403)
        lines = "".join(f"{name}:{' '.join(asked.headers[name].split())}\n" for name in names)
        url = urlsplit(asked.target)
        query = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(parse_qsl(url.query)))
        canonical = "\n".join([asked.method, url.path, query, lines, ";".join(names), sha(asked.body)])
        scope = f"{date}/{region}/{service}/aws4_request"
        secret = f"AWS4{self.keys[key]}".encode()
        for text in (date, region, service, "aws4_request"):
            secret = hmac_of(secret, text)
        wanted = hmac_of(secret, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sha(canonical.encode())}").hex()
        expect(hmac.compare_digest(wanted, parts["Signature"]), "InvalidSignatureException", "signature", 403)
        self.scopes.append(f"{region}/{service}")
        return key

    def refusal(self, err: Refused) -> bytes:
        if err.code in {"InvalidIdentityToken", "AccessDenied", "InvalidAction"}:  # STS speaks XML
            body = f"<ErrorResponse><Error><Code>{err.code}</Code><Message>{err}</Message></Error></ErrorResponse>"
            return reply(err.status, body.encode(), ("Content-Type", "text/xml"))
        return reply(err.status, {"__type": err.code, "message": str(err)})


# --- Google -----------------------------------------------------------------------------------------------------------


class Google(Cloud):
    """Google's token endpoint, which knows one service account, and the metadata server of a machine.

    https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests
    """

    username = "oauth2accesstoken"
    account = "updater@lab.iam.gserviceaccount.com"
    private = rsa.generate_private_key(65537, 2048)

    @property
    def key_file(self) -> dict[str, str]:
        return {
            "type": "service_account", "project_id": "lab", "private_key_id": "0123abcd",
            "private_key": self.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode(),
            "client_email": self.account, "token_uri": "https://oauth2.googleapis.com/token",
        }  # fmt: skip

    def answer(self, asked: Asked) -> Answered:
        if asked.path == "/computeMetadata/v1/instance/service-accounts/default/token":
            expect(asked.method == "GET" and asked.headers.get("metadata-flavor") == "Google", "Forbidden", status=403)
            return reply(200, self._token(), ("Metadata-Flavor", "Google"))
        expect((asked.method, asked.path) == ("POST", "/token"), "not_found", status=404)
        expect(asked.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type")
        try:
            claims = jwt.decode(
                asked.form["assertion"], self.private.public_key(), algorithms=["RS256"], issuer=self.account,
                audience=f"{self.url}/token", options={"require": ["exp", "iat", "iss", "aud"]},
            )  # fmt: skip
        except jwt.InvalidTokenError as err:
            raise Refused("invalid_grant", f"Invalid JWT: {type(err).__name__}") from err
        expect(claims["exp"] - claims["iat"] <= 3600, "invalid_grant", "Invalid JWT: too long")
        expect(claims["scope"] == "https://www.googleapis.com/auth/cloud-platform", "invalid_scope")
        expect(jwt.get_unverified_header(asked.form["assertion"])["kid"] == "0123abcd", "invalid_grant", "Invalid kid")
        return reply(200, self._token())

    def _token(self) -> dict[str, Any]:
        return {"access_token": self.lend(), "expires_in": int(self.life), "token_type": "Bearer"}


# --- Azure ------------------------------------------------------------------------------------------------------------


class Azure(Cloud):
    """Entra ID for one application, the metadata service of a machine, and the exchange of a registry.

    The registry's token service takes the refresh token in the OAuth 2 form that clients of the distribution API use.
    https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
    """

    tenant, client, secret = "lab-tenant", "lab-client", "secret-of-the-application"
    assertion = "token-of-the-service-account"
    resource = "https://containerregistry.azure.net"
    life = 10_800.0

    def __init__(self) -> None:
        super().__init__()
        self.access: list[str] = []
        self.service = self.host
        self.challenge = f'Bearer realm="{self.url}/oauth2/token",service="{self.host}"'

    def allowed(self, asked: Asked) -> bool:
        return bool(self.lent) and asked.headers.get("authorization") == f"Bearer for-{self.lent[-1]}"

    def answer(self, asked: Asked) -> Answered:
        match asked.method, asked.path:
            case "POST", "/lab-tenant/oauth2/v2.0/token":
                return self._entra(asked.form)
            case "GET", "/metadata/identity/oauth2/token":
                expect(asked.headers.get("metadata") == "true", "invalid_request", "Required metadata header missing")
                expect(asked.query["api-version"] == ["2018-02-01"], "invalid_request", "version")
                expect(asked.query["resource"] == [self.resource], "invalid_resource")
                expect(asked.query.get("client_id", [self.client]) == [self.client], "invalid_request", "no identity")
                return reply(200, {"access_token": self._access(), "expires_in": "86399", "token_type": "Bearer"})
            case "POST", "/oauth2/exchange":
                return self._exchange(asked.form)
            case "POST", "/oauth2/token":
                form = asked.form
                expect(form["grant_type"] == "refresh_token" and form["service"] == self.host, "UNSUPPORTED")
                expect(form["refresh_token"] == self.lent[-1], "UNAUTHORIZED", status=401)
                return reply(200, {"access_token": f"for-{self.lent[-1]}"})
            case _:
                raise Refused("not_found", status=404)

    def _entra(self, form: dict[str, str]) -> bytes:
        expect(form["grant_type"] == "client_credentials", "unsupported_grant_type")
        expect(form["client_id"] == self.client, "unauthorized_client")
        expect(form["scope"] == f"{self.resource}/.default", "invalid_scope")
        if "client_assertion" in form:
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            expect(form["client_assertion_type"] == kind, "invalid_request")
            expect(form["client_assertion"] == self.assertion, "invalid_client", "assertion")
        else:
            expect(form["client_secret"] == self.secret, "invalid_client", "AADSTS7000215: Invalid client secret", 401)
        return reply(200, {"access_token": self._access(), "expires_in": 3599, "token_type": "Bearer"})

    def _access(self) -> str:
        self.access.append(f"entra-{len(self.access)}-access-token")
        return self.access[-1]

    def _exchange(self, form: dict[str, str]) -> bytes:
        expect(form["grant_type"] == "access_token", "UNSUPPORTED")
        expect(form["service"] == self.service, "UNAUTHORIZED", "service", 401)
        expect(form.get("tenant", self.tenant) == self.tenant, "UNAUTHORIZED", "tenant", 401)
        expect(self.access and form["access_token"] == self.access[-1], "UNAUTHORIZED", "token", 401)
        now = int(time.time())
        self.lent.append(jwt.encode({"iat": now, "exp": now + self.life, "jti": next(self.given)}, "k" * 32))
        return reply(200, {"refresh_token": self.lent[-1]})

    def refusal(self, err: Refused) -> bytes:
        if err.code.isupper():  # the registry's own way
            return reply(err.status, {"errors": [{"code": err.code, "message": str(err)}]})
        return super().refusal(err)


# --- Alibaba Cloud ----------------------------------------------------------------------------------------------------


class Alibaba(Cloud):
    """ACR's two APIs, STS for service accounts, and the metadata service of a machine.

    ACS3-HMAC-SHA256: https://help.aliyun.com/zh/sdk/product-overview/v3-request-structure-and-signature
    """

    username = "cr_temp_user"
    instance = "cri-lab"
    proof = "token-of-the-service-account"
    hardened = True  # the metadata service wants a token

    def __init__(self) -> None:
        super().__init__()
        self.keys = {"LTAI-long": "secret-of-the-long-key"}
        self.tokens: dict[str, str] = {}
        self.callers: list[str] = []
        self.nonces: set[str] = set()

    def answer(self, asked: Asked) -> Answered:
        if asked.path.startswith("/latest/"):
            return self._machine(asked)
        if asked.body:
            return self._assumed(asked.form)
        self.callers.append(self._signer(asked))
        version = asked.headers["x-acs-version"]
        expect(asked.headers["x-acs-action"] == "GetAuthorizationToken", "InvalidAction.NotFound", status=404)
        end = int((time.time() + self.life) * 1000)
        if (asked.method, asked.path, version) == ("GET", "/tokens", "2016-06-07"):
            data = {"authorizationToken": self.lend(), "expireDate": end, "tempUserName": self.username}
            return reply(200, {"data": data, "requestId": "r"})
        expect((asked.method, asked.path, version) == ("POST", "/", "2018-12-01"), "InvalidVersion", status=404)
        if asked.query["InstanceId"] != [self.instance]:
            return reply(200, {"IsSuccess": False, "Code": "INSTANCE_NOT_EXIST", "RequestId": "r"})
        data = {"AuthorizationToken": self.lend(), "ExpireTime": end, "TempUsername": self.username}
        return reply(200, data | {"IsSuccess": True, "Code": "success", "RequestId": "r"})

    def _machine(self, asked: Asked) -> bytes:
        if asked.path == "/latest/api/token":
            expect(self.hardened, "NotFound", status=404)
            expect(asked.method == "PUT" and asked.headers.get("x-aliyun-ecs-metadata-token-ttl-seconds"), "TTL")
            return reply(200, b"ecs-metadata-token")
        given = asked.headers.get("x-aliyun-ecs-metadata-token")
        expect(given == "ecs-metadata-token" or not self.hardened, "Forbidden", status=403)
        name = asked.path.removeprefix("/latest/meta-data/ram/security-credentials/")
        if name == "":
            return reply(200, b"role-of-the-machine")
        expect(name == "role-of-the-machine", "NotFound", status=404)
        return reply(200, self._temporary("STS.machine") | {"Code": "Success"})

    def _assumed(self, form: dict[str, str]) -> bytes:
        expect((form["Action"], form["Version"]) == ("AssumeRoleWithOIDC", "2015-04-01"), "InvalidAction")
        expect(
            form["OIDCToken"] == self.proof, "AuthenticationFail.OIDCToken.Expired", "This JSON Web Token has expired."
        )
        expect(form["RoleArn"] == "acs:ram::1:role/lab" and form["OIDCProviderArn"] == "acs:ram::1:oidc-provider/lab",
               "EntityNotExist.Role", status=404)  # fmt: skip
        expect(form["Format"] == "JSON" and form["SignatureNonce"] and form["Timestamp"], "MissingParameter")
        return reply(200, {"RequestId": "r", "Credentials": self._temporary("STS.pod")})

    def _temporary(self, key: str) -> dict[str, str]:
        self.keys[key], self.tokens[key] = f"secret-of-{key}", f"session-of-{key}"
        end = datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "AccessKeyId": key, "AccessKeySecret": self.keys[key], "SecurityToken": self.tokens[key], "Expiration": end,
        }  # fmt: skip

    def _signer(self, asked: Asked) -> str:
        """Return whose signature it is, computed from what came."""
        scheme, _, rest = asked.headers.get("authorization", "").partition(" ")
        expect(scheme == "ACS3-HMAC-SHA256", "MissingSignature")
        parts = dict(part.split("=", 1) for part in rest.split(","))
        key = parts["Credential"]
        expect(key in self.keys, "InvalidAccessKeyId.NotFound", "Specified access key is not found.", 404)
        names = parts["SignedHeaders"].split(";")
        due = {"host"} | {name for name in asked.headers if name.startswith("x-acs-")}
        expect(due <= set(names) and names == sorted(names), "IncompleteSignature", "headers")
        expect(asked.headers["x-acs-content-sha256"] == sha(asked.body), "IncompleteSignature", "body")
        at = datetime.strptime(asked.headers["x-acs-date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        expect(abs((datetime.now(UTC) - at).total_seconds()) < 900, "InvalidTimeStamp.Expired")
        expect(asked.headers["x-acs-signature-nonce"] not in self.nonces, "SignatureNonceUsed")
        self.nonces.add(asked.headers["x-acs-signature-nonce"])
        expect(
            asked.headers.get("x-acs-security-token", "") == self.tokens.get(key, ""), "InvalidSecurityToken.Expired"
        )
        url = urlsplit(asked.target)
        query = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(parse_qsl(url.query)))
        lines = "".join(f"{name}:{asked.headers[name].strip()}\n" for name in names)
        canonical = f"{asked.method}\n{url.path}\n{query}\n{lines}\n{';'.join(names)}\n{sha(asked.body)}"
        wanted = hmac_of(self.keys[key].encode(), f"ACS3-HMAC-SHA256\n{sha(canonical.encode())}").hex()
        expect(
            wanted == parts["Signature"], "SignatureDoesNotMatch", "Specified signature does not match our calculation."
        )
        return key

    def refusal(self, err: Refused) -> bytes:
        return reply(err.status, {"Code": err.code, "Message": str(err), "RequestId": "r"})
