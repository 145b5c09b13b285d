"""Amazon ECR, private and public: a login of twelve hours, by the keys that AWS's own SDK finds and signs with.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html
https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_GetAuthorizationToken.html
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from updater.errors import RegistryError
from updater.registry.credentials.asking import Address
from updater.registry.credentials.base import Place, Proof
from updater.registry.credentials.cloud import Cloud
from updater.registry.credentials.ecr_session import Aws
from updater.registry.credentials.kept import Lent
from updater.secrets import SecretRef

PUBLIC = "public.ecr.aws"
PUBLIC_REGION = "us-east-1"  # the one where its API gives logins
LONGEST = 12 * 3600.0
_HOST = re.compile(
    r"[0-9]{12}\.dkr[.-]ecr(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.(?:com|com\.cn|eu)|on\.(?:aws|amazonwebservices\.com\.cn)"
    r"|c2s\.ic\.gov|sc2s\.sgov\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)
"""As AWS's own amazon-ecr-credential-helper has it, from the first character to the last."""

Region = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")]


class Ecr(Cloud):
    """Amazon ECR, private and public; needs `updater[ecr]`.

    Keys are `access_key_id` and `secret_access_key`, else what AWS's SDK finds: the environment, a web identity (IRSA),
    the shared files and their profiles, ECS and EKS Pod Identity, EC2 (IMDSv2). With `role_arn` they assume that role.
    Profiles that log in by a browser or by a command of their own are not used.
    """

    own: ClassVar[re.Pattern[str]] = re.compile(rf"{_HOST.pattern}|public\.ecr\.aws")
    looks: ClassVar[str] = "ACCOUNT.dkr.ecr.REGION.amazonaws.com or public.ecr.aws"

    kind: Literal["ecr"] = "ecr"
    region: Region | None = Field(None, description="e.g. eu-west-1; null: that of the registry's name")
    access_key_id: SecretRef | None = Field(None, description="secret reference of the access key's id")
    secret_access_key: SecretRef | None = Field(None, description="secret reference of the secret access key")
    role_arn: (
        Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}$")] | None
    ) = Field(None, description="a role to assume first, e.g. arn:aws:iam::123456789012:role/images")
    api_url: Address | None = Field(None, description="the API of ECR; null: that of the region")
    sts_url: Address | None = Field(None, description="STS, for roles; null: that of the region")
    metadata_url: Address | None = Field(None, description="EC2's metadata service; null: http://169.254.169.254")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("one half of an access key; expected access_key_id and secret_access_key, or neither")
        return self

    def lend(self, place: Place, deadline: float) -> Lent:
        """Fetch a login. Raises RegistryError and SecretError."""
        host = place.host.lower()
        found = _HOST.fullmatch(host)
        public = host == PUBLIC
        region = self.region or (found["region"] if found else PUBLIC_REGION if public else None)
        if region is None:
            raise RegistryError(f"{host} does not name its region; expected `region`, e.g. eu-west-1")
        service = "ecr-public" if public else "ecr"
        with Aws(
            place.http(),
            region,
            deadline,
            urls={"sts": self.sts_url, service: self.api_url},
            metadata=self.metadata_url,
            fips=bool(found and found["fips"]),
            dual=".on." in host,
        ) as aws:
            if self.access_key_id is not None and self.secret_access_key is not None:
                aws.use(self.access_key_id.resolve(), self.secret_access_key.resolve())
            if self.role_arn is not None:
                aws.assume(self.role_arn)
            lent = aws.login(service)
        return Lent(Proof(lent.username, lent.password), min(lent.seconds, LONGEST))
