"""Charts: which values count, what cannot be smuggled in, and what is never fetched."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.lab.tools import stand_in
from tests.renderers.made import application as made
from tests.renderers.made import files, front
from updater.errors import ManifestError
from updater.model.application import Helm, HelmParameter
from updater.renderers.base import Rendered, Target

SHOW = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}, namespace: {{ .Release.Namespace }}}
data:
  values: {{ .Values | toJson | quote }}
  kube: {{ .Capabilities.KubeVersion.Version }}
  monitors: {{ .Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" | quote }}
"""
CHART = {
    "charts/api/Chart.yaml": "{apiVersion: v2, name: api, version: 0.1.0}",
    "charts/api/values.yaml": "a: chart\nlist: []\n",
    "charts/api/values-prod.yaml": "a: prod\n",
    "charts/api/templates/show.yaml": SHOW,
    "charts/api/crds/crd.yaml": (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: foos.x.y}\n"
    ),
    "values/shared.yaml": "a: shared\nb: shared\n",
}


def render(
    folder: Path,
    settings: Helm | None = None,
    tree: dict[str, Any] | None = None,
    target: Target | None = None,
    **more: Any,
) -> Rendered:
    others = {key: more.pop(key) for key in ("links",) if key in more}
    application = made("charts/api", helm=settings, **more)
    return front(folder).render(files(tree or CHART, **others), application, target or Target())


def shown(rendered: Rendered) -> dict[str, Any]:
    (found,) = (one for one in rendered.resources if one.key.kind == "ConfigMap")
    data = dict(found.manifest["data"])
    return data | {"values": json.loads(data["values"]), "name": found.key.name, "namespace": found.key.namespace}


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        pytest.param(Helm(), {"a": "chart"}, id="those of the chart"),
        pytest.param(Helm(value_files=("values-prod.yaml",)), {"a": "prod"}, id="a file of the chart"),
        pytest.param(
            Helm(value_files=("../../values/shared.yaml",)), {"a": "shared", "b": "shared"}, id="a file beside it"
        ),
        pytest.param(
            Helm(value_files=("/values/shared.yaml",)), {"a": "shared", "b": "shared"}, id="a file from the root"
        ),
        pytest.param(
            Helm(value_files=("/values/shared.yaml", "values-prod.yaml")),
            {"a": "prod", "b": "shared"},
            id="the last file wins",
        ),
        pytest.param(
            Helm(value_files=("values-prod.yaml",), values="a: text"), {"a": "text"}, id="a text wins over files"
        ),
        pytest.param(
            Helm(values="a: text\nc: on", values_object={"a": 1.5}), {"a": 1.5}, id="an object wins over a text"
        ),
        pytest.param(Helm(values_object={}), {"a": "chart"}, id="an empty object"),
        pytest.param(
            Helm(values="a: text", parameters=(HelmParameter("a", "set"), HelmParameter("b.c[0]", "1"))),
            {"a": "set", "b": {"c": [1]}},
            id="parameters win over all",
        ),
        pytest.param(
            Helm(parameters=(HelmParameter("a", "1", force_string=True), HelmParameter("b", "true"))),
            {"a": "1", "b": True},
            id="a parameter that is a text",
        ),
        pytest.param(
            Helm(parameters=(HelmParameter("a", ",x,y,,b=1"), HelmParameter("b", r"p\,q"))),
            {"a": ",x,y,,b=1", "b": "p,q"},
            id="commas",
        ),
        pytest.param(Helm(parameters=(HelmParameter("a", "{x,y}"),)), {"a": ["x", "y"]}, id="a list in braces"),
        pytest.param(
            Helm(parameters=(HelmParameter("a", "--post-renderer=/bin/sh"),)),
            {"a": "--post-renderer=/bin/sh"},
            id="dashes",
        ),
        pytest.param(
            Helm(value_files=("none.yaml",), ignore_missing_value_files=True),
            {"a": "chart"},
            id="a missing file, as asked",
        ),
    ],
)
def test_values_count_in_their_order(tmp_path: Path, settings: Helm, values: dict[str, Any]) -> None:
    assert shown(render(tmp_path, settings))["values"] == {"list": []} | values


def test_a_release_has_the_name_and_the_namespace_of_its_application(tmp_path: Path) -> None:
    found = shown(render(tmp_path, target=Target(namespace="apps")))
    assert (found["name"], found["namespace"]) == ("api", "apps")
    found = shown(render(tmp_path, Helm(release_name="other", namespace="there"), target=Target(namespace="apps")))
    assert (found["name"], found["namespace"]) == ("other", "there")


def test_a_chart_sees_the_cluster_that_it_is_made_for(tmp_path: Path) -> None:
    assert shown(render(tmp_path))["monitors"] == "false"
    versions = frozenset({"v1", "monitoring.coreos.com/v1/ServiceMonitor"})
    found = shown(render(tmp_path, target=Target("v1.31.4-aliyun.1", versions)))
    assert (found["kube"], found["monitors"]) == ("v1.31.4-aliyun.1", "true")


@pytest.mark.parametrize(("skip", "count"), [(False, 2), (True, 1)], ids=["with them", "without them"])
def test_custom_resource_definitions_come_unless_they_are_skipped(tmp_path: Path, skip: bool, count: int) -> None:
    assert len(render(tmp_path, Helm(skip_crds=skip)).resources) == count


def test_hooks_keep_their_annotations_and_tests_are_dropped(tmp_path: Path) -> None:
    hook = "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {0}, annotations: {{helm.sh/hook: {0}}}}}\n"
    hooks = {f"charts/api/templates/{kind}.yaml": hook.format(kind) for kind in ("pre-install", "test", "test-success")}
    jobs = [one for one in render(tmp_path, tree=CHART | hooks).resources if one.key.kind == "Job"]
    assert [job.annotations for job in jobs] == [{"helm.sh/hook": "pre-install"}]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        pytest.param(Helm(value_files=("none.yaml",)), "the value file charts/api/none.yaml is not in", id="missing"),
        pytest.param(Helm(value_files=("../../../x.yaml",)), "x.yaml leads out of the repository", id="outside"),
        pytest.param(Helm(value_files=("https://u:s3cret@x/y",)), "is remote; only what is in", id="remote"),
        pytest.param(
            Helm(value_files=("$values/x.yaml",)), "of another source .* is not supported yet", id="another source"
        ),
        pytest.param(Helm(release_name="--post-renderer=/bin/sh"), "it exited with 1", id="an option for a name"),
        pytest.param(Helm(release_name="a\0b"), "it cannot be started", id="a NUL"),
        pytest.param(Helm(values="a: ["), "it exited with 1", id="values that are broken"),
    ],
)
def test_what_cannot_be_rendered_is_refused(tmp_path: Path, settings: Helm, why: str) -> None:
    with pytest.raises(ManifestError, match=why) as refused:
        render(tmp_path, settings)
    assert "charts/api" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_dependency_is_vendored_or_nothing_is_rendered(tmp_path: Path) -> None:
    depends = "\ndependencies: [{name: common, version: 1.x, repository: 'https://charts.example.com'}]"
    chart = CHART | {"charts/api/Chart.yaml": "apiVersion: v2\nname: api\nversion: 0.1.0" + depends}
    with pytest.raises(ManifestError, match=r"missing in charts/ directory: common \(.* must be vendored in charts/\)"):
        render(tmp_path, tree=chart)
    vendored = {
        "charts/api/charts/common/Chart.yaml": "{apiVersion: v2, name: common, version: 1.2.0}",
        "charts/api/charts/common/templates/s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: common}\n",
    }
    kinds = [one.key.kind for one in render(tmp_path, tree=chart | vendored).resources]
    assert sorted(kinds) == ["ConfigMap", "CustomResourceDefinition", "Service"]


def test_a_chart_may_be_linked_from_inside_and_never_from_outside(tmp_path: Path) -> None:
    common = {"common/templates/s.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"}
    found = render(tmp_path, tree=CHART | common, links={"charts/api/templates/more": "../../../common/templates"})
    assert "Service" in {one.key.kind for one in found.resources}
    with pytest.raises(ManifestError, match=r"^charts/api/templates/more: a symbolic link that leads out"):
        render(tmp_path, tree=CHART, links={"charts/api/templates/more": "/etc"})


SUB = "{apiVersion: v2, name: sub, version: 0.1.0}"


def pack(contents: dict[str, str]) -> bytes:
    """A packed chart."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param('{"properties": {"a": {"$ref": "%s"}}}', id="a reference"),
        pytest.param('{"$schema": "%s"}', id="a schema of the schema"),
        pytest.param('{"\\u0024ref": "%s"}', id="a reference in disguise"),
        pytest.param('{"$ref": "%s", "x": ' + "9" * 5000 + "}", id="a number that Python does not read"),
        pytest.param('{"$ref": "%s", "x": ' + "[" * 5000 + "]" * 5000 + "}", id="too deep for Python"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["of the chart", "of a packed one"])
def test_a_schema_that_lies_elsewhere_is_not_fetched(tmp_path: Path, schema: str, packed: bool) -> None:
    with listening() as (address, asked):
        text = schema.replace("%s", f"{address}/x")
        path = "charts/api/charts/sub.tgz" if packed else "charts/api/values.schema.json"
        data = pack({"sub/Chart.yaml": SUB, "sub/values.schema.json": text}) if packed else text
        rendered = render(tmp_path, tree=CHART | {path: data})
    assert asked == []
    assert rendered.warnings == (f"{path}: its schema refers to other places, so no values are checked",)


def test_a_packed_chart_that_is_well_is_checked(tmp_path: Path) -> None:
    chart = pack({"sub/Chart.yaml": SUB, "sub/values.schema.json": '{"properties": {"a": {"type": "integer"}}}'})
    tree = CHART | {"charts/api/charts/sub.tgz": chart}
    assert render(tmp_path, tree=tree).warnings == ()
    with pytest.raises(ManifestError, match="got string, want integer"):
        render(tmp_path, Helm(values="sub: {a: text}"), tree=tree)


def test_a_schema_of_its_own_is_checked(tmp_path: Path) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"a": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"type": "integer"}},
    }
    with pytest.raises(ManifestError, match="got string, want integer"):
        render(tmp_path, tree=CHART | {"charts/api/values.schema.json": json.dumps(schema)})


def test_values_never_stand_in_argv_and_nobody_else_can_read_them(tmp_path: Path) -> None:
    script = f'echo "$@" > "{tmp_path}/argv"\n/bin/ls -ln values > "{tmp_path}/files"'
    path = stand_in(tmp_path / "bin", "helm", script)
    settings = Helm(values="password: s3cret", value_files=("a,b.yaml",))
    tree = CHART | {"charts/api/a,b.yaml": "x: 1"}
    front(tmp_path, path).render(files(tree), made("charts/api", helm=settings), Target())
    argv = (tmp_path / "argv").read_text()
    assert argv.split()[-3:] == ["--", "api", "tree/charts/api"]
    assert "--values=values/0.yaml --values=values/1.yaml" in argv
    assert "s3cret" not in argv
    modes = [line.split()[0] for line in (tmp_path / "files").read_text().splitlines()[1:]]
    assert modes == ["-rw-------"] * 2
