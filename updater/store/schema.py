"""The tables, in SQLAlchemy Core so that one text serves every database."""

from __future__ import annotations

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, Text

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
