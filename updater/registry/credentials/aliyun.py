"""Alibaba Cloud Container Registry, personal and enterprise: a temporary login of an hour, for RAM users and roles.

https://help.aliyun.com/zh/acr/developer-reference/api-cr-2018-12-01-getauthorizationtoken
https://help.aliyun.com/zh/acr/user-guide/configure-access-credentials-for-container-registry-personal-edition
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from updater.errors import RegistryError
from updater.registry.credentials.aliyun_keys import Keys, from_environment, of_machine, of_service_account, signed
from updater.registry.credentials.asking import Address, Token, ask, done, passing, read, refused
from updater.registry.credentials.base import Place, Proof
from updater.registry.credentials.cloud import Cloud
from updater.registry.credentials.kept import Lent
from updater.secrets import SecretRef

if TYPE_CHECKING:
    from updater.transport.http import Http

METADATA = "http://100.100.100.200"
UNKNOWN_LIFE = 900.0  # seconds of a login that does not say when it ends
LONGEST = 12 * 3600.0
_REGION = r"[a-z0-9]+(?:-[a-z0-9]+)+"
_ENTERPRISE = re.compile(
    rf"[a-z0-9-]+-registry(?:-vpc|-internal)?(?:\.distributed)?\.(?P<region>{_REGION})\.cr\.aliyuncs\.com"
)
_PERSONAL = re.compile(
    rf"registry(?:-intl)?(?:-vpc)?(?:-internal)?\.(?P<old>{_REGION})\.aliyuncs\.com"
    rf"|crpi-[a-z0-9-]+\.(?P<new>{_REGION})\.personal\.cr\.aliyuncs\.com"
)

Region = Annotated[str, Field(pattern=rf"^{_REGION}$")]


def _lowered(value: Any) -> Any:
    """Take the two spellings of both APIs as one: `tempUserName` and `TempUsername`, with `data` around or not."""
    if not isinstance(value, dict):
        return value
    inner = value.get("data")
    return {str(key).lower(): item for key, item in (inner if isinstance(inner, dict) else value).items()}


_Spelled = BeforeValidator(_lowered)


class _Verdict(BaseModel):
    issuccess: bool = True  # of the enterprise API alone


class _Login(BaseModel):
    tempusername: str = Field(pattern=r"^[^:\x00-\x1f\x7f]+$", max_length=256)  # apart, as it is cheaper
    authorizationtoken: Token
    expiretime: int | None = Field(None, ge=0, le=1 << 53)  # milliseconds since 1970; the personal API: expiredate
    expiredate: int | None = Field(None, ge=0, le=1 << 53)


class Aliyun(Cloud):
    """Alibaba Cloud ACR: a temporary login by an AccessKey, a service account's RAM role (RRSA), or the machine's role.

    Keys are `access_key_id` and `access_key_secret`, else $ALIBABA_CLOUD_ACCESS_KEY_ID and its companions, else RRSA of
    ACK, else the RAM role of the ECS instance. An enterprise instance needs its `instance_id`; the personal edition
    none. Where only a user name and the registry's own password are at hand, that is `kind: basic`.
    """

    own: ClassVar[re.Pattern[str]] = re.compile(
        f"{_ENTERPRISE.pattern.replace('?P<region>', '?:')}|{_PERSONAL.pattern}"
    )
    looks: ClassVar[str] = "registry.REGION.aliyuncs.com or INSTANCE-registry.REGION.cr.aliyuncs.com"

    kind: Literal["aliyun"] = "aliyun"
    instance_id: Annotated[str, Field(pattern=r"^cri-[a-z0-9-]{1,64}$")] | None = Field(
        None, description="of an enterprise instance, e.g. cri-0123456789abcdef; null: the personal edition"
    )
    region: Region | None = Field(None, description="e.g. cn-hangzhou; null: that of the registry's name")
    access_key_id: SecretRef | None = Field(None, description="secret reference of the AccessKey's id")
    access_key_secret: SecretRef | None = Field(None, description="secret reference of the AccessKey's secret")
    role_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,64}$")] | None = Field(
        None, description="the RAM role of the machine; null: the one that it has"
    )
    api_url: Address | None = Field(
        None,
        description="the API; null: https://cr.REGION.aliyuncs.com, in a VPC e.g. https://cr-vpc.REGION.aliyuncs.com",
    )
    sts_url: Address | None = Field(None, description="STS for RRSA; null: https://sts.REGION.aliyuncs.com")
    metadata_url: Address = Field(METADATA, description="the metadata service, near this machine")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.access_key_id is None) != (self.access_key_secret is None):
            raise ValueError("one half of an AccessKey; expected access_key_id and access_key_secret, or neither")
        return self

    def lend(self, place: Place, deadline: float) -> Lent:
        """Fetch a temporary login. Raises RegistryError and SecretError."""
        host = place.host.lower()
        if self.instance_id is None and _ENTERPRISE.fullmatch(host):
            raise RegistryError(
                f"{host} is an enterprise instance; expected its instance_id, e.g. cri-0123456789abcdef"
            )
        if self.instance_id is not None and _PERSONAL.fullmatch(host):
            raise RegistryError(f"{host} is of the personal edition, found an instance_id; expected none")
        region = self._region(host)
        http = place.http()
        keys = self._keys(http, region, deadline)
        with passing(*keys.fleeting):
            login = self._login_of(keys, region, http, deadline)
        until = login.expiretime or login.expiredate
        life = UNKNOWN_LIFE if until is None else min(until / 1000 - time.time(), LONGEST)
        return Lent(Proof(login.tempusername, login.authorizationtoken), min(life, keys.seconds))

    def _region(self, host: str) -> str:
        found = _ENTERPRISE.fullmatch(host) or _PERSONAL.fullmatch(host)
        region = self.region or next((part for part in found.groups() if part), None) if found else self.region
        if region is None:
            raise RegistryError(f"{host} does not name its region; expected `region`, e.g. cn-hangzhou")
        return region

    def _keys(self, http: Http, region: str, deadline: float) -> Keys:
        if self.access_key_id is not None and self.access_key_secret is not None:
            return Keys(self.access_key_id.resolve(), self.access_key_secret.resolve())
        sts = self.sts_url or f"https://sts.{region}.aliyuncs.com"
        return (
            from_environment()
            or of_service_account(http, sts, deadline)
            or of_machine(self.metadata_url, self.role_name, deadline)
        )

    def _login_of(self, keys: Keys, region: str, http: Http, deadline: float) -> _Login:
        base = self.api_url or f"https://cr.{region}.aliyuncs.com"
        prefix = urlsplit(base).path
        if self.instance_id is None:
            method, version, path, query = "GET", "2016-06-07", f"{prefix}/tokens", {}
        else:
            method, version, path, query = "POST", "2018-12-01", f"{prefix}/", {"InstanceId": self.instance_id}
        url, headers = signed(keys, method, base, path, query, action="GetAuthorizationToken", version=version)
        answer = ask(http, method, url, headers=headers, deadline=deadline)
        verdict: _Verdict = read(Annotated[_Verdict, _Spelled], done(answer, method, _HINTS), method)  # type: ignore[arg-type]
        if not verdict.issuccess:  # with 200
            raise refused(answer, method, _HINTS)
        return read(Annotated[_Login, _Spelled], answer, method)  # type: ignore[arg-type]


_HINTS = {
    "InvalidAccessKeyId": "the AccessKey id does not exist or was disabled; look at RAM > Users > AccessKey",
    "SignatureDoesNotMatch": "the AccessKey secret does not belong to the AccessKey id",
    "IncompleteSignature": "the AccessKey secret does not belong to the AccessKey id",
    "InvalidTimeStamp": "the clock of this machine is wrong by more than 15 minutes",
    "InvalidSecurityToken": "the temporary keys have ended, or do not belong together",
    "Forbidden": "grant the RAM user or role cr:GetAuthorizationToken (README, Clouds)",
    "NoPermission": "grant the RAM user or role cr:GetAuthorizationToken (README, Clouds)",
    "AccessDenied": "grant the RAM user or role cr:GetAuthorizationToken (README, Clouds)",
    "DENIED": "grant the RAM user or role cr:GetAuthorizationToken (README, Clouds)",
    "USER_NOT": "the personal edition was never opened for this account: open its console once and set a password",
    "INSTANCE_NOT": "the instance_id is not known in this region",
    "InvalidInstanceId": "the instance_id is not known in this region",
    "Throttling": "Alibaba Cloud wants fewer requests of this account",
}
