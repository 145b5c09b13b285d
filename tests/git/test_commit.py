"""Bytes in, bytes out: what is committed is what was given, and what was not given stays as it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.lab.git import AT, AUTHOR, FILES, Room, git
from updater.git.blobs import Blobs, Damaged

BYTES = {
    "crlf.yaml": b"image: r/a:1\r\nkind: x\r\n",
    "bom.yaml": b"\xef\xbb\xbfimage: r/a:1\n",
    "no-end.yaml": b"image: r/a:1",
    "latin.yaml": b"name: caf\xe9\n",
    "binary": bytes(range(256)) * 3,
    "empty": b"",
    "ident.yaml": b"# $Id$\n",
    "data.txt": b"data 5\nM 100644 inline x\ndone\n",
}
ODD = ['a "b".yaml', "a b.yaml", "tab\there.yaml", "line\nfeed.yaml", "back\\slash.yaml", "-dash.yaml", "ünï/日本.yaml"]


def commit(room: Room, files: dict[str, bytes]) -> tuple[str, str]:
    clone = room.clone()
    with clone.lock():
        head = clone.fetch()
        revision = clone.commit(head.revision, files, "Update\n", AUTHOR, AT)
        clone.push(head.branch, head.revision, revision)
    return head.revision, revision


def stored(bare: Path, revision: str, path: str) -> str:
    """The object id of a file; a path with a line feed is asked for as git quotes it."""
    rows = git(bare, "ls-tree", "-r", "-z", revision).split("\0")[:-1]
    return {row.partition("\t")[2]: row.split()[2] for row in rows}[path]


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_no_attribute_and_no_filter_touches_a_byte(one: Room) -> None:
    attributes = b"* text=auto eol=lf ident\n*.yaml filter=evil working-tree-encoding=UTF-16\n"
    bare = one.create({".gitattributes": attributes, **BYTES})
    clone = one.clone()
    with clone.lock():
        tree = clone.tree(clone.fetch().revision)
        contents = clone.read(blob.oid for blob in tree)
        assert {blob.path: contents[blob.oid] for blob in tree} == {".gitattributes": attributes, **BYTES}
    changed = {path: content + b"\r\nmore\r\n" for path, content in BYTES.items()}
    _, revision = commit(one, changed)
    assert {path: stored(bare, revision, path) for path in changed} == {p: blob_id(c) for p, c in changed.items()}


@pytest.mark.parametrize("path", ODD)
def test_odd_paths_are_written_as_they_are(one: Room, path: str) -> None:
    bare = one.create(FILES | {path: b"1\n"})
    _, revision = commit(one, {path: b"2\n"})
    assert stored(bare, revision, path) == blob_id(b"2\n")
    clone = one.clone()
    with clone.lock():
        assert path in {blob.path for blob in clone.tree(clone.fetch().revision)}


def test_a_path_that_is_not_utf8_is_left_out_and_stays(one: Room) -> None:
    bare = one.create(FILES)
    git(bare, "fast-import", "--quiet", "--date-format=now", data=(
        b"commit refs/heads/main\ncommitter P <p@x> now\ndata 1\nx\nfrom refs/heads/main^0\n"
        b'M 100644 inline "caf\xe9.yaml"\ndata 1\n1\n'
    ))  # fmt: skip
    clone = one.clone()
    with clone.lock():
        assert {blob.path for blob in clone.tree(clone.fetch().revision)} == set(FILES)
    base, revision = commit(one, {"README.md": b"2\n"})
    assert git(bare, "diff", "--name-only", base, revision) == "README.md"


def test_fifty_files_are_one_commit_and_the_rest_stays(one: Room) -> None:
    bare = one.create({f"apps/{n}/app.yaml": b"image: r/a:%d\n" % n for n in range(60)})
    base, revision = commit(one, {f"apps/{n}/app.yaml": b"image: r/a:x\n" for n in range(50)})
    assert git(bare, "rev-list", f"{base}..{revision}") == revision
    assert len(git(bare, "diff", "--name-only", base, revision).splitlines()) == 50


def test_a_file_becomes_a_folder_where_a_new_path_says_so(one: Room) -> None:
    bare = one.create({"apps": b"1\n"})
    _, revision = commit(one, {"apps/a.yaml": b"2\n"})
    assert git(bare, "ls-tree", "-r", "--name-only", revision) == "apps/a.yaml"


def test_files_that_are_too_large_are_left_out(one: Room) -> None:
    one.create({"large": os.urandom(300_000), "small": b"1\n", "just": b"x" * 100_000})
    clone = one.clone()
    with clone.lock():
        oids = {blob.path: blob.oid for blob in clone.tree(clone.fetch().revision)}
        for _ in range(2):
            assert clone.read(oids.values(), max_bytes=100_000) == {oids["small"]: b"1\n", oids["just"]: b"x" * 100_000}


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_blobs_are_read_however_their_bytes_arrive(step: int) -> None:
    contents = [b"", b"\n\n", b"a blob 3\nxyz\n", b"L" * 500, os.urandom(300)]
    output = b"".join(b"%b blob %d\n%b\n" % (blob_id(c).encode(), len(c), c) for c in contents)
    output += b"0" * 40 + b" missing\n"
    blobs = Blobs(400)
    for start in range(0, len(output), step):
        blobs.feed(output[start : start + step])
    assert blobs.found == {blob_id(c): c for c in contents if len(c) <= 400}
    assert (blobs.missing, blobs.large) == (["0" * 40], [blob_id(b"L" * 500)])


def test_a_blob_that_is_not_what_it_is_called_is_noticed() -> None:
    with pytest.raises(Damaged):
        Blobs(100).feed(b"%b blob 3\nabd\n" % blob_id(b"abc").encode())
