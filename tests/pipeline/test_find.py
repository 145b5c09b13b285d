"""What Git says: which files are read, and which item owns a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from updater.config.images import Item
from updater.model.change import Reference
from updater.model.image import ImageRef
from updater.pipeline.find import File, Finder, Owners

API = ImageRef.parse("ghcr.io/acme/api:1.0.0")


def item(name: str, image: str = "ghcr.io/acme/api", paths: Sequence[str] = ("**",)) -> Item:
    exact = None if "*" in image else ImageRef.parse(image)
    return Item(name, image, exact, paths=tuple(paths), pattern=image if exact is None else None, image_name=name)


def mention(file: str, image: ImageRef = API) -> Reference:
    return Reference(file, 1, image, image.name, "manifest", ())


@pytest.mark.parametrize(
    ("items", "file", "owner"),
    [
        ([item("api")], "a.yaml", "api"),
        ([item("other", "ghcr.io/acme/other")], "a.yaml", None),
        ([item("api", paths=["envs/dev/**"])], "envs/prod/a.yaml", None),
        ([item("team", "ghcr.io/acme/**"), item("api")], "a.yaml", "api"),
        ([item("all", "ghcr.io/**"), item("team", "ghcr.io/acme/*")], "a.yaml", "team"),
        ([item("flat", "ghcr.io/*")], "a.yaml", None),
        ([item("any", paths=["**"]), item("dev", paths=["envs/dev/**"])], "envs/dev/a.yaml", "dev"),
        ([item("any", paths=["**"]), item("dev", paths=["envs/dev/**"])], "envs/prod/a.yaml", "any"),
        ([item("envs", paths=["envs/**"]), item("dev", paths=["x/**", "envs/dev/**"])], "envs/dev/a.yaml", "dev"),
        ([item("prod", paths=["envs/**", "!envs/old/**"])], "envs/old/a.yaml", None),
        ([item("anchored", paths=["/apps/*.yaml"])], "apps/a.yaml", "anchored"),
        ([item("anchored", paths=["/apps/*.yaml"])], "deep/apps/a.yaml", None),
        ([item("by-name", paths=["values.yaml"])], "charts/api/values.yaml", "by-name"),
        ([item("pattern", "ghcr.io/acme/a*", ["envs/dev/**"]), item("exact")], "envs/dev/a.yaml", "exact"),
    ],
    ids=[
        "an exact image", "another image", "outside the paths", "exact beats a pattern",
        "the longer pattern of two on one path", "a star stays within one part", "the longer path",
        "only one path fits", "the longest of several globs", "an excluded path", "a leading slash anchors",
        "a leading slash does not float", "a name matches in any folder", "exact beats a pattern with a longer path",
    ],
)  # fmt: skip
def test_owner(items: list[Item], file: str, owner: str | None) -> None:
    owned = Owners(items).assign(mention(file))
    assert (owned.item.name if owned.item else None) == owner
    assert owned.rivals == ()
    assert Owners(reversed(items)).assign(mention(file)) == owned


def test_a_tie_belongs_to_nobody() -> None:
    owned = Owners([item("a", paths=["envs/**"]), item("b", paths=["envs/*"])]).assign(mention("envs/x.yaml"))
    assert (owned.item, owned.rivals) == (None, ("a", "b"))


DEPLOYMENT = b"apiVersion: v1\nkind: Pod\nspec:\n  containers: [{name: a, image: ghcr.io/acme/api:1.0.0}]\n"


class Blobs:
    """Contents by id, and what was asked for."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self.contents, self.asked = contents, list[str]()

    def __call__(self, oids: list[str]) -> Mapping[str, bytes]:
        self.asked += oids
        return {oid: self.contents[oid] for oid in oids if oid in self.contents}


def test_content_that_was_read_once_is_never_read_again() -> None:
    finder, blobs = Finder(None, lambda ref: ref), Blobs({"1": DEPLOYMENT, "2": DEPLOYMENT.replace(b"1.0.0", b"2.0.0")})
    tree = [File("a.yaml", "1", "100644"), File("b.yaml", "1", "100755")]
    assert len(finder.find(tree, lambda _: True, blobs).references) == 2
    found = finder.find([*tree, File("c.yaml", "2", "100644")], lambda _: True, blobs)
    assert [ref.image.tag for ref in found.references] == ["1.0.0", "1.0.0", "2.0.0"]
    assert blobs.asked == ["1", "2"]


@pytest.mark.parametrize(
    "file",
    [
        File("link.yaml", "1", "120000"),
        File("module.yaml", "1", "160000"),
        File("README.md", "1", "100644"),
        File("unwanted/a.yaml", "1", "100644"),
    ],
    ids=["a symbolic link", "a submodule", "no YAML", "a path that no item wants"],
)
def test_files_that_are_not_read(file: File) -> None:
    blobs = Blobs({"1": DEPLOYMENT})
    found = Finder(None, lambda ref: ref).find([file], lambda path: not path.startswith("unwanted"), blobs)
    assert (found.references, blobs.asked) == ((), [])
    assert [skipped.file for skipped in found.skipped] == (["link.yaml"] if file.mode == "120000" else [])


POD = b'{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "ghcr.io/acme/api:1.0.0"}]}}'


@pytest.mark.parametrize(
    ("path", "content", "asked", "found"),
    [
        ("a/pod.json", POD, 1, 1),
        ("values.json", b'{"image": "ghcr.io/acme/api:1.0.0"}', 1, 0),
        ("broken.json", b'{"image": ' * 1_000, 1, 0),
        ("web/package-lock.json", POD, 0, 0),
        ("node_modules/a/b.json", POD, 0, 0),
    ],
)
def test_json_is_read_where_it_is_an_object_of_kubernetes(path: str, content: bytes, asked: int, found: int) -> None:
    """What is large and never one is not even fetched."""
    blobs = Blobs({"1": content})
    answer = Finder(None, lambda ref: ref).find([File(path, "1", "100644")], lambda _: True, blobs)
    assert (len(blobs.asked), len(answer.references), answer.skipped) == (asked, found, ())


def test_two_spellings_of_one_registry_are_one_image() -> None:
    """Each entry of a kustomization keeps its spelling."""
    text = b"images:\n- {name: hub.example/a, newTag: '1'}\n- {name: hub-vpc.example/a, newTag: '1'}\n"
    finder = Finder(None, lambda ref: replace(ref, registry="hub.example"))
    found = finder.find([File("Kustomization", "1", "100644")], lambda _: True, Blobs({"1": text})).references
    assert {ref.image.name for ref in found} == {"hub.example/a"}
    assert [ref.spelled for ref in found] == ["hub.example/a", "hub-vpc.example/a"]


def test_one_bad_file_does_not_stop_its_neighbours() -> None:
    blobs = Blobs({"1": DEPLOYMENT, "2": b"\xff\xfe", "3": b"a: [", "4": b"a: {{ x }}\n  b"})
    tree = [File(f"{n}.yaml", str(n), "100644") for n in range(1, 6)]
    found = Finder(None, lambda ref: ref).find(tree, lambda _: True, blobs)
    assert [ref.file for ref in found.references] == ["1.yaml"]
    assert {skipped.file for skipped in found.skipped} == {"2.yaml", "3.yaml", "4.yaml", "5.yaml"}
    assert all(skipped.why for skipped in found.skipped)
