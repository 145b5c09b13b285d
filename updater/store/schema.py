"""The tables, in SQLAlchemy Core so that one text serves every database."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, String, Table, Text

VERSION = 1  # of the tables below; a database of a newer version is refused, not guessed at

metadata = MetaData()

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

polls = Table(
    "polls",
    metadata,
    Column("item", String(512), primary_key=True),  # an item's name, as commands accept it
    Column("at", DateTime, nullable=False),  # UTC, of the last attempt
    Column("failures", Integer, nullable=False),  # attempts that failed since the last success
    Column("retry_at", DateTime),  # UTC, not before; set by a failure
    Column("outcome", String(32), nullable=False),
    Column("reason", Text, nullable=False),
)

lists = Table(
    "lists",  # the last list of each image that was believed
    metadata,
    Column("image", String(512), primary_key=True),
    Column("fingerprint", String(32), nullable=False),  # of what the registry answered
    Column("names", Text, nullable=False),  # one a line, sorted
    Column("doubt", String(32)),  # fingerprint of the tags that scans since then agree to miss
    Column("doubt_seen", Integer),  # scans
    Column("doubt_since", DateTime),
    Column("doubt_last", DateTime),
)

tags = Table(
    "tags",  # those of which more is known than that the first list had them
    metadata,
    Column("image", String(512), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("first_seen", DateTime),  # UTC; none for a tag that the first list had
    Column("digest", String(160)),  # when it was first asked for
    Column("gone", DateTime),  # UTC, when it left the list
)

descriptions = Table(
    "descriptions",  # what images are made of, by digest
    metadata,
    Column("digest", String(160), primary_key=True),
    Column("created", DateTime),  # UTC
    Column("asked_created", Boolean, nullable=False),
    Column("platforms", Text, nullable=False),  # one a line, sorted
    Column("source", Text),
    Column("revision", String(64)),
    Column("version", String(128)),
    Column("url", Text),
    Column("speaker", String(160)),  # the image in an index that says what the index does not
    Column("first_seen", DateTime, nullable=False),  # UTC
    Column("used", DateTime, nullable=False),  # UTC, to a week
)

holds = Table(
    "holds",
    metadata,
    Column("item", String(512), primary_key=True),
    Column("at", DateTime, nullable=False),  # UTC
    Column("until", DateTime),  # UTC
    Column("reason", Text, nullable=False),
    Column("by", String(16), nullable=False),
    Column("tag", String(128)),
)

resumes = Table(
    "resumes",
    metadata,
    Column("item", String(512), primary_key=True),
    Column("at", DateTime, nullable=False),  # UTC
)

approvals = Table(
    "approvals",
    metadata,
    Column("item", String(512), primary_key=True),
    Column("tag", String(128), primary_key=True),
    Column("at", DateTime, nullable=False),  # UTC
)
