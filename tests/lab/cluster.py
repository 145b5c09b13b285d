"""Clusters on loopback behind one interface, and the means to ask them: raw HTTP, the official client, kubectl.

The stand-in is everywhere; a genuine kube-apiserver with etcd where KUBEBUILDER_ASSETS names the folder of their
binaries. The genuine one has no controllers: what they do is tested on the stand-in alone.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes import client, config, dynamic

from tests.lab.certificates import make_certificate
from updater.demo.cluster import ClusterServer

Json = dict[str, Any]

STAND_IN, GENUINE = "the stand-in", "a genuine server"
APPLY = "application/apply-patch+yaml"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_READY_SECONDS = 90


class Cluster(Protocol):
    """What the tests need of a cluster."""

    url: str
    kubeconfig: Path
    token: str

    @property
    def ca(self) -> Path:
        """The file of the authority that its certificate comes from."""
        ...


def back_ends() -> list[str]:
    """Return the names of those that can be had here."""
    return [STAND_IN, *([GENUINE] if os.environ.get("KUBEBUILDER_ASSETS") else [])]


@contextlib.contextmanager
def started(name: str, folder: Path) -> Iterator[Cluster]:
    """Start a back end."""
    if name == STAND_IN:
        with ClusterServer(folder) as server:
            yield server
    else:
        with Genuine(folder, Path(os.environ["KUBEBUILDER_ASSETS"])) as genuine:
            yield genuine


class Genuine:
    """etcd and kube-apiserver, until the end of the context."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.token = folder, "lab-admin-token"
        self.ca, key = make_certificate(folder, rsa_key=True)
        (folder / "tokens.csv").write_text(f'{self.token},admin,1,"system:masters"\n')
        store, peer, port = (_free_port() for _ in range(3))
        self.url = f"https://127.0.0.1:{port}"
        self._children = contextlib.ExitStack()
        store_program = shutil.which("etcd", path=f"{binaries}:{os.environ['PATH']}") or "etcd"
        etcd = f"http://127.0.0.1:{store}"
        try:
            self._start("etcd", [
                store_program, f"--data-dir={folder}/etcd", f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}", "--unsafe-no-fsync", "--log-level=error",
            ])  # fmt: skip
            api = self._start("kube-apiserver", [
                binaries / "kube-apiserver", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
                f"--secure-port={port}", "--endpoint-reconciler-type=none", f"--etcd-servers={etcd}",
                f"--tls-cert-file={self.ca}", f"--tls-private-key-file={key}", "--service-cluster-ip-range=10.0.0.0/24",
                "--service-account-issuer=https://lab", f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}", f"--token-auth-file={folder}/tokens.csv",
                "--authorization-mode=RBAC", "--profiling=false", "--disable-admission-plugins=ServiceAccount",
            ])  # fmt: skip
            self._wait(api)
        except BaseException:
            self._children.close()
            raise
        self.kubeconfig = folder / "kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": {"token": self.token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        }))  # fmt: skip

    def _start(self, name: str, command: list[str | Path]) -> subprocess.Popen[bytes]:
        log = self._children.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._children.callback(_end, process)
        return process

    def _wait(self, api: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _READY_SECONDS
        with Raw(self) as ask:
            while True:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if ask("GET", "/readyz").code == 200:
                        return
                with contextlib.suppress(subprocess.TimeoutExpired):
                    raise RuntimeError(f"kube-apiserver ended with {api.wait(0.1)}, see {self.folder}")
                if time.monotonic() > end:
                    raise RuntimeError(f"kube-apiserver did not get ready, see {self.folder}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._children.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Said:
    """An answer: status, headers in lower case, the raw body."""

    code: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)


class Raw:
    """Asks with plain HTTP on one connection; a context manager."""

    def __init__(self, cluster: Cluster | Genuine, *, certificate: tuple[Path, Path] | None = None) -> None:
        self._token = None if certificate else cluster.token
        context = ssl.create_default_context(cafile=str(cluster.ca))
        if certificate:
            context.load_cert_chain(*certificate)
        host, _, port = cluster.url.removeprefix("https://").partition(":")
        self._connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=20)

    def __call__(
        self, method: str, path: str, body: Json | list[Any] | bytes | None = None, media: str = "application/json",
        **headers: str,
    ) -> Said:  # fmt: skip
        """Ask; headers as `accept=...`, `impersonate_user=...`."""
        with self.opened(method, path, body, media, **headers) as answer:
            return Said(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    @contextlib.contextmanager
    def opened(
        self, method: str, path: str, body: Json | list[Any] | bytes | None = None, media: str = "application/json",
        **headers: str,
    ) -> Iterator[http.client.HTTPResponse]:  # fmt: skip
        """Ask, and give the answer to read from; it is closed, and the connection with it where it is not read out."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._token is not None:
            sent.setdefault("authorization", f"Bearer {self._token}")
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            sent["content-type"] = media
        self._connection.request(method, path, data, sent)
        answer = self._connection.getresponse()
        try:
            yield answer
        finally:
            if not answer.isclosed():
                answer.close()
                self._connection.close()

    def apply(self, path: str, obj: Json, manager: str = "sync", **query: str) -> Said:
        """Apply on the server's side."""
        words = "&".join(f"{name}={value}" for name, value in {"fieldManager": manager, **query}.items())
        return self("PATCH", f"{path}?{words}", obj, APPLY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self._connection.close()


_SPACES = itertools.count(1)


def new_namespace(ask: Raw) -> str:
    """Make a namespace with a name of its own and return the name."""
    name = f"space-{next(_SPACES)}"
    made = ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    assert made.code == 201, made.raw
    return name


@contextlib.contextmanager
def official_client(kubeconfig: Path, folder: Path) -> Iterator[dynamic.DynamicClient]:
    """Give the official dynamic client, with its cache in a folder."""
    api: client.ApiClient = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
    try:
        cache = str(folder / f"discovery-{next(_SPACES)}.json")
        yield dynamic.DynamicClient(api, cache_file=cache)  # type: ignore[no-untyped-call]
    finally:
        api.rest_client.pool_manager.clear()
        api.close()  # type: ignore[no-untyped-call]


def kubectl(
    cluster: Cluster, folder: Path, *words: str, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the real kubectl with a home and cache of its own."""
    environment = {"HOME": str(folder), "KUBECONFIG": str(cluster.kubeconfig), "PATH": os.environ["PATH"], **more}
    program = Path(sys.executable).parent / "kubectl"
    return subprocess.run(
        [program, *words], input=stdin, env=environment, cwd=folder, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def client_certificate(cluster: ClusterServer, user: str) -> tuple[Path, Path]:
    """Make a certificate of a user and its key, signed by the stand-in's authority."""
    issuer = x509.load_pem_x509_certificate(cluster.ca.read_bytes())
    signer = serialization.load_pem_private_key((cluster.folder / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.not_valid_before_utc)
        .not_valid_after(issuer.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    crt, pem = cluster.folder / f"{user}.crt", cluster.folder / f"{user}.key"
    crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return crt, pem


def config_map(name: str, data: Mapping[str, str] | None = None, **meta: Any) -> Json:
    """Return a ConfigMap; what is in `meta` goes into its metadata."""
    found: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}}
    return found | ({"data": dict(data)} if data is not None else {})


def deployment(name: str, image: str = "registry.example.com/web:1.0.0", **spec: Any) -> Json:
    """Return a Deployment of one container, `web`."""
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}}
    found = {"selector": {"matchLabels": labels}, "template": pod, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": found}


def definition(plural: str, kind: str, group: str = "example.com", schema: Json | None = None, **version: Any) -> Json:
    """Return a CustomResourceDefinition; without a schema it keeps every field."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    one = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or free}, **version}
    spec = {"group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": [one]}
    meta = {"name": f"{plural}.{group}"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta, "spec": spec}
