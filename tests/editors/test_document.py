"""Reading files: what is refused, how streams are split, which documents are worth parsing."""

from __future__ import annotations

import time

import pytest

from updater.editors.base import references
from updater.editors.document import Alias, Mapping, Scalar, Words, parse
from updater.model.stream import MAX_BYTES, MAX_DEPTH, MAX_DIRECTIVES, MAX_DOCUMENTS, spans

DEEP = 50_000
SHAPES = {
    "flow lists": "[" * DEEP,
    "flow mappings": "{a: " * DEEP,
    "flow mixed": "[{a: " * DEEP,
    "flow lists line by line": "[\n" * DEEP,
    "flow single pairs": "[a: " * DEEP,
    "flow question marks": "[? " * DEEP,
    "flow with tags": "!!seq [" * DEEP,
    "flow with anchors and comments": "&a [ # ]\n" * DEEP,
    "flow after strings of brackets": "']' : ['}', " * DEEP,
    "closed again": "[" * DEEP + "]" * DEEP,
    "dashes": "- " * DEEP,
    "dashes with tabs": "-\t" * DEEP,
    "question marks": "? " * DEEP,
    "dashes and question marks": "- ? " * DEEP,
    "indented mappings": "\n".join(" " * depth + "a:" for depth in range(2_000)),
    "indented lists": "\n".join(" " * depth + "-" for depth in range(2_000)),
    "lists below lists": "a:\n- b:\n  - c:\n    - d: " + "[" * DEEP,
    "behind a marker": "--- " + "[" * DEEP,
    "behind a directive": "%YAML 1.1\n---\n" + "- " * DEEP,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_nesting_is_refused_before_anything_recurses(shape: str) -> None:
    """PyYAML's composer dies of SIGSEGV on these; here they are skipped at once, and their neighbours count."""
    began = time.monotonic()
    document = parse("deep.yaml", SHAPES[shape] + "\n---\nimage: nginx:1.25\n")
    assert time.monotonic() - began < 5
    assert len(document.skipped) == 1
    assert document.skipped[0].why.startswith(("nested too deep", "broken YAML"))
    assert [str(found.image) for found in references(document)] == ["docker.io/library/nginx:1.25"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("[" * MAX_DEPTH + "]" * MAX_DEPTH, None, id="the last level that is read"),
        pytest.param("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested too deep at line 1", id="one more"),
        pytest.param("text: '" + "[" * DEEP + "'", None, id="brackets in quotes do not nest"),
        pytest.param("# " + "[" * DEEP + "\na: 1", None, id="brackets in comments do not nest"),
        pytest.param("a: |\n  " + "- " * DEEP, None, id="dashes in block scalars do not nest"),
        pytest.param("".join(f"a{i}: []\n" for i in range(DEEP)), None, id="many lists side by side"),
    ],
)
def test_only_real_nesting_counts(text: str, why: str | None) -> None:
    skipped = parse("x.yaml", text).skipped
    assert [skip.why[: len(why or "")] for skip in skipped] == ([] if why is None else [why])


@pytest.mark.parametrize(
    ("data", "line", "why"),
    [
        pytest.param(b"a: 1\nb: \xff\n", 2, "not UTF-8: byte 8", id="bytes that are not UTF-8"),
        pytest.param("a: 1\n".encode("utf-16"), 1, "not text: it holds a NUL", id="UTF-16"),
        pytest.param("größe: 1\n".encode("latin-1"), 1, "not UTF-8: byte 2", id="Latin-1"),
        pytest.param(b"a: 1\n\nb: \0\n", 3, "not text: it holds a NUL", id="a NUL"),
        pytest.param(b"#" * (9 << 20), 0, f"too large: 9437184 bytes, at most {MAX_BYTES} are read", id="9 MiB"),
        pytest.param("a: \ud800\n", 1, "not UTF-8: byte 3", id="half a surrogate pair"),
        pytest.param(
            b"---\n" * (MAX_DOCUMENTS + 1),
            0,
            f"too large: {MAX_DOCUMENTS + 1} documents, at most {MAX_DOCUMENTS} are read",
            id="too many documents",
        ),
    ],
)
def test_unreadable_files_are_skipped_whole(data: bytes | str, line: int, why: str) -> None:
    document = parse("x.yaml", data)
    assert [(skip.file, skip.line, skip.why) for skip in document.skipped] == [("x.yaml", line, why)]
    assert document.parts == ()
    assert references(document) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a: [1", "broken YAML at line 5: did not find expected ',' or ']'", id="a list without an end"),
        pytest.param("a: 'x", "broken YAML at line 5: found unexpected end of stream", id="a string without an end"),
        pytest.param("a:\n\tb: 1", "broken YAML at line 5: found character that cannot start any token", id="a tab"),
        pytest.param("a: \x01", "broken YAML at line 4: control characters are not allowed", id="a control character"),
        pytest.param("a: *b", "broken YAML at line 4: no anchor for the alias *b", id="an alias of nothing"),
        pytest.param("a: {{ .Values.x }}\nb", "broken YAML at line 6: could not find expected ':'", id="a template"),
        pytest.param("&a a: 1\nb: !<x", "broken YAML at line 5: did not find the expected '>'", id="an open tag"),
    ],
)
def test_broken_documents_leave_their_neighbours(text: str, why: str) -> None:
    document = parse("x.yaml", f"# one\nimage: nginx:1\n---\n{text}\n---\nimage: nginx:2\n")
    assert [skip.why for skip in document.skipped] == [why]
    assert document.skipped[0].line == 3
    assert [found.image.tag for found in references(document)] == ["1", "2"]


def test_directives_are_counted_before_libyaml_compares_each_with_all() -> None:
    text = "".join(f"%TAG !a{i}! x\n" for i in range(MAX_DIRECTIVES + 1))
    assert [skip.why for skip in parse("x.yaml", f"{text}---\na: 1\n").skipped] == [
        f"broken YAML at line 1: more than {MAX_DIRECTIVES} directives"
    ]


def test_alias_bombs_cost_nothing() -> None:
    """Ten levels of ten aliases are ten thousand million nodes when followed; each node is met once."""
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 11))
    document = parse("x.yaml", f"l0: &l0 {{image: nginx:1.25}}\n{levels}end: {{image: *l10}}\n")
    assert len(document.parts[0].mappings) == 3
    assert [found.unwritable for found in references(document)] == [""]  # whatever repeats it repeats all of it


def test_aliases_of_what_holds_them_are_read() -> None:
    document = parse("x.yaml", "&a\nimage: nginx:1.25\nself: *a\n<<: *a\n")
    assert [found.unwritable for found in references(document)] == [""]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        pytest.param("", [""], id="nothing"),
        pytest.param("a: 1\n", ["a: 1\n"], id="one document"),
        pytest.param("a\n---\nb\n", ["a\n", "---\nb\n"], id="two"),
        pytest.param("# c\n\n%YAML 1.2\n---\nb\n", ["# c\n\n%YAML 1.2\n---\nb\n"], id="what stands before the first"),
        pytest.param("---\na\n...\n# c\n---\nb", ["---\na\n...\n", "# c\n---\nb"], id="an end and a comment"),
        pytest.param("---\na\n... # c\nb", ["---\na\n... # c\n", "b"], id="a bare document after an end"),
        pytest.param("--- a\n--- |\n b\n ---\n", ["--- a\n", "--- |\n b\n ---\n"], id="text beside the marker"),
        pytest.param("---\r\na\r\n---\r\nb", ["---\r\na\r\n", "---\r\nb"], id="line ends of Windows"),
        pytest.param("---\ra\r---\rb", ["---\ra\r", "---\rb"], id="line ends of old Macs"),
        pytest.param("a\u2028--- b", ["a\u2028", "--- b"], id="line ends of Unicode"),
        pytest.param("\ufeff---\na", ["---\na"], id="a byte order mark is of no document"),
        pytest.param("# c\n...\n\n...\n---\nb", ["---\nb"], id="ends of nothing"),
        pytest.param("----\n---a\n....\n--\n", ["----\n---a\n....\n--\n"], id="what only looks like a marker"),
        pytest.param("---\n---\n---", ["---\n", "---\n", "---"], id="empty documents"),
        pytest.param("a: '\n ---\n'\n", ["a: '\n ---\n'\n"], id="an indented marker is text"),
    ],
)
def test_streams_are_split_at_their_markers(text: str, pieces: list[str]) -> None:
    assert [text[span.start : span.end] for span in spans(text) if span.start < span.end] == [p for p in pieces if p]


def test_lines_count_from_the_beginning_of_the_file() -> None:
    text = "# one\r\n---\r\na: 1\r\n---\r\n\r\nimage: nginx:1\r\n...\r\n---\r\nimage: nginx:2"
    assert [found.line for found in references(parse("x.yaml", text))] == [6, 9]


def test_positions_leave_out_anchors_and_tags() -> None:
    text = "\ufeff😀: &x !!str \"ü\"\nb: !!str # comment\n  &y plain\nc: *x\nd: !<tag:example.com,2024:a> 'q'\n"
    root = parse("x.yaml", text).parts[0].root
    assert isinstance(root, Mapping)
    tokens = [text[n.start : n.end] for n in root.values.values() if isinstance(n, Scalar | Alias)]
    assert tokens == ['"ü"', "plain", "*x", "'q'"]
    assert [node.line for node in root.values.values()] == [1, 3, 4, 5]


def _stream(documents: int) -> str:
    """A stream in which every document but one is broken: whoever parses one of those has to say so."""
    broken = "".join(f"---\nimage: ghcr.io/acme/svc-{i}:1.0\nbroken: [\n" for i in range(documents))
    return f"{broken}---\nimage: ghcr.io/acme/api:1.0\n---\nkind: apiVersion\nmy_api: [\n"


def test_documents_without_the_words_are_not_parsed() -> None:
    document = parse("x.yaml", _stream(2_000), Words(["ghcr.io/acme/api"]))
    assert len(document.parts) == 1
    assert document.skipped == ()
    assert [found.line for found in references(document)] == [6_002]


def test_a_thousand_words_choose_the_same_documents_as_one_by_one() -> None:
    text = "".join(f"---\nimage: ghcr.io/acme/svc-{i}:1.0\n" for i in range(2_000))
    document = parse("x.yaml", text, Words(f"ghcr.io/acme/svc-{i}" for i in range(0, 2_000, 2)))
    found = [reference.image.repository for reference in references(document)]
    assert found == [f"acme/svc-{i}" for i in range(0, 2_000, 2)]


@pytest.mark.parametrize(
    ("words", "text", "within"),
    [
        pytest.param(["ghcr.io/acme/api"], "x: acme/api:1", True, id="the last segment"),
        pytest.param(["api"], "apiVersion: v1", False, id="not as a part of a word"),
        pytest.param(["api"], "repository: api", True, id="at the end"),
        pytest.param(["api"], "api", True, id="alone"),
        pytest.param(["api"], "my-api", True, id="after a dash it may be one: parsing decides"),
        pytest.param(["a.b"], "image: axb:1", False, id="dots are dots"),
        pytest.param(["ghcr.io/acme/"], "image: ghcr.io/acme/x", True, id="a name cut at a segment"),
        pytest.param(["x", "web"], "größe: web", True, id="beyond ASCII"),
        pytest.param([], "anything", False, id="no words, no documents"),
        pytest.param([""], "anything", True, id="the empty name stands for all"),
    ],
)
def test_words(words: list[str], text: str, within: bool) -> None:
    assert Words(words).within(text) is within


def test_many_words_fit() -> None:
    words = Words(f"registry.example.com/a-rather-long-team-name/service-number-{i}" for i in range(20_000))
    assert words.within("image: x/service-number-19999:1")
    assert not words.within("image: x/service-number-20000:1")
