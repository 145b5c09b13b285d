"""Application manifests become applications, as they are; whatever is not done here is a mistake with its place."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from tests.lab.config import marked
from updater.config import manifests
from updater.config.manifests import LATER, MAX_APPLICATIONS, MAX_PROBLEMS, Read, joined, read
from updater.model.application import (
    Application,
    Automated,
    Destination,
    Directory,
    Helm,
    HelmParameter,
    Ignored,
    Kustomize,
    Retry,
    Source,
    SyncPolicy,
)
from updater.model.stream import MAX_BYTES

FOLDER = Path(__file__).parent / "applications"
API = "argoproj.io/v1alpha1"


def applications(name: str) -> list[Application]:
    """Read a file that holds no mistake."""
    found = read((FOLDER / name).read_bytes(), name)
    assert (found.problems, found.refused, found.complete) == ([], {}, True)
    return found.applications


def test_the_example_of_the_documentation() -> None:
    [guestbook] = applications("guestbook.yaml")
    assert guestbook == Application(
        name="guestbook",
        source=Source("https://github.com/argoproj/argocd-example-apps.git", "guestbook"),
        destination=Destination(server="https://kubernetes.default.svc", namespace="guestbook"),
        labels={"team": "platform"},
        policy=SyncPolicy(
            automated=Automated(prune=True, self_heal=True),
            options=frozenset(
                {"Validate=false", "CreateNamespace=true", "PrunePropagationPolicy=foreground", "PruneLast=true"}
            ),
            retry=Retry(limit=10, first=10.0, factor=3.0, longest=1800.0),
            namespace_labels={"pod-security.kubernetes.io/enforce": "restricted"},
            namespace_annotations={"owner": "platform"},
        ),
        ignored=(
            Ignored(
                "apps",
                "Deployment",
                "guestbook-ui",
                "guestbook",
                ("/spec/replicas", "/metadata/annotations/example.com~1hash"),
            ),
            Ignored("*", "*", managers=("kube-controller-manager",)),
        ),
        history=3,
        cascade=True,
    )
    assert guestbook.origin == "guestbook.yaml:2"


def test_several_applications_of_one_file_with_every_tool() -> None:
    ingress, web, raw = applications("tools.yaml")
    assert [one.origin for one in (ingress, web, raw)] == ["tools.yaml:1", "tools.yaml:35", "tools.yaml:62"]
    assert ingress.source == Source(
        "git@git.example.com:platform/charts.git",
        "charts/ingress",
        "v1.2.0",
        helm=Helm(
            release_name="edge",
            value_files=("values.yaml", "../common/values-prod.yaml"),
            values="replicas: 2\n",
            values_object={"image": {"tag": "1.27.0"}, "nothing": None, "true": True},
            parameters=(
                HelmParameter("ingress.annotations.kubernetes\\.io/tls-acme", "true", force_string=True),
                HelmParameter("empty", ""),
            ),
            skip_crds=True,
            ignore_missing_value_files=True,
            namespace="edge",
        ),
    )
    assert (ingress.destination, ingress.project) == (Destination("edge", "", "ingress"), "default")
    assert web.source == Source(
        "ssh://git@git.example.com:2222/shop/deploy",
        "overlays/prod",
        "release/2026-11",
        kustomize=Kustomize(
            images=(
                "ghcr.io/acme/web:1.5.0",
                "nginx=registry.example.com/nginx@sha256:9e4f1b9ad5b1b5d2e0e6f6f1c4a3b2918070605040302010f0e0d0c0b0a09080",
            ),
            name_prefix="prod-",
            name_suffix="-blue",
            namespace="shop",
            common_labels={"app": "web"},
            common_annotations={"docs": "https://docs.example.com"},
        ),
    )
    assert (web.project, web.suspend, web.policy.automated) == ("shop", True, Automated(enabled=False))
    assert web.policy.retry == Retry(limit=-1, first=7.0)
    assert raw.source == Source(
        "https://git.example.com/shop/deploy",
        directory=Directory(recurse=True, include="*.yaml", exclude="{old,test}/*"),
    )


def test_an_application_says_little_and_the_rest_has_defaults() -> None:
    [raw] = [one for one in applications("tools.yaml") if one.name == "raw"]
    assert raw.policy == SyncPolicy(automated=None, options=frozenset(), retry=Retry(5, 5.0, 2.0, 180.0))
    assert (raw.history, raw.cascade, raw.suspend, raw.ignored) == (10, False, False, ())
    assert (raw.source.path, raw.source.target_revision) == (".", "HEAD")


def test_null_is_as_if_the_key_were_not_there() -> None:
    """`automated:` with nothing behind it switches nothing on, and `automated: {}` does: so it is in Kubernetes."""
    ingress = applications("tools.yaml")[0]
    assert ingress.policy.automated is None
    assert one("syncPolicy: {automated: {}}").policy.automated == Automated()


def test_an_export_is_read_without_what_the_server_added() -> None:
    [exported] = applications("export.yaml")
    assert exported.annotations == {}
    assert (exported.source.target_revision, exported.cascade) == ("0123456789abcdef0123456789abcdef01234567", True)


def test_json_is_read_as_yaml_is() -> None:
    documents = list(yaml.safe_load_all((FOLDER / "guestbook.yaml").read_text()))
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    assert read(text, "a.json").applications == applications("guestbook.yaml")


def test_bytes_with_a_mark_at_their_beginning_are_read() -> None:
    data = "\ufeff" + (FOLDER / "guestbook.yaml").read_text()
    assert read(data.encode(), "a.yaml").applications == read(data, "a.yaml").applications != []


def test_nothing_is_no_mistake() -> None:
    assert read("# later\n---\n", "a.yaml") == Read()


GOOD = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: %s}
spec:
  source: {repoURL: https://git.example.com/a.git}
  destination: {name: cloud}
"""
HEAD = f"apiVersion: {API}\nkind: Application\n"
SPEC = HEAD + "metadata: {name: a}\nspec:\n  source: {repoURL: https://git.example.com/a.git}\n"
TO = "  destination: {name: cloud}\n"
SOURCE = HEAD + "metadata: {name: a}\nspec:\n  destination: {name: cloud}\n  source:\n    %s\n"
FROM = "repoURL: https://git.example.com/a.git"
METADATA = HEAD + "metadata:\n  %s\nspec:\n  source: {repoURL: https://git.example.com/a.git}\n" + TO
FINALIZERS = ", ".join(f"resources-finalizer.argocd.argoproj.io{end}" for end in ("", "/foreground", "/background"))
DNS = "small letters, digits, dashes and dots, as Kubernetes names objects"
NAMESPACE = "at most 63 small letters, digits and dashes, as Kubernetes names namespaces"
REVISION = "the name of a branch or a tag, a commit, or HEAD"
DURATION = "a duration such as 5s, 3m or 1h"
NO_KEY = "a manifest without it"


def one(spec: str) -> Application:
    found = read(SPEC + TO + f"  {spec}\n", "a.yaml")
    assert found.problems == []
    return found.applications[0]


MISTAKES = [
    # what, the file with § before the mistake, where, found, expected
    ("no metadata", HEAD.replace("api", "§api") + "spec: {}\n", "metadata", "no `metadata`", "`metadata`"),
    ("no name", METADATA % "§labels: {}", "metadata.name", "no `name`", "`name`"),
    ("a name with a capital", METADATA % "name: §Web", "metadata.name", "'Web'", DNS),
    ("a name with two dots", METADATA % "name: §a..b", "metadata.name", "'a..b'", DNS),
    ("an empty name", METADATA % "name: §''", "metadata.name", "''", DNS),
    (
        "a name that is too long",
        METADATA % f"name: §{'a' * 246}",
        "metadata.name",
        "a text",
        "a text of at most 245 characters",
    ),
    ("a name that is a number", METADATA % "name: §1.5", "metadata.name", "1.5", "a text in quotes"),
    ("a name that YAML takes for true", METADATA % "name: §on", "metadata.name", "true", "a text in quotes"),
    ("a label that is a number", METADATA % "labels: {a: §1}\n  name: a", "metadata.labels.a", "1", "a text in quotes"),
    (
        "unknown key of metadata",
        METADATA % "name: a\n  §lables: {}",
        "metadata.lables",
        "unknown key `lables`",
        "`labels`",
    ),
    (
        "a name to be generated",
        METADATA % "name: a\n  §generateName: a-",
        "metadata.generateName",
        f"`generateName`{LATER}",
        NO_KEY,
    ),
    (
        "an owner",
        METADATA % "name: a\n  §ownerReferences: []",
        "metadata.ownerReferences",
        f"`ownerReferences`{LATER}",
        NO_KEY,
    ),
    (
        "another finalizer",
        METADATA % "name: a\n  finalizers: [§post-delete-finalizer.argocd.argoproj.io]",
        "metadata.finalizers[0]",
        "'post-delete-finalizer.argocd.argoproj.io'",
        f"one of {FINALIZERS}",
    ),
    (
        "suspended perhaps",
        METADATA % "name: a\n  annotations: §{updater/suspend: 'yes'}",
        "metadata.annotations",
        "'yes' in updater/suspend",
        '"true" or "false"',
    ),
    (
        "an operation that is asked for",
        GOOD % "a" + "§operation: {sync: {}}\n",
        "operation",
        f"`operation`{LATER}",
        NO_KEY,
    ),
    ("unknown key of the manifest", GOOD % "a" + "§specs: {}\n", "specs", "unknown key `specs`", "`spec`"),
    (
        "no destination",
        HEAD + "metadata: {name: a}\nspec:\n  §" + f"source: {{{FROM}}}\n",
        "spec.destination",
        "no `destination`",
        "`destination`",
    ),
    ("no source", HEAD + "metadata: {name: a}\nspec:\n  §" + TO.lstrip(), "spec.source", "no `source`", "`source`"),
    (
        "several sources",
        HEAD + "metadata: {name: a}\nspec:\n" + TO + "  §sources: []\n",
        "spec.sources",
        f"`sources`{LATER}",
        NO_KEY,
    ),
    (
        "a source hydrator",
        SPEC + TO + "  §sourceHydrator: {}\n",
        "spec.sourceHydrator",
        f"`sourceHydrator`{LATER}",
        NO_KEY,
    ),
    (
        "unknown key of spec",
        SPEC + TO + "  §syncpolicy: {}\n",
        "spec.syncpolicy",
        "unknown key `syncpolicy`",
        "`syncPolicy`",
    ),
    ("an unknown key without a value", SPEC + TO + "  §suspend:\n", "spec.suspend", "unknown key `suspend`", NO_KEY),
    ("a list for a mapping", HEAD + "metadata: {name: a}\nspec: §[]\n", "spec", "a list", "a mapping"),
    ("no address", SOURCE % "§path: a", "spec.source.repoURL", "no `repoURL`", "`repoURL`"),
    (
        "a file as address",
        SOURCE % "repoURL: §file:///etc",
        "spec.source.repoURL",
        "'file:///etc'",
        "https://, ssh:// or git@host:path",
    ),
    (
        "an OCI address",
        SOURCE % "repoURL: §oci://ghcr.io/acme/x",
        "spec.source.repoURL",
        "'oci://ghcr.io/acme/x'",
        "https://, ssh:// or git@host:path",
    ),
    (
        "an address that leads elsewhere",
        SOURCE % "repoURL: §https://git.example.com/a/../b",
        "spec.source.repoURL",
        "'https://git.example.com/a/../b'",
        "the path of a repository without dots that lead elsewhere",
    ),
    (
        "a hidden way elsewhere",
        SOURCE % "repoURL: §https://git.example.com/a/%2E%2e/b",
        "spec.source.repoURL",
        "'https://git.example.com/a/%2E%2e/b'",
        "the path of a repository without dots that lead elsewhere",
    ),
    (
        "plain HTTP",
        SOURCE % "repoURL: §http://git.example.com/a",
        "spec.source.repoURL",
        "'http://git.example.com/a', plain text on the way",
        "https:// or ssh://",
    ),
    (
        "a path above",
        SOURCE % f"{FROM}\n    path: §../a",
        "spec.source.path",
        "'../a'",
        'a folder inside the repository, such as "applications"',
    ),
    (
        "a path from the root",
        SOURCE % f"{FROM}\n    path: §/a",
        "spec.source.path",
        "'/a'",
        'a folder inside the repository, such as "applications"',
    ),
    ("a chart", SOURCE % f"{FROM}\n    §chart: a", "spec.source.chart", f"`chart`{LATER}", NO_KEY),
    ("a plugin", SOURCE % f"{FROM}\n    §plugin: {{}}", "spec.source.plugin", f"`plugin`{LATER}", NO_KEY),
    ("a source for others", SOURCE % f"{FROM}\n    §ref: values", "spec.source.ref", f"`ref`{LATER}", NO_KEY),
    (
        "a revision that YAML takes for a number",
        SOURCE % f"{FROM}\n    targetRevision: §1.10",
        "spec.source.targetRevision",
        "1.1",
        "a text in quotes",
    ),
    *(
        (
            f"the range {text}",
            SOURCE % f"{FROM}\n    targetRevision: §'{text}'",
            "spec.source.targetRevision",
            f"'{text}', a range of versions{LATER}",
            REVISION,
        )
        for text in ("*", "^1.2", "~1.2.0", ">=1.0.0", "1.*", "<2", "=1.0", "1.0 - 2.0", ">=1,<2", "1 || 2", "!=1")
    ),
    *(
        (
            f"the revision {text}",
            SOURCE % f"{FROM}\n    targetRevision: §'{text}'",
            "spec.source.targetRevision",
            f"'{text}'",
            REVISION,
        )
        for text in ("-x", "a..b", "a@{1}", "a/", "main:x", "x.lock")
    ),
    (
        "two tools",
        SOURCE.replace("%s", "§%s") % f"{FROM}\n    helm: {{}}\n    kustomize: {{}}",
        "spec.source",
        "kustomize and helm",
        "one of them at most",
    ),
    (
        "jsonnet",
        SOURCE % f"{FROM}\n    directory: {{§jsonnet: {{}}}}",
        "spec.source.directory.jsonnet",
        f"`jsonnet`{LATER}",
        NO_KEY,
    ),
    (
        "patches",
        SOURCE % f"{FROM}\n    kustomize: {{§patches: []}}",
        "spec.source.kustomize.patches",
        f"`patches`{LATER}",
        NO_KEY,
    ),
    (
        "parameters from files",
        SOURCE % f"{FROM}\n    helm: {{§fileParameters: []}}",
        "spec.source.helm.fileParameters",
        f"`fileParameters`{LATER}",
        NO_KEY,
    ),
    (
        "a parameter that is a number",
        SOURCE % f"{FROM}\n    helm: {{parameters: [{{name: a, value: §8}}]}}",
        "spec.source.helm.parameters[0].value",
        "8",
        "a text in quotes",
    ),
    (
        "values that are no text",
        SOURCE % f"{FROM}\n    helm: {{values: §{{a: 1}}}}",
        "spec.source.helm.values",
        "a mapping",
        "a text",
    ),
    (
        "values that are no mapping",
        SOURCE % f"{FROM}\n    helm: {{valuesObject: §secret}}",
        "spec.source.helm.valuesObject",
        "a text",
        "a mapping",
    ),
    (
        "a value file elsewhere",
        SOURCE % f"{FROM}\n    helm: {{valueFiles: [§'https://x/y']}}",
        "spec.source.helm.valueFiles[0]",
        f"a value file at an address{LATER}",
        "a path in the repository",
    ),
    (
        "a value file of another source",
        SOURCE % f"{FROM}\n    helm: {{valueFiles: [a, §$values/x]}}",
        "spec.source.helm.valueFiles[1]",
        f"a value file of another source{LATER}",
        "a path in the repository",
    ),
    (
        "a release that is an option",
        SOURCE % f"{FROM}\n    helm: {{releaseName: §--post-renderer}}",
        "spec.source.helm.releaseName",
        "'--post-renderer'",
        NAMESPACE,
    ),
    (
        "two clusters",
        SPEC + "  destination: §{name: a, server: 'https://a'}\n",
        "spec.destination",
        "both name and server",
        "exactly one of them",
    ),
    (
        "no cluster",
        SPEC + "  destination: §{namespace: a}\n",
        "spec.destination",
        "neither name nor server",
        "exactly one of them",
    ),
    (
        "a server that is a name",
        SPEC + "  destination: {server: §cloud}\n",
        "spec.destination.server",
        "'cloud'",
        "an address such as https://host:port",
    ),
    (
        "a namespace that is none",
        SPEC + "  destination: {name: a, namespace: §a_b}\n",
        "spec.destination.namespace",
        "'a_b'",
        NAMESPACE,
    ),
    (
        "an unknown option",
        SPEC + TO + "  syncPolicy: {syncOptions: [§ServerSideDiff=true]}\n",
        "spec.syncPolicy.syncOptions[0]",
        "unknown sync option 'ServerSideDiff=true'",
        "*one of ApplyOutOfSyncOnly, CreateNamespace",
    ),
    (
        "an option in small letters",
        SPEC + TO + "  syncPolicy: {syncOptions: [§pruneLast=true]}\n",
        "spec.syncPolicy.syncOptions[0]",
        "unknown sync option 'pruneLast=true'",
        "*PruneLast",
    ),
    (
        "an option with another value",
        SPEC + TO + "  syncPolicy: {syncOptions: [Prune=true, §Replace=yes]}\n",
        "spec.syncPolicy.syncOptions[1]",
        "sync option 'Replace=yes'",
        "Replace=true|false",
    ),
    (
        "options of two minds",
        SPEC + TO + "  syncPolicy: {syncOptions: §[Prune=true, Prune=false]}\n",
        "spec.syncPolicy.syncOptions",
        "Prune with several values",
        "one",
    ),
    (
        "self-healing in small letters",
        SPEC + TO + "  syncPolicy: {automated: {§selfheal: true}}\n",
        "spec.syncPolicy.automated.selfheal",
        "unknown key `selfheal`",
        "`selfHeal`",
    ),
    (
        "a truth in quotes",
        SPEC + TO + "  syncPolicy: {automated: {prune: §'true'}}\n",
        "spec.syncPolicy.automated.prune",
        "a text",
        "true or false",
    ),
    (
        "a pause that is none",
        SPEC + TO + "  syncPolicy: {retry: {backoff: {duration: §soon}}}\n",
        "spec.syncPolicy.retry.backoff.duration",
        "'soon'",
        DURATION,
    ),
    (
        "a pause below zero",
        SPEC + TO + "  syncPolicy: {retry: {backoff: {duration: §-5}}}\n",
        "spec.syncPolicy.retry.backoff.duration",
        "'-5'",
        DURATION,
    ),
    (
        "a pause without end",
        SPEC + TO + "  syncPolicy: {retry: {backoff: {maxDuration: §9999999999}}}\n",
        "spec.syncPolicy.retry.backoff.maxDuration",
        "'9999999999'",
        DURATION,
    ),
    (
        "a factor of nothing",
        SPEC + TO + "  syncPolicy: {retry: {backoff: {factor: §0}}}\n",
        "spec.syncPolicy.retry.backoff.factor",
        "0",
        "at least 1",
    ),
    (
        "a retry of the newest",
        SPEC + TO + "  syncPolicy: {retry: {§refresh: true}}\n",
        "spec.syncPolicy.retry.refresh",
        f"`refresh`{LATER}",
        NO_KEY,
    ),
    (
        "an expression",
        SPEC + TO + "  ignoreDifferences: [{kind: A, §jqPathExpressions: [.a]}]\n",
        "spec.ignoreDifferences[0].jqPathExpressions",
        f"`jqPathExpressions`{LATER}",
        NO_KEY,
    ),
    (
        "a rule for no kind",
        SPEC + TO + "  ignoreDifferences: [§{jsonPointers: [/a]}]\n",
        "spec.ignoreDifferences[0].kind",
        "no `kind`",
        "`kind`",
    ),
    (
        "a rule that ignores nothing",
        SPEC + TO + "  ignoreDifferences: [§{kind: A}]\n",
        "spec.ignoreDifferences[0]",
        "nothing to ignore",
        "jsonPointers or managedFieldsManagers",
    ),
    *(
        (
            f"the pointer {text!r}",
            SPEC + TO + f"  ignoreDifferences: [{{kind: A, jsonPointers: [§'{text}']}}]\n",
            "spec.ignoreDifferences[0].jsonPointers[0]",
            repr(text),
            "a JSON pointer such as /spec/replicas",
        )
        for text in ("spec/replicas", "", "/a~2b", "/a~", ".spec.replicas")
    ),
    (
        "a history below zero",
        SPEC + TO + "  revisionHistoryLimit: §-1\n",
        "spec.revisionHistoryLimit",
        "-1",
        "at least 0",
    ),
    (
        "an ApplicationSet",
        f"apiVersion: {API}\nkind: §ApplicationSet\nspec: {{}}\n",
        "kind",
        f"kind ApplicationSet of {API}{LATER}",
        f"Application of {API}",
    ),
    (
        "an AppProject",
        f"apiVersion: {API}\nkind: §AppProject\n",
        "kind",
        f"kind AppProject of {API}{LATER}",
        f"Application of {API}",
    ),
    (
        "another kind",
        "apiVersion: v1\nkind: §Secret\ndata: {a: c2VjcmV0}\n",
        "kind",
        "kind Secret of v1",
        f"Application of {API}",
    ),
    (
        "another version",
        "apiVersion: argoproj.io/v1\nkind: §Application\n",
        "kind",
        "kind Application of argoproj.io/v1",
        f"Application of {API}",
    ),
    ("no kind", "§resources: [a.yaml]\n", "kind", "no `kind`", f"Application of {API}"),
    ("a kind that is a list", "kind: §[Application]\n", "kind", "kind a list of nothing", f"Application of {API}"),
    ("a kind that breaks the line", 'kind: §"a\\nb"\n', "kind", "kind 'a\\nb' of nothing", f"Application of {API}"),
]


@pytest.mark.parametrize(
    ("text", "where", "found", "expected"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_names_its_place(text: str, where: str, found: str, expected: str) -> None:
    text, at = marked(text)
    problem = next(one for one in read(text, "a.yaml").problems if one.where == where)
    assert f"{problem.file}:{problem.line}:{problem.column}" == f"a.yaml:{at}"
    assert problem.found == found
    assert expected.strip("*") in problem.expected if expected.startswith("*") else expected == problem.expected


@pytest.mark.parametrize("text", [row[1] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_a_mistake_neither_hides_nor_harms_the_others(text: str) -> None:
    """Whatever stands before and behind it is read, and the other lines are those of the file."""
    alone = read(marked(text)[0], "a.yaml")
    assert alone.applications == []
    assert alone.complete or not alone.refused
    both = read(GOOD % "before" + "---\n" + marked(text)[0] + "---\n" + GOOD % "behind", "a.yaml")
    assert [one.name for one in both.applications] == ["before", "behind"]
    assert [(one.line - 7, one.column, one.found) for one in both.problems] == [
        (one.line, one.column, one.found) for one in alone.problems
    ]


@pytest.mark.parametrize(
    ("text", "refused", "complete"),
    [
        ("kind: Application\n", set(), False),
        ("kind: Application\nmetadata: {name: 7}\n", set(), False),
        ("kind: Application\nmetadata: {name: web}\n", {"web"}, True),
        ("resources: [a.yaml]\n", set(), True),
        ("kind: ConfigMap\nmetadata: {name: web}\n", set(), True),
    ],
    ids=["no name", "a name that is none", "a name alone", "a kustomization", "another kind"],
)
def test_an_application_that_is_refused_is_not_taken_for_removed(text: str, refused: set[str], complete: bool) -> None:
    """Its name is known, or any application may be the one."""
    found = read(text, "a.yaml")
    assert (found.applications, set(found.refused), found.complete) == ([], refused, complete)


@pytest.mark.parametrize(
    "url",
    [
        "https://ci:hunter2-canary@git.example.com/a",
        "https://hunter2-canary@git.example.com/a",
        "ssh://git:hunter2-canary@git.example.com/a",
        "http://ci:hunter2-canary@127.0.0.1/a",
    ],
    ids=["password", "token", "password over SSH", "on loopback"],
)
def test_a_secret_in_an_address_is_refused_and_not_printed(url: str) -> None:
    [problem] = read(SOURCE % f"repoURL: {url}", "a.yaml").problems
    assert problem.found == "a literal secret inside a URL"
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        SOURCE % f"{FROM}\n    helm: {{values: [hunter2-canary]}}",
        SOURCE % f"{FROM}\n    helm: {{parameters: [{{name: a, value: {{x: hunter2-canary}}}}]}}",
        SOURCE % f"{FROM}\n    helm: {{parameters: hunter2-canary}}",
        SOURCE % f"{FROM}\n    helm: hunter2-canary",
        SPEC + "  destination: {server: 'https://ci:hunter2-canary@a'}\n",
        SPEC + "  destination: hunter2-canary\n",
        "apiVersion: v1\nkind: Secret\nstringData: {a: hunter2-canary}\n",
        "- hunter2-canary\n",
        "a: 'hunter2-canary\n",
        "a: !!int hunter2-canary\n",
    ],
    ids=[
        "values of a chart",
        "parameter",
        "parameters",
        "chart",
        "password of a server",
        "destination",
        "Secret",
        "list",
        "broken YAML",
        "number that is none",
    ],
)
def test_what_may_be_a_secret_is_not_printed(text: str) -> None:
    found = read(text, "a.yaml")
    assert found.problems
    assert "hunter2" not in str(found.problems)


@pytest.mark.parametrize(
    "revision",
    ["main", "1.x", "v1.2.3", "release/2026", "refs/tags/v1", "HEAD", "0123abc", "feature_x+1", "版本"],
)
def test_names_of_branches_tags_and_commits_are_taken_as_they_are(revision: str) -> None:
    found = read(SOURCE % f"{FROM}\n    targetRevision: '{revision}'", "a.yaml")
    assert (found.problems, found.applications[0].source.target_revision) == ([], revision)


def test_an_empty_revision_is_head() -> None:
    assert read(SOURCE % f"{FROM}\n    targetRevision: ''", "a").applications[0].source.target_revision == "HEAD"


def test_plain_http_is_fine_on_loopback_and_where_a_repository_says_so() -> None:
    assert read(SOURCE % "repoURL: http://127.0.0.1:3000/a", "a").problems == []
    plain = SOURCE % "repoURL: http://git.internal/a.git"
    assert read(plain, "a", insecure=["http://git.internal/a"]).problems == []
    assert [one.where for one in read(plain, "a", insecure=["http://git.internal/b"]).problems] == [
        "spec.source.repoURL"
    ]


def test_several_sources_are_one_mistake_and_not_two() -> None:
    text = HEAD + "metadata: {name: a}\nspec:\n" + TO + "  sources: [{chart: x}]\n"
    assert [one.where for one in read(text, "a.yaml").problems] == ["spec.sources"]


def test_every_mistake_of_a_manifest_comes_at_once() -> None:
    text = METADATA.replace("cloud", "§") % "name: A\n  lables: {}"
    found = read(text.replace("{name: §}", "{}"), "a.yaml")
    assert [one.where for one in found.problems] == ["metadata.name", "metadata.lables", "spec.destination"]


def test_who_is_refused_is_still_known_by_name() -> None:
    """Nobody may take such an application for one that was removed, and remove what it has."""
    found = read(
        GOOD.replace("cloud", "") % "a" + "---\n" + GOOD % "b" + "---\nkind: Secret\nmetadata: {name: c}\n", "f"
    )
    assert (set(found.refused), [one.name for one in found.applications], found.complete) == ({"a"}, ["b"], True)


BROKEN = [
    ("broken YAML", GOOD % "a" + "---\na: [\n---\n" + GOOD % "b", 9),
    ("a list", GOOD % "a" + "---\n- a\n", 8),
    ("a word", "hello\n", 1),
    ("a key twice", GOOD % "a" + "---\na: 1\na: 2\n", 9),
    ("a list with a word in it", "kind: List\nitems:\n- a\n", 1),
    ("a NUL", "a: 1\nb: \0\n", 2),
    ("an alias without its anchor", "a: *b\n", 1),
    ("an alias in its own anchor", "a: &a [*a]\n", 1),
    ("deep lists", "a: " + "[" * 100_000, 1),
    ("deep mappings", "a: " + "{a: " * 100_000, 1),
    ("deep blocks", "- " * 100_000, 1),
    (
        "a bomb",
        "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
        7,
    ),
    (
        "another bomb",
        f"x: &x [{','.join('y' * 1000)}]\n"
        "a: &a [" + ",".join(["*x"] * 1000) + "]\nb: [" + ",".join(["*a"] * 1000) + "]\n",
        3,
    ),
    ("too many documents", "--- {}\n" * 50_001, 1),
    ("a merge of words", "a: {<<: b}\n", 1),
]


@pytest.mark.parametrize(("text", "line"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_file_that_cannot_be_read_is_lost_whole_and_quickly(text: str, line: int) -> None:
    """`complete` says that nothing in it may be taken for removed."""
    start = time.monotonic()
    found = read(text, "a.yaml")
    [problem] = found.problems
    assert (problem.file, problem.line, found.complete, found.applications) == ("a.yaml", line, False, [])
    assert len(str(problem)) < 500
    assert time.monotonic() - start < 10  # a crash or a hang, not a measurement


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    found = read("#" * (MAX_BYTES + 1), "a.yaml")
    assert (found.complete, [one.line for one in found.problems]) == (False, [0])
    assert "too large" in str(found.problems)


def test_bytes_that_are_no_text_are_a_mistake() -> None:
    found = read(b"a: 1\nb: \xff\n", "a.yaml")
    assert (found.complete, [one.line for one in found.problems]) == (False, [2])


def test_a_file_of_very_many_applications_says_that_some_are_left_out() -> None:
    listed = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(GOOD % "a")] * (MAX_APPLICATIONS + 1)}
    )
    found = read(listed, "a.json")
    assert (len(found.applications), found.complete) == (MAX_APPLICATIONS, False)
    assert [one.found for one in found.problems] == [f"{MAX_APPLICATIONS + 1} manifests"]


def test_one_slip_many_times_is_no_endless_report() -> None:
    found = read("---\n".join([GOOD.replace("cloud", "") % "a"] * 1000), "a.yaml")
    assert len(found.problems) == MAX_PROBLEMS + 1
    assert found.problems[-1].found == f"{1000 - MAX_PROBLEMS} more mistakes"


def places(text: str) -> dict[str, str]:
    return {problem.where: f"{problem.line}:{problem.column}" for problem in read(text, "a").problems}


def test_an_alias_stands_where_it_is_written_and_what_it_holds_at_its_anchor() -> None:
    text, at = marked(GOOD.replace("metadata: {name: %s}", "metadata: {name: a, labels: &l [x], annotations: §*l}"))
    assert places(text)["metadata.annotations"] == at
    text, at = marked(GOOD.replace("metadata: {name: %s}", "metadata: {name: a, labels: &l {x: §1}, annotations: *l}"))
    assert places(text) == {"metadata.labels.x": at, "metadata.annotations.x": at}


@pytest.mark.parametrize("merged", ["*x", "[*x]", "[{kind: Application}, *x]"], ids=["one", "a list", "several"])
def test_merged_keys_are_read_and_have_places(merged: str) -> None:
    rest = (GOOD % "a").replace("metadata: {name: a}\n", "")
    text, at = marked("x: &x {metadata: {name: §A}}\n" + rest + f"<<: {merged}\n")
    assert places(text) == {"metadata.name": at, "x": "1:1"}


def test_a_stream_of_json_has_lines_at_least() -> None:
    """Objects side by side are no YAML, and kubectl takes them."""
    text = json.dumps(yaml.safe_load(GOOD % "a")) + "\n" + json.dumps(yaml.safe_load(GOOD % "B"))
    found = read(text, "a.json")
    assert ([one.name for one in found.applications], places(text)) == (["a"], {"metadata.name": "2:1"})


def names(found: Read) -> list[tuple[str, str]]:
    return [(one.name, one.origin) for one in found.applications]


def test_a_name_used_twice_is_a_mistake_that_names_both_places() -> None:
    reads = [read(GOOD % "a" + "---\n" + GOOD % "b", "x.yaml"), read(GOOD % "c" + "---\n" + GOOD % "a", "y.yaml")]
    whole = joined(reads)
    assert names(whole) == [("a", "x.yaml:1"), ("b", "x.yaml:8"), ("c", "y.yaml:1")]
    [problem] = whole.problems
    assert str(problem) == (
        "y.yaml:8:1: metadata.name: found the name 'a' a second time (first at x.yaml:1), expected a name of its own"
    )


def test_a_name_used_twice_in_one_file_is_a_mistake_too() -> None:
    other = (GOOD % "a").replace("cloud", "edge")
    assert names(joined([read(GOOD % "a" + "---\n" + other, "x.yaml")])) == [("a", "x.yaml:1")]
    items = [yaml.safe_load(GOOD % "a"), yaml.safe_load(other)]
    whole = joined([read(json.dumps({"kind": "List", "items": items}), "x.json")])
    assert ([one.destination.name for one in whole.applications], len(whole.problems)) == (["cloud"], 1)


def test_a_file_that_two_entries_read_counts_once() -> None:
    found = read(GOOD % "a" + "---\n" + GOOD.replace("cloud", "") % "b", "x.yaml")
    whole = joined([found, found, read(GOOD % "a", "x.yaml")])
    assert (names(whole), len(whole.problems)) == ([("a", "x.yaml:1")], 1)


def test_the_name_of_a_refused_application_stays_taken() -> None:
    """Otherwise the other one would be deployed for as long as the mistake lasts."""
    whole = joined([read(GOOD.replace("cloud", "") % "a", "x.yaml"), read(GOOD % "a", "y.yaml")])
    assert (names(whole), set(whole.refused)) == ([], {"a"})
    twice = whole.problems[1]
    assert str(twice).startswith("y.yaml:1:1: metadata.name: found the name 'a' a second time (the first, at x.yaml:1,")
    assert whole.refused["a"].problems == tuple(whole.problems)


def test_every_application_of_a_file_has_its_own_mistakes_alone() -> None:
    nameless = GOOD.replace("name: %s", "").replace("destination", "destiny")
    text = "---\n".join([GOOD.replace("source", "sauce") % "a", GOOD.replace("cloud", "") % "b", nameless])
    whole = joined([read(text, "x.yaml")])
    told = {name: [one.where for one in refused.problems] for name, refused in whole.refused.items()}
    assert told == {"a": ["spec.source", "spec.sauce"], "b": ["spec.destination"]}
    assert [one.where for one in whole.lost] == ["metadata.name", "spec.destination", "spec.destiny"]
    assert {name: one.origin for name, one in whole.refused.items()} == {"a": "x.yaml:1", "b": "x.yaml:8"}


def test_the_last_of_many_bad_applications_has_a_reason_too() -> None:
    found = read("---\n".join(GOOD.replace("cloud", "") % f"a{number}" for number in range(MAX_PROBLEMS + 9)), "x.yaml")
    assert {len(one.problems) for one in found.refused.values()} == {1}
    assert (len(found.refused), found.problems[-1].found) == (MAX_PROBLEMS + 9, "9 more mistakes")


def test_one_name_many_times_has_no_more_mistakes_than_a_file() -> None:
    bad = read(GOOD.replace("cloud", "") % "a", "x.yaml")
    good = [read(GOOD % "a", f"{number}.yaml") for number in range(2 * MAX_PROBLEMS)]
    whole = joined([bad, *good])
    assert (len(whole.refused["a"].problems), len(whole.problems)) == (MAX_PROBLEMS, 2 * MAX_PROBLEMS + 1)


def test_a_broken_file_loses_no_other() -> None:
    parts = [read("a: [", "x.yaml"), read(GOOD % "a", "y.yaml")]
    whole = joined(parts)
    assert (names(whole), whole.complete, len(whole.problems)) == ([("a", "y.yaml:1")], False, 1)


def test_joining_changes_nothing_of_its_parts() -> None:
    parts = [read(GOOD % "a", "x.yaml"), read(GOOD % "a", "y.yaml")]
    joined(parts)
    assert [(len(one.applications), one.problems) for one in parts] == [(1, []), (1, [])]


def test_what_is_done_is_not_called_undone() -> None:
    known = manifests._known()
    assert {place: keys & known[place] for place, keys in manifests._NOT_YET.items()} == dict.fromkeys(
        manifests._NOT_YET, frozenset()
    )


WORDS = st.sampled_from(
    ["", "a", "name", "true", "https://git.example.com/a", "*", "Prune=true", "/a", "5s", "\n", "{", "null"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)
WHOLE: Any = yaml.safe_load((FOLDER / "guestbook.yaml").read_text())


def _places(tree: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    steps = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in steps for place in ((*path, key), *_places(value, (*path, key)))]


@hypothesis(max_examples=300, deadline=None)
@given(place=st.sampled_from(_places(WHOLE)), value=VALUES, flow=st.booleans())
def test_any_value_at_any_place_is_an_application_or_a_mistake_with_its_place(
    place: tuple[str | int, ...], value: object, flow: bool
) -> None:
    tree = json.loads(json.dumps(WHOLE))
    holder = tree
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    found = read(json.dumps(tree) if flow else yaml.safe_dump(tree), "a.yaml")
    assert (len(found.applications) == 1) != bool(found.problems)
    assert all(problem.line > 0 and problem.found and problem.expected for problem in found.problems)
