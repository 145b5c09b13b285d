"""Kustomizations: what is read, what is refused before anything runs, and what is laid over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.tools import stand_in
from tests.renderers.made import CONFIG_MAP, application, files, front
from updater.errors import ManifestError
from updater.model.application import Kustomize as Settings
from updater.renderers.base import Target
from updater.renderers.kustomize import Kustomize

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: api, image: "ghcr.io/acme/api:1.0.0"}]}
"""
TREE = {
    "base/kustomization.yml": "resources: [api.yaml]\ncomponents: [../parts/c]\n",
    "base/api.yaml": DEPLOYMENT,
    "base/unused.yaml": "x",
    "parts/c/Kustomization": """\
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches: [{path: p.yaml, target: {kind: Deployment}}]
""",
    "parts/c/p.yaml": "- {op: add, path: /spec/replicas, value: 3}\n",
    "prod/kustomization.yaml": """\
resources: [../base, cm.yaml]
configMapGenerator:
  - {name: g, files: [one.txt, key=two.txt], envs: [e.env]}
secretGenerator:
  - {name: s, env: s.env}
patchesStrategicMerge:
  - sm.yaml
  - |-
    {apiVersion: apps/v1, kind: Deployment, metadata: {name: api, annotations: {inline: "yes"}}}
replacements:
  - {path: r.yaml}
transformers:
  - t.yaml
  - |-
    apiVersion: builtin
    kind: PatchTransformer
    metadata: {name: t}
    path: pt.yaml
    target: {kind: Deployment}
configurations: [conf.yaml]
crds: [crd.json]
openapi: {path: schema.json}
""",
    "prod/cm.yaml": CONFIG_MAP.format("cm"),
    "prod/one.txt": "1",
    "prod/two.txt": "2",
    "prod/e.env": "E=1",
    "prod/s.env": "S=1",
    "prod/sm.yaml": "{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, annotations: {sm: y}}}",
    "prod/r.yaml": "[]",
    "prod/t.yaml": """\
apiVersion: builtin
kind: AnnotationsTransformer
metadata: {name: t}
annotations: {t: "y"}
fieldSpecs: [{path: metadata/annotations, create: true}]
""",
    "prod/pt.yaml": "- {op: add, path: /spec/paused, value: true}\n",
    "prod/conf.yaml": "{}",
    "prod/crd.json": "{}",
    "prod/schema.json": "{}",
    "prod/README.md": "not read",
}


def render(
    folder: Path, tree: dict[str, Any], settings: Settings | None = None, path: str = "prod", **others: Any
) -> Any:
    rendered = front(folder).render(files(tree, **others), application(path, kustomize=settings), Target())
    return {str(resource.key): resource.manifest for resource in rendered.resources}


def small(kustomization: str, **others: str) -> dict[str, str]:
    return {"prod/kustomization.yaml": kustomization, "prod/cm.yaml": CONFIG_MAP.format("cm"), **others}


def test_everything_that_a_kustomization_names_is_read_and_nothing_else() -> None:
    read = Kustomize().reads(files(TREE), application("prod").source)
    assert set(TREE) - read == {"base/unused.yaml", "prod/README.md"}


def test_what_is_read_is_enough_to_build_it(tmp_path: Path) -> None:
    tree = {path: content for path, content in TREE.items() if path != "prod/kustomization.yaml"}
    kept = TREE["prod/kustomization.yaml"].partition("configurations:")[0]
    found = render(tmp_path, tree | {"prod/kustomization.yaml": kept})
    api = found["Deployment.apps api"]
    assert (api["spec"]["replicas"], api["spec"]["paused"]) == (3, True)
    assert api["metadata"]["annotations"] == {"inline": "yes", "sm": "y", "t": "y"}
    assert sorted(key.partition(" ")[0] for key in found) == ["ConfigMap", "ConfigMap", "Deployment.apps", "Secret"]


REFUSED = {
    "a base over HTTPS": ("resources: ['https://github.com/acme/base//x?ref=v1']", "resources: .* is remote"),
    "a manifest over HTTP": ("resources: ['http://127.0.0.1/x.yaml']", "resources: .* is remote"),
    "a base over SSH": ("resources: ['git@github.com:acme/base.git']", "is remote"),
    "a base of GitHub without a scheme": ("bases: [github.com/acme/base]", "bases: .* is remote"),
    "a base with git::": ("bases: ['git::acme/base']", "is remote"),
    "a base of another forge": ("bases: ['git.example.com/acme/base.git?ref=v1']", "is remote"),
    "a component by file://": ("components: ['file:///etc']", "components: .* is remote"),
    "a file of a generator": (
        "configMapGenerator: [{name: g, files: ['k=https://x/y']}]",
        "configMapGenerator: .* is rem",
    ),
    "a patch": ("patches: [{path: 'https://x/y'}]", "patches: .* is remote"),
    "a schema": ("openapi: {path: 'https://x/y'}", "openapi: .* is remote"),
    "a key in capitals": ("Resources: ['http://127.0.0.1/x']", "found the key Resources, expected resources"),
    "a key in letters that fold alike": (
        "re\u017fources: ['http://127.0.0.1/x']",
        "expected resources",
    ),
    "a key of a generator in capitals": (
        "configMapGenerator: [{name: g, Files: [x]}]",
        "the key Files, expected files",
    ),
    "a key of a patch in capitals": ("patches: [{PATH: x}]", "found the key PATH, expected path"),
    "an address that looks like a patch": ("patchesStrategicMerge: ['http://127.0.0.1/x?a: b']", "is remote"),
    "an address that looks like a step": ("transformers: ['http://127.0.0.1/x#a: b']", "is remote"),
    "an address in base64": ("resources: [!!binary aHR0cDovLzEyNy4wLjAuMS94]", "is remote"),
    "a path out of the repository": ("resources: [../../etc]", r"\.\./\.\./etc leads out of the repository"),
    "an absolute path": ("configMapGenerator: [{name: g, envs: [/etc/passwd]}]", "/etc/passwd leads out"),
    "a base that is not there": ("resources: [../none]", "resources: none is not in the repository"),
    "a patch that is not there": ("patches: [{path: none.yaml}]", "patches: prod/none.yaml is not in the repository"),
    "a base without a kustomization": ("resources: [../plain]", "resources: plain holds no kustomization"),
    "a chart": ("helmCharts: [{name: x, repo: 'https://x'}]", "helmCharts is not supported"),
    "an old chart": ("helmChartInflationGenerator: [{chartName: x}]", "helmChartInflationGenerator is not supported"),
    "a generator of charts": (
        "generators:\n- |-\n  {apiVersion: builtin, kind: HelmChartInflationGenerator, metadata: {name: x}}",
        "charts are not supported",
    ),
    "a plugin in a file": ("transformers: [plugin.yaml]", "prod/plugin.yaml: only steps that are built in"),
    "a plugin in place": (
        "generators:\n- |-\n  apiVersion: acme.example.com/v1\n  kind: Exec\n  metadata: {name: x}",
        "generators: only steps that are built in",
    ),
    "steps in a folder": ("transformers: [../plain]", "transformers: plain is a folder, expected a file"),
    "a step that is not there": ("transformers: [none.yaml]", "prod/none.yaml is not in the repository"),
    "a function": ("validators: [function.yaml]", "prod/function.yaml: only steps that are built in"),
    "a broken kustomization": ("resources: [", "prod/kustomization.yaml:2: broken YAML"),
    "a kustomization that is a list": ("- a", "prod/kustomization.yaml:1: found a document that is no mapping"),
    "a key twice": ("resources: [cm.yaml]\nresources: [cm.yaml]", "prod/kustomization.yaml:2: the key 'resources'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_remote_outside_or_would_run_is_refused_before_anything_runs(tmp_path: Path, case: str) -> None:
    text, why = REFUSED[case]
    tree = small(text) | {
        "prod/plugin.yaml": "{apiVersion: acme.example.com/v1, kind: Exec, metadata: {name: x}}",
        "prod/function.yaml": (
            "apiVersion: builtin\nkind: X\nmetadata:\n  name: x\n"
            "  annotations: {config.kubernetes.io/function: 'exec: {path: ./run}'}\n"
        ),
        "plain/x.yaml": CONFIG_MAP.format("x"),
        "prod/github.com/acme/base/kustomization.yaml": "resources: []",
    }
    bait = stand_in(tmp_path / "bin", "kubectl", f'echo ran > "{tmp_path}/ran"')
    with pytest.raises(ManifestError, match=why) as refused:
        front(tmp_path, bait).render(files(tree), application("prod"), Target())
    assert str(refused.value).startswith("prod/")
    assert not (tmp_path / "ran").exists()


def test_a_login_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is remote") as refused:
        render(tmp_path, small("resources: ['https://ci:s3cret@git.example.com/x']"))
    assert "s3cret" not in str(refused.value)


def test_a_link_may_lead_to_a_base_inside_and_never_outside(tmp_path: Path) -> None:
    tree = small("resources: [here]", **{"base/kustomization.yaml": "resources: [x.yaml]"})
    tree["base/x.yaml"] = CONFIG_MAP.format("linked")
    assert list(render(tmp_path, tree, links={"prod/here": "../base"})) == ["ConfigMap linked"]
    with pytest.raises(ManifestError, match=r"^prod/here: a symbolic link that leads out"):
        render(tmp_path, tree, links={"prod/here": "../../base"})


def test_a_file_outside_of_its_kustomization_is_refused_by_the_program(tmp_path: Path) -> None:
    tree = small("resources: [../other/x.yaml]", **{"other/x.yaml": CONFIG_MAP.format("x")})
    with pytest.raises(ManifestError, match=r"^kubectl kustomize prod: it exited with 1: .*is not in or below"):
        render(tmp_path, tree)


def test_bases_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cycle detected"):
        render(
            tmp_path, {"prod/kustomization.yaml": "resources: [../a]", "a/kustomization.yaml": "resources: [../prod]"}
        )


@pytest.mark.parametrize(
    ("image", "written"),
    [
        pytest.param("ghcr.io/acme/api:2", "ghcr.io/acme/api:2", id="a tag"),
        pytest.param("ghcr.io/acme/api=registry:5000/api", "registry:5000/api:1.0.0", id="a name, with a port"),
        pytest.param("ghcr.io/acme/api=registry:5000/api:2", "registry:5000/api:2", id="a name and a tag"),
        pytest.param("ghcr.io/acme/api=*:2", "ghcr.io/acme/api:2", id="a star for the name"),
        pytest.param("ghcr.io/acme/api=:2", "ghcr.io/acme/api:2", id="nothing for the name"),
        pytest.param(f"ghcr.io/acme/api@sha256:{'a' * 64}", f"ghcr.io/acme/api@sha256:{'a' * 64}", id="a digest"),
        pytest.param(
            f"ghcr.io/acme/api=x/y:2@sha256:{'a' * 64}", f"x/y:2@sha256:{'a' * 64}", id="a name, a tag and a digest"
        ),
        pytest.param("other:2", "ghcr.io/acme/api:1.0.0", id="another image"),
        pytest.param("other\n:2", "ghcr.io/acme/api:1.0.0", id="no image at all"),
    ],
)
def test_images_are_replaced_as_kustomize_replaces_them(tmp_path: Path, image: str, written: str) -> None:
    found = render(tmp_path, TREE, Settings(images=(image,)), "base")
    assert found["Deployment.apps api"]["spec"]["template"]["spec"]["containers"][0]["image"] == written


def test_settings_are_laid_over_it(tmp_path: Path) -> None:
    settings = Settings(
        name_prefix="p-", name_suffix="-s", namespace="n", common_labels={"l": "on"}, common_annotations={"a": "b"}
    )
    (api,) = render(tmp_path, TREE, settings, "base").values()
    assert (api["metadata"]["name"], api["metadata"]["namespace"]) == ("p-api-s", "n")
    assert api["metadata"]["annotations"] == {"a": "b"}
    labels = [
        api["metadata"]["labels"],
        api["spec"]["selector"]["matchLabels"],
        api["spec"]["template"]["metadata"]["labels"],
    ]
    assert [one["l"] for one in labels] == ["on"] * 3


def test_words_that_are_no_booleans_for_kustomize_stay_texts(tmp_path: Path) -> None:
    tree = small("resources: [cm.yaml]") | {"prod/cm.yaml": CONFIG_MAP.format("cm") + "data: {a: on, b: 0o17}\n"}
    (found,) = render(tmp_path, tree).values()
    assert json.dumps(found["data"]["a"]) == '"on"'


def test_what_is_deprecated_is_said(tmp_path: Path) -> None:
    tree = files(small("resources: [cm.yaml]\ncommonLabels: {a: b}\n"))
    rendered = front(tmp_path).render(tree, application("prod"), Target())
    assert [warning[:36] for warning in rendered.warnings] == ["Warning: 'commonLabels' is deprecate"]


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        pytest.param("kubectl", "kustomize tree/prod --load-restrictor=LoadRestrictionsRootOnly", id="kubectl"),
        pytest.param("kustomize", "build tree/prod --load-restrictor=LoadRestrictionsRootOnly", id="kustomize itself"),
    ],
)
def test_either_program_will_do(tmp_path: Path, name: str, argv: str) -> None:
    path = stand_in(tmp_path / "bin", name, f'echo "$@" > "{tmp_path}/argv"')
    rendered = front(tmp_path, path).render(files(small("resources: [cm.yaml]")), application("prod"), Target())
    assert rendered.resources == ()
    assert (tmp_path / "argv").read_text().strip() == argv
