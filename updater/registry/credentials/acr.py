"""Azure Container Registry: an access token of Entra ID, traded at the registry for a refresh token of three hours.

https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
"""

from __future__ import annotations

import binascii
import json
import os
import re
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self
from urllib.parse import urlencode

from pydantic import BaseModel, Field, model_validator

from updater.errors import RegistryError
from updater.registry.credentials.asking import (
    NEAR,
    Address,
    Token,
    ask,
    done,
    environment_address,
    near,
    passing,
    read,
)
from updater.registry.credentials.base import Place, Proof
from updater.registry.credentials.cloud import Cloud
from updater.registry.credentials.kept import Lent
from updater.secrets import SecretRef

if TYPE_CHECKING:
    from updater.transport.http import Http

RESOURCE = "https://containerregistry.azure.net"  # in every cloud of Azure, as its own SDK asks
AUTHORITIES = {
    ".azurecr.cn": "https://login.partner.microsoftonline.cn",
    ".azurecr.us": "https://login.microsoftonline.us",
}
AUTHORITY = "https://login.microsoftonline.com"
METADATA = "http://169.254.169.254"
LIFE = 10_800.0  # seconds of a refresh token that does not say itself, and at most
SHORTEST = 60.0

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$")]


class _Access(BaseModel):
    access_token: Token


class _Refresh(BaseModel):
    refresh_token: Token


class Acr(Cloud):
    """Azure Container Registry: by a client secret, a workload identity, or the managed identity of the machine.

    With `client_secret` that of an application; else, where $AZURE_FEDERATED_TOKEN_FILE is set (AKS Workload Identity),
    that of the service account; else the machine's own, of which `client_id` chooses one.
    """

    own: ClassVar[re.Pattern[str]] = re.compile(r"(?:[a-z0-9-]+\.)+azurecr\.(?:io|cn|us)")
    looks: ClassVar[str] = "NAME.azurecr.io, .azurecr.cn or .azurecr.us"

    kind: Literal["acr"] = "acr"
    tenant_id: Name | None = Field(None, description="id or domain of the tenant; null: $AZURE_TENANT_ID")
    client_id: Name | None = Field(None, description="id of the application or identity; null: $AZURE_CLIENT_ID")
    client_secret: SecretRef | None = Field(None, description="secret reference of the application's client secret")
    resource: Address = Field(RESOURCE, description="what the token of Entra ID is for")
    authority_url: Address | None = Field(
        None, description=f"Entra ID; null: $AZURE_AUTHORITY_HOST, else that of the registry's cloud, {AUTHORITY}"
    )
    exchange_url: Address | None = Field(None, description="where it is traded; null: https://HOST/oauth2/exchange")
    metadata_url: Address = Field(METADATA, description="the instance metadata service, near this machine")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.client_secret and not (self.tenant_id and self.client_id):
            raise ValueError("client_secret alone; expected tenant_id and client_id beside it")
        return self

    def lend(self, place: Place, deadline: float) -> Lent:
        """Fetch a refresh token of the registry. Raises RegistryError and SecretError."""
        http = place.http()
        tenant = self.tenant_id or os.environ.get("AZURE_TENANT_ID", "")
        access = self._access(http, place.host.lower(), tenant, deadline)
        with passing(access):
            url = self.exchange_url or f"https://{place.host}/oauth2/exchange"
            form = {"grant_type": "access_token", "service": place.host, "access_token": access}
            form |= {"tenant": tenant} if tenant else {}
            answer = done(ask(http, "POST", url, form=form, deadline=deadline), "POST", _EXCHANGE)
            refresh = read(_Refresh, answer, "POST").refresh_token
        return Lent(Proof(identity_token=refresh), life_of(refresh))

    def _access(self, http: Http, host: str, tenant: str, deadline: float) -> str:
        """Return an access token of Entra ID."""
        client = self.client_id or os.environ.get("AZURE_CLIENT_ID", "")
        file = os.environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
        if self.client_secret is None and not file:
            return self._of_machine(client, deadline)
        if not (tenant and client):
            raise RegistryError(
                "a workload identity without its names; expected tenant_id and client_id, or $AZURE_TENANT_ID and "
                "$AZURE_CLIENT_ID as AKS sets them"
            )
        fleeting: tuple[str, ...] = ()
        if self.client_secret is not None:
            proof = {"client_secret": self.client_secret.resolve()}
        else:
            fleeting = (SecretRef(f"file:{Path(file).absolute()}").resolve(),)
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            proof = {"client_assertion_type": kind, "client_assertion": fleeting[0]}
        url = f"{self._authority(host)}/{_name('tenant', tenant)}/oauth2/v2.0/token"
        form = {"grant_type": "client_credentials", "client_id": client, "scope": f"{self.resource}/.default"} | proof
        with passing(*fleeting):
            answer = ask(http, "POST", url, form=form, deadline=deadline)
            return read(_Access, done(answer, "POST", _ENTRA), "POST").access_token

    def _of_machine(self, client: str, deadline: float) -> str:
        query = {"api-version": "2018-02-01", "resource": self.resource} | ({"client_id": client} if client else {})
        url = f"{self.metadata_url}/metadata/identity/oauth2/token?{urlencode(query)}"
        with near() as http:
            try:
                answer = ask(http, "GET", url, headers={"Metadata": "true"}, deadline=deadline, reach=NEAR)
            except RegistryError as err:
                raise RegistryError(
                    f"{err}; expected client_secret, AKS Workload Identity, or a machine of Azure with an identity"
                ) from err
            return read(_Access, done(answer, "GET", _MACHINE), "GET").access_token

    def _authority(self, host: str) -> str:
        if self.authority_url is not None:
            return self.authority_url
        if told := os.environ.get("AZURE_AUTHORITY_HOST"):
            return environment_address("AZURE_AUTHORITY_HOST", told)
        return next((url for end, url in AUTHORITIES.items() if host.endswith(end)), AUTHORITY)


def life_of(token: str) -> float:
    """Return the seconds that a JWT lives by its own words, which nobody vouches for: SHORTEST to LIFE.

    `exp` less `iat` are both of the clock that made it, so that ours does not count.
    """
    try:
        middle = token.split(".")[1]
        claims = json.loads(urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        life = claims["exp"] - claims["iat"]
        return float(min(max(SHORTEST, life), LIFE))  # in this order NaN, which JSON may hold, is the shortest
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError, binascii.Error):
        return LIFE


def _name(what: str, value: str) -> str:
    """Return a name of the environment that goes into an address. Raises RegistryError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,127}", value):
        raise RegistryError(f"{value[:60]!r} is no {what}; expected an id or a domain")
    return value


_ENTRA = {
    "invalid_client": "the client secret or its application is wrong, or the secret has ended",
    "unauthorized_client": "the application is not known in this tenant",
    "invalid_request": "the tenant or the application is not known, or the federated credential does not match",
    "invalid_resource": "the tenant does not know the resource; the field `resource` says another one",
}
_EXCHANGE = {
    "UNAUTHORIZED": "the identity needs the role AcrPull at this registry, or is of another tenant",
    "DENIED": "the identity needs the role AcrPull at this registry",
}
_MACHINE = {"invalid_request": "the machine has no identity, or several: client_id says which"}
