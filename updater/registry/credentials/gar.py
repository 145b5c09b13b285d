"""Google Artifact Registry and Container Registry: access tokens of an hour.

https://cloud.google.com/artifact-registry/docs/docker/authentication#token
https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests
https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError

from updater.errors import RegistryError
from updater.registry.credentials.asking import NEAR, Address, Token, ask, done, near, passing, read
from updater.registry.credentials.base import Place, Proof
from updater.registry.credentials.cloud import Cloud
from updater.registry.credentials.kept import Lent
from updater.secrets import SecretError, SecretRef, remember
from updater.transport.jwt import signed

if TYPE_CHECKING:
    from updater.transport.http import Answer

USERNAME = "oauth2accesstoken"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"  # what it may do is for IAM to say
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
FORMER = ("https://www.googleapis.com/oauth2/v4/token", "https://accounts.google.com/o/oauth2/token")
METADATA = "http://metadata.google.internal"
PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
JWT_SECONDS = 600  # Google takes an hour at most
CLOCKS_APART = 60  # seconds that our clock may be ahead
LONGEST = 3600.0
FLAVOUR = {"Metadata-Flavor": "Google"}


class _Key(BaseModel):
    """What is used of a service account's key file."""

    type: Literal["service_account"]
    client_email: str = Field(pattern=r"^[\x21-\x7e]+$", min_length=3, max_length=320)
    private_key: str = Field(min_length=1)
    private_key_id: str = Field("", pattern=r"^[0-9A-Za-z]*$", max_length=128)
    token_uri: str = TOKEN_URL


class _Token(BaseModel):
    access_token: Token
    expires_in: int = Field(300, gt=0, le=1 << 31)


class Gar(Cloud):
    """Google Artifact Registry and gcr.io: by a service account's key, else as the machine's own (GCE, GKE, Cloud Run).

    Without `key` the metadata server is asked, which GKE's Workload Identity answers too. Workload identity federation
    from outside of Google Cloud is not supported.
    """

    own: ClassVar[re.Pattern[str]] = re.compile(r"(?:[a-z0-9-]+\.)+pkg\.dev|(?:[a-z0-9-]+\.)*gcr\.io")
    looks: ClassVar[str] = "REGION-docker.pkg.dev or gcr.io"

    kind: Literal["gar"] = "gar"
    key: SecretRef | None = Field(
        None, description="secret reference of a service account's key as JSON; null: the metadata server"
    )
    token_url: Address | None = Field(None, description=f"where a key is traded for tokens; null: {TOKEN_URL}")
    metadata_url: Address = Field(METADATA, description="the metadata server, near this machine")

    def lend(self, place: Place, deadline: float) -> Lent:
        """Fetch an access token. Raises RegistryError and SecretError."""
        token = self._of_metadata(deadline) if self.key is None else self._of_key(self.key, place, deadline)
        return Lent(Proof(USERNAME, token.access_token), min(float(token.expires_in), LONGEST))

    def _of_key(self, reference: SecretRef, place: Place, deadline: float) -> _Token:
        """Trade the key for a token (RFC 7523)."""
        named = f"secret {reference.reference}"
        key = _key(reference.resolve(), named)
        if self.token_url is None and key.token_uri not in {TOKEN_URL, *FORMER}:
            raise SecretError(
                f"{named} names another token_uri than {TOKEN_URL}; expected `token_url` if that is meant"
            )
        url = self.token_url or TOKEN_URL
        at = int(time.time())
        claims = {
            "iss": key.client_email, "scope": SCOPE, "aud": url, "iat": at - CLOCKS_APART, "exp": at + JWT_SECONDS,
        }  # fmt: skip
        header = {"kid": key.private_key_id} if key.private_key_id else {}
        proof = signed(claims, key.private_key, f"the private_key of {named}", header)
        with passing(proof):
            form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": proof}
            answer = ask(place.http(), "POST", url, form=form, deadline=deadline)
            return read(_Token, done(answer, "POST", _HINTS), "POST")

    def _of_metadata(self, deadline: float) -> _Token:
        with near() as http:
            try:
                answer = ask(http, "GET", self.metadata_url + PATH, headers=FLAVOUR, deadline=deadline, reach=NEAR)
            except RegistryError as err:
                raise RegistryError(
                    f"{err}; expected `key`, or a machine of Google Cloud with a service account"
                ) from err
        return read(_Token, done(_flavoured(answer), "GET"), "GET")


def _key(text: str, named: str) -> _Key:
    """Read a key file. Raises SecretError, which repeats nothing of it."""
    try:
        key = _Key.model_validate(json.loads(text))
    except (ValueError, RecursionError) as err:
        where = f" ({err.errors()[0]['loc'][0]})" if isinstance(err, ValidationError) and err.errors()[0]["loc"] else ""
        raise SecretError(f"{named} is no key of a service account{where}; expected the JSON file of IAM") from None
    remember(key.private_key)
    return key


def _flavoured(answer: Answer) -> Answer:
    """Take an answer of Google's metadata server alone, as it asks for itself. Raises RegistryError."""
    if answer.header("metadata-flavor") != FLAVOUR["Metadata-Flavor"]:
        raise RegistryError(f"GET {answer.url}: something else than Google's metadata server answered; expected `key`")
    return answer


_HINTS = {
    "invalid_grant": "the key was deleted or its account is gone or disabled, or the clock of this machine is wrong",
    "invalid_client": "the account is not known",
}
