"""AWS's own SDK, which finds keys and signs, on a short leash: what it asks AWS goes through our own HTTP client.

So time, bytes, proxies and authorities are bounded as everywhere. Only what is asked of this machine's own metadata
service (EC2, ECS, EKS Pod Identity) it asks itself, a few times for one or two seconds each.
"""

from __future__ import annotations

import binascii
import logging
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, Field

from updater.errors import RegistryError
from updater.registry.credentials.asking import MAX_SAID, Token, ask, passing, read, refused
from updater.secrets import redact
from updater.transport.words import plain

if TYPE_CHECKING:
    from updater.transport.http import Answer, Http

INSTALL = "pip install 'updater[ecr]'"
SESSION = "updater"  # how what we do is called in the account's audit trail
UNBOUND = ("custom-process", "sso", "login", "ec2-credentials-file", "boto-config")
"""Ways to keys that are not gone: commands without a deadline, browsers, and files of former SDKs."""

logging.getLogger("botocore").setLevel(logging.WARNING)  # below that it tells whole requests and answers


class Lent(NamedTuple):
    """A login of ECR and the seconds that it is good for."""

    username: str
    password: str
    seconds: float


def _only(value: Any) -> Any:
    """Take the private API's list of one as what it holds, as the public API has it."""
    data = value.get("authorizationData") if isinstance(value, dict) else None
    return (data[0] if data else None) if isinstance(data, list) else data


class _Login(BaseModel):
    token: Token = Field(alias="authorizationToken")
    end: float = Field(alias="expiresAt", ge=0, le=1 << 40)  # seconds since 1970


class Aws:
    """One session: keys are found when they are first needed, and nothing is kept when it ends. Not for threads.

    urls     addresses to ask in place of a service's usual one, by the name of the service
    metadata address of EC2's metadata service in place of its usual one
    """

    def __init__(
        self,
        http: Http,
        region: str,
        deadline: float,
        *,
        urls: Mapping[str, str | None],
        metadata: str | None = None,
        fips: bool = False,
        dual: bool = False,
    ) -> None:
        self._http, self._region, self._deadline = http, region, deadline
        self._urls, self._metadata, self._fips, self._dual = urls, metadata, fips, dual
        self._answers: list[Answer] = []
        self._passing = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._passing.close()

    def use(self, key_id: str, secret: str, token: str | None = None) -> None:
        """Take these keys from now on."""
        self._session.set_credentials(key_id, secret, token)

    def assume(self, role: str) -> None:
        """Take the keys of a role from now on. Raises RegistryError."""
        self._find()
        with _plainly("AssumeRole at STS"):
            keys = self._client("sts").assume_role(RoleArn=role, RoleSessionName=SESSION)["Credentials"]
            self._passing.enter_context(passing(keys["SecretAccessKey"], keys["SessionToken"]))
            self.use(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])

    def login(self, service: str) -> Lent:
        """Return a login of `ecr` or `ecr-public`. Raises RegistryError."""
        self._find()
        with _plainly(f"GetAuthorizationToken at {service}"):
            self._client(service).get_authorization_token()
        login: _Login = read(Annotated[_Login, BeforeValidator(_only)], self._answers[-1], "POST")  # type: ignore[arg-type]
        name, colon, password = _decoded(login.token).partition(":")
        if not (name and colon and password.isprintable()):
            raise RegistryError(f"GetAuthorizationToken at {service}: the answer is not name and password")
        return Lent(name, password, login.end - datetime.now(UTC).timestamp())

    def _find(self) -> None:
        """Find keys. Raises RegistryError where there are none."""
        session = self._session
        with _plainly("no keys for AWS"):
            found = session.get_credentials()
            keys = found.get_frozen_credentials() if found is not None else None
        if keys is None:
            raise RegistryError(
                "no keys for AWS were found; expected access_key_id and secret_access_key, $AWS_ACCESS_KEY_ID and "
                "$AWS_SECRET_ACCESS_KEY, a profile, a web identity, or a machine or pod with a role"
            )
        if found.method != "explicit":  # those that the configuration refers to are blanked for good
            self._passing.enter_context(passing(keys.secret_key, keys.token or ""))

    @cached_property
    def _session(self) -> Any:
        try:
            from botocore.config import Config
            from botocore.session import Session
        except ImportError:
            raise RegistryError(f"a login of kind ecr needs botocore, which is not installed: {INSTALL}") from None
        session = Session()
        once = {"total_max_attempts": 1}  # we try again ourselves
        session.set_default_client_config(
            Config(retries=once, use_fips_endpoint=self._fips, use_dualstack_endpoint=self._dual)
        )
        for name, value in {
            "region": self._region,
            "metadata_service_timeout": 1,
            "metadata_service_num_attempts": 2,
            "ec2_metadata_v1_disabled": True,
            **({"ec2_metadata_service_endpoint": self._metadata} if self._metadata else {}),
        }.items():
            session.set_config_variable(name, value)
        with _plainly("no keys for AWS"):
            providers = session.get_component("credential_provider")
        for way in UNBOUND:
            providers.remove(way)
        session.register("before-send", self._send)
        make = session.create_client
        session.create_client = lambda service, **options: make(  # its providers make clients of STS, too
            service, **{"endpoint_url": self._urls.get(service)} | options
        )
        return session

    def _client(self, service: str) -> Any:
        return self._session.create_client(service, region_name=self._region)

    def _send(self, request: Any, **_: object) -> Any:
        """Answer in place of botocore's own HTTP client."""
        from botocore.awsrequest import AWSResponse

        headers = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
        }
        body = request.body.encode() if isinstance(request.body, str) else request.body
        answer = ask(self._http, request.method, request.url, headers=headers, content=body, deadline=self._deadline)
        if answer.status // 100 == 3:
            raise refused(answer, request.method)
        self._answers.append(answer)
        return AWSResponse(request.url, answer.status, dict(answer.headers), _Raw(answer.body))


class _Raw(BytesIO):
    """A body as botocore reads one."""

    def stream(self) -> Iterator[bytes]:
        """Yield all there is."""
        yield self.read()


@contextmanager
def _plainly(what: str) -> Iterator[None]:
    """Turn what botocore raises into RegistryError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as err:
        error = err.response.get("Error", {})
        code, said = (plain(str(error.get(key, "")), MAX_SAID) for key in ("Code", "Message"))
        hint = next((hint for begin, hint in _HINTS.items() if code.startswith(begin)), "")
        raise RegistryError(redact(f"{what}: {code} ({said})") + (f": {hint}" if hint else "")) from None
    except BotoCoreError as err:
        raise RegistryError(redact(plain(f"{what}: {err}", 500))) from None
    except (
        AttributeError,
        IndexError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as err:  # it trusts the shape of answers
        raise RegistryError(f"{what}: the answer is not what was asked for ({type(err).__name__})") from None


def _decoded(token: str) -> str:
    try:
        return b64decode(token, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""


_HINTS = {
    "UnrecognizedClient": "the access key does not exist or was disabled, or its session has ended",
    "InvalidClientTokenId": "the access key does not exist or was disabled",
    "InvalidSignature": "the secret access key is wrong",
    "SignatureDoesNotMatch": "the secret access key is wrong, or the clock of this machine",
    "RequestExpired": "the clock of this machine is wrong",
    "ExpiredToken": "the session of these keys has ended",
    "AccessDenied": "grant what README, Clouds says, and let the role trust who assumes it",
    "InvalidIdentityToken": "the identity provider of this cluster is not known to the account",
}
