"""Logins that clouds lend: signed as each cloud reads it, for its own registries alone, renewed before they end."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.clouds import Alibaba, Amazon, Azure, Cloud, Google
from tests.lab.scripted import Answered, Asked, Scripted, reply
from updater.errors import RegistryError, UpdaterError
from updater.plugins import members
from updater.registry.client import Registry
from updater.registry.credentials import asking
from updater.registry.credentials.acr import Acr, life_of
from updater.registry.credentials.aliyun import Aliyun
from updater.registry.credentials.base import Credentials, Place, Proof
from updater.registry.credentials.cloud import Cloud as CloudLogin
from updater.registry.credentials.ecr import Ecr
from updater.registry.credentials.gar import Gar
from updater.registry.credentials.kept import Kept
from updater.secrets import SecretRef, redact
from updater.transport.http import Answer, Http, TransportError

PROXY = "http://127.0.0.1:9"  # where nobody listens
CLOUD_VARIABLES = re.compile(r"^(AWS|AZURE|ALIBABA_CLOUD|GOOGLE)_")


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keys of whoever runs the tests, and a canary in place of their files."""
    for name in list(os.environ):
        if CLOUD_VARIABLES.match(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged at any level, as far as loggers let it."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.fixture
def http() -> Iterator[Http]:
    with Http() as client:
        yield client


def ref(folder: Path, text: str, name: str = "secret") -> SecretRef:
    (folder / name).write_text(text)
    return SecretRef(f"file:{folder / name}")


def ecr(cloud: Amazon, folder: Path, **more: Any) -> Ecr:
    keys = {
        "access_key_id": ref(folder, "AKIDLONG", "id"),
        "secret_access_key": ref(folder, "secret-of-the-long-key"),
    }
    urls = {"api_url": cloud.url, "sts_url": cloud.url, "metadata_url": cloud.url}
    return Ecr(**{"hosts": (cloud.host,), "region": "eu-west-1"} | keys | urls | more)


def gar(cloud: Google, folder: Path, **more: Any) -> Gar:
    urls = {"token_url": f"{cloud.url}/token", "metadata_url": cloud.url}
    return Gar(**{"hosts": (cloud.host,), "key": ref(folder, json.dumps(cloud.key_file))} | urls | more)


def acr(cloud: Azure, folder: Path, **more: Any) -> Acr:
    names = {"tenant_id": cloud.tenant, "client_id": cloud.client, "client_secret": ref(folder, cloud.secret)}
    urls = {"authority_url": cloud.url, "exchange_url": f"{cloud.url}/oauth2/exchange", "metadata_url": cloud.url}
    return Acr(**{"hosts": (cloud.host,)} | names | urls | more)


def aliyun(cloud: Alibaba, folder: Path, **more: Any) -> Aliyun:
    keys = {"access_key_id": ref(folder, "LTAI-long", "id"), "access_key_secret": ref(folder, "secret-of-the-long-key")}
    urls = {"api_url": cloud.url, "sts_url": cloud.url, "metadata_url": cloud.url}
    return Aliyun(**{"hosts": (cloud.host,), "region": "cn-hangzhou"} | keys | urls | more)


MAKERS: dict[type[Cloud], Callable[..., CloudLogin]] = {Amazon: ecr, Google: gar, Azure: acr, Alibaba: aliyun}
CLOUDS = pytest.mark.parametrize("cloud", MAKERS, ids=lambda cloud: cloud.__name__)
SOON = 20.0


def bound(login: CloudLogin, host: str, http: Http) -> CloudLogin:
    return login.at(Place(host, lambda: http))


def fetch(login: CloudLogin, cloud: Cloud, http: Http, seconds: float = SOON) -> Proof:
    proof = bound(login, cloud.host, http).login("team/app", time.monotonic() + seconds)
    assert proof is not None
    return proof


def failure(login: CloudLogin, cloud: Cloud, http: Http, seconds: float = SOON) -> str:
    with pytest.raises(UpdaterError) as caught:
        fetch(login, cloud, http, seconds)
    return str(caught.value)


# --- the whole way ----------------------------------------------------------------------------------------------------


@CLOUDS
def test_a_registry_that_takes_the_lent_login_alone_lists_its_tags(
    cloud: type[Cloud], tmp_path: Path, http: Http
) -> None:
    with cloud() as world:
        login = bound(MAKERS[cloud](world, tmp_path), world.host, http)
        registry = Registry(world.host, http=http, credentials=login, insecure=True)
        assert registry.tags("team/app").names == ("1.0", "1.1")
        assert registry.tags("team/app").names == ("1.0", "1.1")
        assert len(world.lent) == 1
        assert world.refusals == []


@CLOUDS
def test_a_lent_login_that_was_taken_back_is_fetched_anew_once(cloud: type[Cloud], tmp_path: Path, http: Http) -> None:
    with cloud() as world:
        login = bound(MAKERS[cloud](world, tmp_path), world.host, http)
        registry = Registry(world.host, http=http, credentials=login, insecure=True)
        registry.tags("team/app")
        world.lent.append("another, which the registry takes alone")
        assert registry.tags("team/app").names == ("1.0", "1.1")
        assert len(world.lent) == 3


@pytest.mark.parametrize(
    ("host", "url", "service"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "https://api.ecr.eu-west-1.amazonaws.com/", "ecr"),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "https://api.ecr-fips.us-east-1.amazonaws.com/", "ecr"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "https://api.ecr.cn-north-1.amazonaws.com.cn/", "ecr"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "https://ecr.eu-west-1.api.aws/", "ecr"),
        ("public.ecr.aws", "https://api.ecr-public.us-east-1.amazonaws.com/", "ecr-public"),
        ("images.example.com", "https://api.ecr.eu-west-3.amazonaws.com/", "ecr"),
    ],
)  # fmt: skip
def test_ecr_is_asked_in_the_region_of_the_registry(host: str, url: str, service: str, tmp_path: Path) -> None:
    with Amazon() as world:
        asked: list[str] = []

        def carry(request: httpx.Request) -> httpx.Response:
            asked.append(str(request.url))
            answer = world._answer(
                Asked(request.method, request.url.raw_path.decode(),
                      {name.lower(): value for name, value in request.headers.items()}, request.content)
            )  # fmt: skip
            assert isinstance(answer, bytes)
            head, _, body = answer.partition(b"\r\n\r\n")
            return httpx.Response(int(head.split()[1]), content=body)

        named = (
            {"hosts": ("images.example.com",), "region": "eu-west-3"}
            if host == "images.example.com"
            else {"region": None}
        )
        login = ecr(world, tmp_path, **{"api_url": None, "sts_url": None} | named)
        proof = bound(login, host, Http(transport=httpx.MockTransport(carry))).login("x", time.monotonic() + SOON)
        assert (asked, proof) == ([url], Proof("AWS", world.lent[0]))
        assert world.scopes == [f"{re.findall(r'[a-z]+-[a-z]+-[0-9]', url)[0]}/{service}"]


# --- where keys come from ---------------------------------------------------------------------------------------------

NO_KEYS = {"access_key_id": None, "secret_access_key": None}


def test_ecr_takes_keys_of_the_environment(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDLONG")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-long-key")
    with Amazon() as world:
        fetch(ecr(world, tmp_path, **NO_KEYS), world, http)
        assert world.credentials == ["AKIDLONG"]


def test_ecr_takes_keys_of_a_profile(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[lab]\naws_access_key_id = AKIDLONG\naws_secret_access_key = secret-of-the-long-key\n"
    (tmp_path / "shared").write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "shared"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    (tmp_path / "config").write_text("[profile lab]\nregion = us-west-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with Amazon() as world:
        fetch(ecr(world, tmp_path, **NO_KEYS), world, http)
        assert world.credentials == ["AKIDLONG"]
        assert world.scopes == ["eu-west-1/ecr"], "the registry's region, not the profile's"


def test_ecr_trades_a_web_identity(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    ref(tmp_path, "token-of-the-pod", "web")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "web"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/lab")
    with Amazon() as world:
        fetch(ecr(world, tmp_path, **NO_KEYS), world, http)
        assert world.credentials == ["AKIDWEB"]


def test_ecr_takes_keys_of_a_pod(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with Amazon() as world:
        ref(tmp_path, world.pod_token, "pod")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{world.url}/pod")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "pod"))
        fetch(ecr(world, tmp_path, **NO_KEYS), world, http)
        assert world.credentials == ["AKIDPOD"]


def test_ecr_takes_keys_of_the_machine_by_a_session_token(tmp_path: Path, http: Http) -> None:
    with Amazon() as world:
        fetch(ecr(world, tmp_path, **NO_KEYS), world, http)
        assert world.credentials == ["AKIDMACHINE"]
        assert [asked.method for asked in world.asked("/latest/api/token")][:1] == ["PUT"]


def test_ecr_assumes_a_role_first(tmp_path: Path, http: Http) -> None:
    with Amazon() as world:
        fetch(ecr(world, tmp_path, role_arn="arn:aws:iam::123456789012:role/images"), world, http)
        assert world.credentials == ["AKIDLONG", "AKIDROLE"]


def test_what_passes_through_is_not_blanked_for_ever(tmp_path: Path, http: Http) -> None:
    """There are ever new session tokens, and every text is searched for each one."""
    with Amazon() as world:
        fetch(ecr(world, tmp_path, role_arn="arn:aws:iam::123456789012:role/images"), world, http)
        assert redact("session-of-AKIDROLE") == "session-of-AKIDROLE"
        assert redact(world.lent[0]) == "***"


def test_ecr_without_botocore_says_what_to_install(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with Amazon() as world:
        assert "pip install 'updater[ecr]'" in failure(ecr(world, tmp_path), world, http)
        assert world.server.requests == []


def test_gar_asks_as_the_machine_without_a_key(tmp_path: Path, http: Http) -> None:
    with Google() as world:
        assert fetch(gar(world, tmp_path, key=None), world, http) == Proof("oauth2accesstoken", world.lent[0])


def test_gar_takes_no_answer_that_is_not_of_the_metadata_server(tmp_path: Path, http: Http) -> None:
    with Google() as world:
        world.script = lambda _: reply(200, {"access_token": "planted", "expires_in": 300})
        assert "something else than Google's metadata server" in failure(gar(world, tmp_path, key=None), world, http)


def test_gar_does_not_follow_the_address_in_a_key_file(tmp_path: Path, http: Http) -> None:
    with Google() as world, Google() as canary:
        key = ref(tmp_path, json.dumps(world.key_file | {"token_uri": f"{canary.url}/token"}), "led")
        said = failure(Gar(hosts=(world.host,), key=key), world, http)
        assert "token_uri" in said
        assert "token_url" in said
        assert fetch(gar(world, tmp_path, key=key), world, http).password == world.lent[0], "the operator's word counts"
        assert canary.server.requests == []


@pytest.mark.parametrize(
    "change",
    [{"type": "authorized_user"}, {"private_key": "-----BEGIN nothing"}, {"client_email": ""}, {"private_key": 7}],
    ids=str,
)
def test_a_key_file_that_is_none_is_an_error_without_the_key(
    change: dict[str, Any], tmp_path: Path, http: Http
) -> None:
    with Google() as world:
        key = ref(tmp_path, json.dumps(world.key_file | change), "bad")
        said = failure(gar(world, tmp_path, key=key), world, http)
        assert f"secret file:{tmp_path}/bad" in said
        assert "BEGIN" not in said
        assert world.server.requests == []


def test_acr_trades_a_workload_identity(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with Azure() as world:
        ref(tmp_path, world.assertion, "federated")
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "federated"))
        monkeypatch.setenv("AZURE_TENANT_ID", world.tenant)
        monkeypatch.setenv("AZURE_CLIENT_ID", world.client)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"{world.url}/")
        login = acr(world, tmp_path, tenant_id=None, client_id=None, client_secret=None, authority_url=None)
        assert fetch(login, world, http) == Proof(identity_token=world.lent[0])
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", "http://login.example.com/")
        assert "$AZURE_AUTHORITY_HOST" in failure(login, world, http)
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", world.url)
        monkeypatch.setenv("AZURE_TENANT_ID", "../lab")
        assert "is no tenant" in failure(login, world, http)


@pytest.mark.parametrize("client", [None, "lab-client"], ids=["the only identity", "one of several"])
def test_acr_asks_as_the_machine(client: str | None, tmp_path: Path, http: Http) -> None:
    with Azure() as world:
        login = acr(world, tmp_path, tenant_id=None, client_id=client, client_secret=None)
        assert fetch(login, world, http) == Proof(identity_token=world.lent[0])


def test_the_service_of_an_exchange_is_exactly_the_registry(tmp_path: Path, http: Http) -> None:
    with Azure() as world:
        world.service = "lab.azurecr.io"
        login = bound(acr(world, tmp_path, hosts=()), "lab.azurecr.io", http)
        assert login.login("x", time.monotonic() + SOON) == Proof(identity_token=world.lent[0])


@pytest.mark.parametrize(
    ("claims", "life"),
    [
        ({"iat": 100, "exp": 3700}, 3600),
        ({"iat": 100, "exp": 100}, 60),
        ({"iat": 0, "exp": 10**30}, 10_800),
        ({"iat": 0, "exp": float("nan")}, 60),
        ({"exp": 10_000}, 10_800),
        ({"iat": "a", "exp": "b"}, 10_800),
    ],
    ids=str,
)
def test_a_refresh_token_says_how_long_it_lives_within_bounds(claims: dict[str, Any], life: float) -> None:
    token = f"x.{urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.x"
    assert life_of(token) == life


@settings(max_examples=50)
@given(st.text() | st.text("abcABC019-_=.", max_size=60))
def test_a_refresh_token_that_is_none_lives_as_long_as_one_that_is(token: str) -> None:
    assert 60 <= life_of(token) <= 10_800


NO_ALI = {"access_key_id": None, "access_key_secret": None}


def test_aliyun_enterprise_is_asked_for_its_instance(tmp_path: Path, http: Http) -> None:
    with Alibaba() as world:
        proof = fetch(aliyun(world, tmp_path, instance_id="cri-lab"), world, http)
        assert proof == Proof("cr_temp_user", world.lent[0])
        assert "instance_id is not known" in failure(aliyun(world, tmp_path, instance_id="cri-other"), world, http)


def test_aliyun_takes_keys_of_the_environment(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.env")
    with Alibaba() as world:
        assert "one half of an AccessKey" in failure(aliyun(world, tmp_path, **NO_ALI), world, http)
        world.keys["STS.env"], world.tokens["STS.env"] = "secret-of-the-environment", "token-of-the-environment"
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-of-the-environment")
        monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", "token-of-the-environment")
        fetch(aliyun(world, tmp_path, **NO_ALI), world, http)
        assert world.callers == ["STS.env"]


def test_aliyun_trades_a_service_account(tmp_path: Path, http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    with Alibaba() as world:
        ref(tmp_path, world.proof, "oidc")
        monkeypatch.setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/lab")
        monkeypatch.setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/lab")
        monkeypatch.setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", str(tmp_path / "oidc"))
        fetch(aliyun(world, tmp_path, **NO_ALI), world, http)
        assert world.callers == ["STS.pod"]
        ref(tmp_path, "an-old-token", "oidc")
        assert "is its file still renewed?" in failure(aliyun(world, tmp_path, **NO_ALI), world, http)


@pytest.mark.parametrize("hardened", [True, False], ids=["with a token", "that knows no tokens"])
def test_aliyun_takes_keys_of_the_machine(hardened: bool, tmp_path: Path, http: Http) -> None:
    with Alibaba() as world:
        world.hardened = hardened
        fetch(aliyun(world, tmp_path, **NO_ALI), world, http)
        assert world.callers == ["STS.machine"]


@pytest.mark.parametrize(
    ("host", "instance", "said"),
    [
        ("lab-registry.cn-hangzhou.cr.aliyuncs.com", None, "expected its instance_id"),
        ("registry.cn-hangzhou.aliyuncs.com", "cri-lab", "personal edition"),
        ("images.example.com", None, "expected `region`"),
    ],
)
def test_aliyun_says_what_is_missing_before_anything_is_asked(
    host: str, instance: str | None, said: str, tmp_path: Path, http: Http
) -> None:
    with Alibaba() as world:
        login = aliyun(world, tmp_path, instance_id=instance, region=None, hosts=("images.example.com",))
        with pytest.raises(RegistryError, match=said):
            bound(login, host, http).login("x", time.monotonic() + SOON)
        assert world.server.requests == []


def test_a_metadata_service_is_never_asked_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, PROXY)
    with Google() as google, Http(proxy=PROXY) as proxied:
        assert fetch(gar(google, tmp_path, key=None), google, proxied).password == google.lent[0]


# --- for whom ---------------------------------------------------------------------------------------------------------

OWN = {
    "ecr": ["123456789012.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "public.ecr.aws", "PUBLIC.ecr.aws"],
    "gar": ["europe-west1-docker.pkg.dev", "gcr.io", "eu.gcr.io"],
    "acr": ["lab.azurecr.io", "lab.azurecr.cn", "lab.azurecr.us", "lab.westeurope.data.azurecr.io"],
    "aliyun": ["registry.cn-hangzhou.aliyuncs.com", "registry-vpc.cn-hangzhou.aliyuncs.com",
               "registry-intl.ap-southeast-1.aliyuncs.com", "lab-registry.cn-hangzhou.cr.aliyuncs.com",
               "lab-registry-vpc.cn-hangzhou.cr.aliyuncs.com", "crpi-0a1b.cn-hangzhou.personal.cr.aliyuncs.com"],
}  # fmt: skip
FOREIGN = ["evil.com", "evil.com:443", "", "docker.io", "amazonaws.com", "pkg.dev", "azurecr.io", "aliyuncs.com",
           "cr.aliyuncs.com", "bucket.oss-cn-hangzhou.aliyuncs.com", "x.s3.eu-west-1.amazonaws.com"]  # fmt: skip


def logins() -> dict[str, CloudLogin]:
    return {kind: member() for kind, member in members(Credentials).items() if issubclass(member, CloudLogin)}


def test_every_login_of_a_cloud_knows_its_own_registries_and_nobody_elses() -> None:
    assert logins().keys() == OWN.keys()
    for kind, login in logins().items():
        for other, hosts in OWN.items():
            for host in hosts:
                assert login.fits(host) == (kind == other), f"{kind} at {host}"
                for spoilt in (f"{host}.evil.com", f"evil{host}:5000", f"{host}:5000", f"{host}.", f"evil.com/{host}",
                               f"x@{host}", f"{host}\n", host.replace(".", "-"), f"evil.com#.{host}"):  # fmt: skip
                    assert not login.fits(spoilt), f"{kind} at {spoilt!r}"
        assert not [host for host in FOREIGN if login.fits(host)]


@given(st.text(max_size=40), st.sampled_from([host for hosts in OWN.values() for host in hosts]))
def test_no_end_after_a_known_name_makes_it_known(end: str, host: str) -> None:
    fitting = [kind for kind, login in logins().items() if login.fits(host + end)]
    assert not end or not fitting or not end.strip("abcdefghijklmnopqrstuvwxyz0123456789-."), (host, end)
    assert not [kind for kind, login in logins().items() if login.fits(f"{host}/{end}") or login.fits(f"{host}@{end}")]


@CLOUDS
def test_another_host_gets_nothing_unless_the_operator_names_it(cloud: type[Cloud], tmp_path: Path, http: Http) -> None:
    with cloud() as world:
        said = failure(MAKERS[cloud](world, tmp_path, hosts=("other.example.com",)), world, http)
        assert f"is not for {world.host}" in said
        assert "`hosts`" in said
        assert world.server.requests == []


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize(
    "url",
    ["http://token.example.com", "ftp://127.0.0.1", "https://user:pass@token.example.com", "https://a.example.com?q=1",
     "token.example.com", "https://", "https://a.example.com:0", "https://a b", "http://10.0.0.1", "https://[",
     "https://a.example.com:99999"],
)  # fmt: skip
def test_an_address_without_tls_or_sense_is_refused_by_the_configuration(kind: str, url: str) -> None:
    member = members(Credentials)[kind]
    fields = [name for name in member.model_fields if name.endswith("_url")]
    assert len(fields) >= 2
    for name in fields:
        with pytest.raises(ValueError, match=name):
            member(**{name: url})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (partial(Ecr, access_key_id=SecretRef("env:X")), "one half"),
        (partial(Aliyun, access_key_secret=SecretRef("env:X")), "one half"),
        (partial(Acr, client_secret=SecretRef("env:X"), tenant_id="t"), "tenant_id and client_id"),
        (partial(Ecr, role_arn="role"), "role_arn"),
        (partial(Aliyun, instance_id="lab"), "instance_id"),
        (partial(Gar, hosts=("a/b",)), "hosts"),
    ],
)
def test_half_a_login_is_refused_by_the_configuration(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


# --- how often --------------------------------------------------------------------------------------------------------


@CLOUDS
def test_many_threads_fetch_one_login(cloud: type[Cloud], tmp_path: Path, http: Http) -> None:
    with cloud() as world, ThreadPoolExecutor(16) as pool:
        login = bound(MAKERS[cloud](world, tmp_path), world.host, http)
        proofs = list(pool.map(lambda _: login.login("x", time.monotonic() + SOON), range(16)))
        assert len(world.lent) == 1
        assert len(set(proofs)) == 1


@CLOUDS
def test_a_login_is_renewed_before_its_end_and_when_it_is_refused(
    cloud: type[Cloud], tmp_path: Path, http: Http
) -> None:
    with cloud() as world:
        now = [0.0]
        login = MAKERS[cloud](world, tmp_path)
        kept = Kept(partial(login._lend, Place(world.host, lambda: http)), clock=lambda: now[0])
        for at, lent in ((0.0, 1), (world.life - 400, 1), (world.life - 200, 2), (world.life - 100, 2)):
            now[0] = at
            proof = kept.get(time.monotonic() + SOON)
            assert len(world.lent) == lent, at
        bounded = bound(login, world.host, http)
        first = bounded.login("x", time.monotonic() + SOON)
        assert first is not None
        assert bounded.renew(first)
        assert bounded.login("x", time.monotonic() + SOON) != first
        assert proof != first


# --- when it goes wrong -----------------------------------------------------------------------------------------------

WRONG: list[tuple[type[Cloud], Callable[[Any], object], str]] = [
    (Amazon, lambda world: world.keys.clear(), "UnrecognizedClientException*access key does not exist"),
    (Amazon, lambda world: world.keys.update(AKIDLONG="another"), "InvalidSignature*secret access key is wrong"),
    (Google, lambda world: setattr(world, "account", "gone@lab"), "invalid_grant*key was deleted"),
    (Azure, lambda world: setattr(world, "secret", "another"), "AADSTS7000215*client secret or its"),
    (Azure, lambda world: setattr(world, "service", "another"), "UNAUTHORIZED*AcrPull"),
    (Alibaba, lambda world: world.keys.clear(), "InvalidAccessKeyId.NotFound*does not exist or was disabled"),
    (Alibaba, lambda world: world.keys.update({"LTAI-long": "another"}), "SignatureDoesNotMatch*does not belong"),
]  # fmt: skip
SECRETS = ("secret-of-the", "PRIVATE KEY", "entra-0")


@pytest.mark.parametrize(("cloud", "spoil", "said"), WRONG, ids=[row[2] for row in WRONG])
def test_a_refused_key_is_a_clear_error_without_a_secret_and_asked_once(
    cloud: type[Cloud], spoil: Callable[[Any], object], said: str, tmp_path: Path, logged: pytest.LogCaptureFixture
) -> None:
    with cloud() as world, Http() as http:
        login = MAKERS[cloud](world, tmp_path)
        spoil(world)
        kept = bound(login, world.host, http)
        errors = []
        for _ in range(3):
            with pytest.raises(RegistryError) as caught:
                kept.login("x", time.monotonic() + SOON)
            errors.append(str(caught.value))
        code, _, hint = said.partition("*")
        assert code in errors[0]
        assert hint in errors[0]
        assert len(world.refusals) == 1, "a wrong key is not tried again at once"
        assert not [secret for secret in SECRETS if secret in "".join(errors) + logged.text]


SMUGGLED = {
    "access_token": "a\r\nb", "refresh_token": "\u00e9",
    "authorizationData": [{"authorizationToken": "%", "expiresAt": 1}],
    "data": {"tempUserName": "a:b", "authorizationToken": "x y"},
}  # fmt: skip
HOSTILE = [
    pytest.param(reply(200, b" " * (65 << 10)), id="too large"),
    pytest.param(reply(200, b"<html>"), id="HTML"),
    pytest.param(reply(200, b"[" * 60_000), id="nested"),
    pytest.param(reply(200, b""), id="nothing"),
    pytest.param(reply(200, []), id="a list"),
    pytest.param(reply(200, {}), id="an empty object"),
    pytest.param(reply(200, {"access_token": 7, "refresh_token": [], "authorizationData": "x", "data": 3}), id="types"),
    pytest.param(reply(200, SMUGGLED), id="smuggled"),
    pytest.param(reply(404, b"no"), id="not there"),
    pytest.param(reply(200, b"{}", ("Content-Encoding", "gzip")), id="encoded"),
]  # fmt: skip


@CLOUDS
@pytest.mark.parametrize("answer", HOSTILE)
def test_a_hostile_answer_is_an_error_of_this_registry(
    cloud: type[Cloud], answer: bytes, tmp_path: Path, http: Http
) -> None:
    with cloud() as world:
        world.script = lambda _: answer
        said = failure(MAKERS[cloud](world, tmp_path), world, http)
        assert len(said) < 1000
        assert not [secret for secret in SECRETS if secret in said]
        assert len(world.server.requests) == 1


@CLOUDS
@pytest.mark.parametrize("status", [302, 307])
def test_no_redirect_is_followed_with_a_key(cloud: type[Cloud], status: int, tmp_path: Path, http: Http) -> None:
    with cloud() as world, Scripted(lambda _: reply(200, {})) as canary:
        world.script = lambda _: reply(status, b"", ("Location", f"{canary.url}/"))
        assert "leads elsewhere" in failure(MAKERS[cloud](world, tmp_path), world, http)
        assert canary.requests == []


@CLOUDS
def test_a_slow_service_ends_at_the_deadline(cloud: type[Cloud], tmp_path: Path, http: Http) -> None:
    with cloud() as world:
        world.script = lambda _: world.server.drip(reply(200, {"access_token": "x" * 500}), 0.05)
        start = time.monotonic()
        failure(MAKERS[cloud](world, tmp_path), world, http, seconds=0.25)
        assert time.monotonic() - start < 3


@pytest.mark.parametrize("answer", [reply(429), reply(500), reply(503, b"", ("Retry-After", "2")), None], ids=repr)
def test_trouble_is_waited_out_a_little(answer: Answered, http: Http) -> None:
    answers, slept = [answer, answer, reply(200, b"fine")], list[float]()
    with Scripted(lambda _: answers.pop(0)) as server:
        got = asking.ask(
            http, "POST", server.url, form={"a": "b"}, deadline=time.monotonic() + SOON, sleep=slept.append
        )
        assert (got.status, got.body) == (200, b"fine")
        assert [asked.form for asked in server.requests] == [{"a": "b"}] * 3
        assert len(slept) == 2
        assert all(pause >= (2 if answer and b"Retry-After" in bytes(answer) else 0) for pause in slept)  # type: ignore[arg-type]


def test_trouble_that_stays_or_wants_long_is_an_answer(http: Http) -> None:
    with Scripted(lambda _: reply(503)) as server:
        assert asking.ask(http, "GET", server.url, deadline=time.monotonic() + SOON, sleep=lambda _: 0).status == 503
        assert len(server.requests) == 3
    with Scripted(lambda _: reply(429, b"", ("Retry-After", "600"))) as server:
        answer = asking.ask(http, "GET", server.url, deadline=time.monotonic() + SOON, sleep=lambda _: 0)
        with pytest.raises(RegistryError, match="answered 429: too many requests"):
            asking.done(answer, "GET")
        assert len(server.requests) == 1


KEYS = st.sampled_from(["error", "Code", "message", "data", "IsSuccess", "x"])
DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)


@settings(max_examples=50)
@given(st.binary(max_size=300) | DOCUMENTS.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_refusal_says_it_is_one_line_of_ours(body: bytes) -> None:
    answer = Answer(403, httpx.Headers(), body, "https://a.example.com/t?secret=1")
    said = str(asking.refused(answer, "GET"))
    assert said.isprintable()
    assert "secret=1" not in said
    assert len(said) < 1000


def test_a_login_that_knows_no_registry_says_so() -> None:
    for kind, login in logins().items():
        with pytest.raises(RegistryError, match=f"kind {kind} must know"):
            login.login("x", time.monotonic())
        assert not login.renew(Proof())


def test_a_metadata_service_beyond_this_link_is_not_connected_to(tmp_path: Path, http: Http) -> None:
    """The name resolves to where somebody else may answer: only near addresses are."""
    with asking.near() as client, pytest.raises(TransportError, match="may not lead us"):
        client.request("GET", "http://93.184.216.34/", max_bytes=1, deadline=time.monotonic() + 1, reach=asking.NEAR)
