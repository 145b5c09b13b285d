"""The tables, in SQLAlchemy Core so that one text serves every database."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, DateTime, Index, Integer, MetaData, String, Table, Text

# Of the tables below; a database of a newer version is refused, not guessed at. An older program works on with a table
# or a column more, if it may be null: those are added without a new version.
VERSION = 1

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
    Column("failing", String(1024), index=True),  # what it shares a failure about: a topic and a subject's key
    Column("looked", Boolean),  # whether any attempt found out how it stands
    Column("document", Text),  # what the last look that found out found, as JSON
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

heads = Table(
    "heads",  # up to where the commits of a branch were told
    metadata,
    Column("repository", String(512), primary_key=True),
    Column("branch", String(512), primary_key=True),
    Column("revision", String(64), nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("at", DateTime, nullable=False),  # UTC
    Column("kind", String(32), nullable=False),
    Column("subject", String(1024), nullable=False),
    Column("document", Text, nullable=False),  # Event.as_json
    Column("baseline", Boolean, nullable=False),  # found on a first run, and told to nobody
    Index("events_subject", "subject", "seq"),
    Index("events_kind", "kind", "seq"),
)

conditions = Table(
    "conditions",  # what lasts: the last word about each subject and topic
    metadata,
    Column("subject", String(1024), primary_key=True),
    Column("topic", String(32), primary_key=True),
    Column("key", String(32), nullable=False),
    Column("event", String(32), nullable=False),
    Column("since", DateTime, nullable=False),  # UTC
)

outbox = Table(
    "outbox",  # one row for each event and channel; a row without an event tells how many were held back
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("channel", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("event", String(32)),
    Column("subject", String(1024), nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("wanted", DateTime, nullable=False),  # UTC, when it was first to be sent
    Column("due", DateTime, nullable=False),  # UTC, not before
    Column("joins", Integer, nullable=False),  # seconds after another message in which it waits for more
    Column("lasting", Boolean, nullable=False),  # told only if what it tells still holds then
    Column("since", DateTime),  # UTC: it still holds since then; also of what was held back
    Column("held", Integer, nullable=False),  # events that were held back, in a row that tells so
    Column("attempts", Integer, nullable=False),
    Column("form", Integer, nullable=False),  # 0 as it should be, 1 as plain text, 2 plain and alone
    Column("answer", Text, nullable=False),  # the last one, in words
    Column("done", DateTime),  # UTC
    Index("outbox_waiting", "channel", "state", "seq"),
    Index("outbox_event", "event"),
)

lanes = Table(
    "lanes",  # what a service takes, by a hash of its address
    metadata,
    Column("lane", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),  # attempts in a row
    Column("paused_until", DateTime),  # UTC
    Column("sent", Text, nullable=False),  # seconds of the epoch, one a line: the latest messages
)

threads = Table(
    "threads",  # what later messages about a subject hang on
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("subject", String(1024), primary_key=True),
    Column("thread", String(255), nullable=False),
    Column("at", DateTime, nullable=False),  # UTC
)

applications = Table(
    "applications",
    metadata,
    Column("name", String(253), primary_key=True),
    Column("cluster", String(253), nullable=False),
    Column("document", Text, nullable=False),  # ApplicationStatus as JSON
    Column("at", DateTime, nullable=False),  # UTC, when it was written
)

deliveries = Table(
    "deliveries",  # what was applied to a cluster, whole and without a failure: the history of each application
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("application", String(253), nullable=False, index=True),
    Column("revision", String(64), nullable=False),
    Column("rendered", String(64), nullable=False),
    Column("images", Text, nullable=False),  # one a line
    Column("at", DateTime, nullable=False),  # UTC
)
