"""One file and what it includes, joined into one tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from updater.config.sources import MAX_FILES, Pattern, Source, Sources, expand, is_glob, read
from updater.config.tree import Map, Mark, Seq, kind_of, parse
from updater.errors import ConfigError, Problem


@dataclass(slots=True)
class Files:
    """What was read so far, and what was wrong with it."""

    problems: list[Problem] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    patterns: list[Pattern] = field(default_factory=list)
    _read: set[Path] = field(default_factory=set)

    @property
    def seen(self) -> Sources:
        """Everything that was read, for finding out whether it changed."""
        return Sources(tuple(self.sources), tuple(self.patterns))

    def tree(self, path: Path, above: tuple[Path, ...] = ()) -> Map:
        """Read a file and join what it includes; a file that two others include counts once."""
        self._read.add(path)
        try:
            text, source = read(path)
            self.sources.append(source)
            tree = parse(text, str(path))
        except ConfigError as err:
            self.problems += err.problems
            if not any(source.path == path for source in self.sources):
                self.sources.append(Source(path))  # it counts as changed once it can be read
            return Map(Mark(str(path), 1, 1, 1, 1, ""))
        for entry, mark in self._includes(tree):
            for file in self._named(entry, mark, path, (*above, path)):
                self._join(tree, self.tree(file, (*above, path)))
        return tree

    def _includes(self, tree: Map) -> list[tuple[str, Mark]]:
        """Take `include` out of the tree and return its entries."""
        mark, entries = tree.marks.pop("include", tree.mark), tree.pop("include", None)
        if entries is None:
            return []
        if not isinstance(entries, Seq):
            self.problems.append(mark.problem(kind_of(entries), "a list of files or globs"))
            return []
        pairs = list(zip(entries, entries.marks, strict=True))
        wrong = [(entry, mark) for entry, mark in pairs if not isinstance(entry, str) or not entry or "\0" in entry]
        self.problems += [mark.problem(kind_of(entry), "a file or a glob") for entry, mark in wrong]
        return [pair for pair in pairs if pair not in wrong]

    def _named(self, entry: str, mark: Mark, path: Path, open_files: tuple[Path, ...]) -> list[Path]:
        """Return the files that one entry adds."""
        matches = expand(path.parent, entry)
        self.patterns.append(Pattern(path.parent, entry, matches))
        if len(matches) + len(self._read) > MAX_FILES:
            self.problems.append(mark.problem(f"more than {MAX_FILES} files", "fewer files"))
            return []
        if is_glob(entry):
            return [match for match in matches if match not in self._read]
        (only,) = matches
        if only in open_files:
            names = " -> ".join(file.name for file in (*open_files[open_files.index(only) :], only))
            self.problems.append(mark.problem(f"an include cycle ({names})", "files that do not include each other"))
            return []
        if not only.is_file():
            self.sources.append(Source(only))
            self.problems.append(mark.problem(f"no file {str(only)!r}", "a file, or a glob (which may match nothing)"))
            return []
        return [only] if only not in self._read else []

    def _join(self, into: Map, other: Map) -> None:
        """Join lists, also those of a section; merge the sections, and refuse what both files set."""
        for key, value in other.items():
            here = into.get(key)
            if isinstance(here, Map) and isinstance(value, Map):
                for name in value:
                    self._put(here, name, value)
            else:
                self._put(into, key, other)

    def _put(self, into: Map, key: str, other: Map) -> None:
        here, value, mark = into.get(key), other[key], other.marks[key]
        if key not in into:
            into.put(key, value, mark)
        elif isinstance(here, Seq) and isinstance(value, Seq):
            here.extend(value)
            here.marks.extend(value.marks)
        else:
            self._twice(into.marks[key], mark)

    def _twice(self, first: Mark, second: Mark) -> None:
        self.problems.append(second.problem(f"the key a second time (first at {place(first)})", "it once", at_key=True))


def place(mark: Mark) -> str:
    """Spell where a key or a list's entry stands."""
    return f"{mark.file}:{mark.key_line}:{mark.key_column}"
