"""YAML text as plain mappings, lists and scalars that know where they stand.

A mapping (`Map`) and a list (`Seq`) keep one `Mark` for each of their entries, so that a value that is carried
into another mapping (defaults into an image, an image into its items) still points at the place that wrote it.
Plain numbers stay text: `range: 1.20` means 1.20 and not 1.2, and a field that wants a number reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.composer import ComposerError, MaxDepthExceededError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from updater.errors import ConfigError, Problem

MAX_DEPTH = 50  # ruamel.yaml recurses; a configuration nests some eight levels
MAX_NODES = 200_000  # values after aliases are expanded; a file of 1,000 images with two items each has some 30,000
_PREFIX = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset(_PREFIX + name for name in ("str", "int", "float", "bool", "null", "map", "seq", "timestamp"))
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class Mark(NamedTuple):
    """Where a value stands, and its key (for a list's entry the entry itself); lines and columns count from 1."""

    file: str
    line: int
    column: int
    key_line: int
    key_column: int
    where: str

    def problem(self, found: str, expected: str, *, at_key: bool = False) -> Problem:
        """One mistake at this place."""
        line, column = (self.key_line, self.key_column) if at_key else (self.line, self.column)
        return Problem(self.file, line, column, self.where, found, expected)


class Text(str):
    """A scalar that knows its file, against which relative paths in it count."""

    __slots__ = ("file",)
    file: str

    @classmethod
    def of(cls, value: str, file: str) -> Text:
        """Return the text with its file."""
        text = cls(value)
        text.file = file
        return text


class Map(dict[str, Any]):
    """A mapping; `mark` is its own place, `marks` those of its entries."""

    __slots__ = ("mark", "marks")

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark
        self.marks: dict[str, Mark] = {}

    def put(self, key: str, value: Any, mark: Mark) -> None:
        """Set an entry and its place."""
        self[key] = value
        self.marks[key] = mark

    def take(self, other: Map, *, skip: frozenset[str] = frozenset()) -> None:
        """Set every entry of the other mapping, with its place; those of the same name are replaced."""
        for key, value in other.items():
            if key not in skip:
                self.put(key, value, other.marks[key])

    def copy_with(self, key: str, value: Any, mark: Mark) -> Map:
        """Return a copy with one entry set."""
        whole = Map(self.mark)
        whole.take(self)
        whole.put(key, value, mark)
        return whole


class Seq(list[Any]):
    """A list; `mark` is its own place, `marks` those of its entries."""

    __slots__ = ("mark", "marks")

    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self.mark = mark
        self.marks: list[Mark] = []

    def add(self, value: Any, mark: Mark) -> None:
        """Append an entry and its place."""
        self.append(value)
        self.marks.append(mark)


Tree: TypeAlias = Map | Seq | Text | bool | None


def parse(text: str, file: str) -> Map:
    """Read one document whose top is a mapping; an empty one is an empty mapping. Raises ConfigError."""
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = MAX_DEPTH
    yaml.composer.warn_double_anchors = False  # YAML allows it, and the warning would print the text
    try:
        node = yaml.compose(text)
    except YAMLError as err:
        raise ConfigError([_syntax(err, file)]) from None
    except AssertionError:  # what ruamel.yaml says of %YAML 1.7
        line = text.count("\n", 0, text.find("%YAML")) + 1
        raise ConfigError([Problem(file, line, 1, "", "an unknown version of YAML", "%YAML 1.2, or none")]) from None
    start = Mark(file, 1, 1, 1, 1, "")
    if node is None or (isinstance(node, ScalarNode) and _scalar(node, file) is None):
        return Map(start)
    reader = _Reader(file)
    tree = reader.value(node, start)
    if reader.problems:
        raise ConfigError(reader.problems)
    if not isinstance(tree, Map):
        raise ConfigError([start.problem(kind_of(tree), "a mapping of settings")])
    return tree


def kind_of(value: object) -> str:
    """Name the kind of a value without telling what it holds."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping" if value else "an empty mapping"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case _:
            return "a text"


def _syntax(err: YAMLError, file: str) -> Problem:
    """Turn what ruamel.yaml raised into a place and words; its excerpt of the text is left out, it may be a secret."""
    if isinstance(err, ReaderError):
        return Problem(file, 1, 1, "", "a character that YAML does not allow", "printable text")
    mark = getattr(err, "problem_mark", None) or getattr(err, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if isinstance(err, MaxDepthExceededError):
        return Problem(file, line, column, "", f"more than {MAX_DEPTH} levels of nesting", f"at most {MAX_DEPTH}")
    if isinstance(err, ComposerError):
        single = "document" in str(err.context) + str(err.problem)
        found, expected = ("a second document", "one document") if single else (_composer(err), "valid YAML")
        return Problem(file, line, column, "", found, expected)
    said = (getattr(err, "problem", None) or "text that is no YAML").removeprefix("found ")
    context = getattr(err, "context", None)
    return Problem(file, line, column, "", f"broken YAML: {said}" + (f" ({context})" if context else ""), "valid YAML")


def _composer(err: ComposerError) -> str:
    return "an alias without its anchor" if "undefined alias" in str(err.problem) else "an anchor that is used twice"


class _Reader:
    """Nodes to trees: refuses twofold keys, tags, aliases that contain themselves and aliases that explode."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.count = 0
        self.open: set[int] = set()

    def value(self, node: ScalarNode | MappingNode | SequenceNode, mark: Mark) -> Tree:
        self.count += 1
        if self.count == MAX_NODES:
            self.problems.append(mark.problem("aliases that expand without end", f"fewer than {MAX_NODES} values"))
        if self.count >= MAX_NODES:
            return None
        if isinstance(node, ScalarNode):
            return self.scalar(node, mark)
        if id(node) in self.open:
            self.problems.append(mark.problem("an alias inside its own anchor", "values that end"))
            return None
        self.open.add(id(node))
        if str(node.tag) not in _KNOWN_TAGS:
            self.problems.append(mark.problem("a tag", "a plain value"))
        tree = self.mapping(node, mark) if isinstance(node, MappingNode) else self.sequence(node, mark)
        self.open.remove(id(node))
        return tree

    def scalar(self, node: ScalarNode, mark: Mark) -> Tree:
        if str(node.tag) not in _KNOWN_TAGS:
            self.problems.append(mark.problem("a tag", "a plain value"))
            return None
        return _scalar(node, self.file)

    def sequence(self, node: SequenceNode, mark: Mark) -> Seq:
        seq = Seq(mark)
        for number, item in enumerate(node.value):
            line, column = item.start_mark.line + 1, item.start_mark.column + 1
            at = Mark(self.file, line, column, line, column, f"{mark.where}[{number}]")
            seq.add(self.value(item, at), at)
        return seq

    def mapping(self, node: MappingNode, mark: Mark) -> Map:
        mapping = Map(mark)
        for name, key, item in self.entries(node, mark):
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            start = key.start_mark if _is_empty(item) else item.start_mark
            at = Mark(self.file, start.line + 1, start.column + 1, line, column, f"{mark.where}.{name}".lstrip("."))
            if name in mapping:
                first = mapping.marks[name]
                said = f"the key a second time (first in line {first.key_line})"
                self.problems.append(at.problem(said, "each key once", at_key=True))
                continue
            mapping.put(name, self.value(item, at), at)
        return mapping

    def entries(self, node: MappingNode, mark: Mark) -> Iterator[tuple[str, Node, Any]]:
        for key, item in node.value:
            if not isinstance(key, ScalarNode) or str(key.tag) == f"{_PREFIX}merge":
                at = mark._replace(line=key.start_mark.line + 1, column=key.start_mark.column + 1)
                said = "a merge key `<<`" if isinstance(key, ScalarNode) else "a key that is no text"
                self.problems.append(at.problem(said, "the name of a setting (`defaults` share settings)"))
                continue
            yield key.value, key, item


def _is_empty(node: Node) -> bool:
    """Whether nothing is written after the colon: then the value has no place but the key's."""
    return isinstance(node, ScalarNode) and node.style is None and node.value == ""


def _scalar(node: ScalarNode, file: str) -> Text | bool | None:
    """Read a scalar as YAML 1.2 does, numbers and dates excepted: these stay text."""
    if node.style is None and str(node.tag) in {f"{_PREFIX}null", f"{_PREFIX}bool"}:
        if node.value in _NULL:
            return None
        if node.value in _BOOL:
            return _BOOL[node.value]
    return Text.of(node.value, file)
