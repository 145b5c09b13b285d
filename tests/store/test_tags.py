"""What was seen of tags: lists, first times and first digests survive restarts and other processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event, func, select

from tests.lab.statements import statements, writes
from updater.errors import StoreError
from updater.model.tag import Scan, Tag
from updater.store import tags as module
from updater.store.database import Database
from updater.store.schema import lists, tags
from updater.store.tags import Seen, Tags

AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
API = "ghcr.io/acme/api"
ONE, TWO = f"sha256:{1:064x}", f"sha256:{2:064x}"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/state.db")
    yield opened
    opened.close()


def after(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def scan(names: Iterable[str], image: str = API) -> Scan:
    return Scan(image, tuple(map(Tag, names)), AT)


def learned(known: Tags, names: Iterable[str], now: datetime, *, write: bool = True) -> Scan:
    return known.learn([scan(names)], now, write=write)[API]


def rows(database: Database) -> int:
    with database.transaction() as connection:
        return connection.execute(select(func.count()).select_from(tags)).scalar_one()


class TestFirstTimes:
    def test_tags_of_the_first_list_have_no_time(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "ab", AT)
        assert known.seen(API, "ab") == {"a": Seen(), "b": Seen()}

    def test_a_later_tag_has_the_time_of_the_list_that_first_had_it(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "ab", AT)
        learned(known, "abc", after(5))
        learned(known, "abcd", after(10))
        assert known.seen(API, "bcd") == {"b": Seen(), "c": Seen(after(5)), "d": Seen(after(10))}

    def test_it_survives_a_restart(self, database: Database) -> None:
        learned(Tags(database), "ab", AT)
        learned(Tags(database), "abc", after(5))
        learned(Tags(database), "abc", after(10))
        assert Tags(database).seen(API, "ac") == {"a": Seen(), "c": Seen(after(5))}

    def test_a_tag_that_left_and_came_back_is_first_seen_when_it_is_back(self, database: Database) -> None:
        known = Tags(database)
        for minutes, names in enumerate(["abcdefg", "bcdefg", "abcdefg"]):
            learned(known, names, after(minutes))
        assert known.seen(API, "ab") == {"a": Seen(after(2)), "b": Seen()}

    def test_a_later_tag_that_left_and_came_back_counts_from_then(self, database: Database) -> None:
        known = Tags(database)
        for minutes, names in enumerate(["abcdef", "abcdefg", "abcdef", "abcdefg"]):
            learned(known, names, after(minutes))
        assert known.seen(API, "g") == {"g": Seen(after(3))}

    def test_tags_that_left_take_no_room(self, database: Database) -> None:
        known = Tags(database)
        for minutes in range(20):
            learned(known, [*"abcdef", f"build-{minutes}"], after(minutes))
        assert rows(database) == 1

    def test_images_do_not_know_each_other(self, database: Database) -> None:
        known = Tags(database)
        known.learn([scan("a"), scan("xy", "docker.io/library/nginx")], AT)
        known.learn([scan("ab"), scan("xy", "docker.io/library/nginx")], after(5))
        assert known.seen("docker.io/library/nginx", "b") == {"b": Seen()}
        assert known.seen(API, "b") == {"b": Seen(after(5))}

    def test_the_order_of_a_list_says_nothing(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "abc", AT)
        with statements(database) as asked:
            learned(known, "cab", after(5))
        assert asked == []

    def test_what_is_no_tag_is_not_stored(self, database: Database) -> None:
        known = Tags(database)
        learned(known, ["a", "b\nc", "\ud800", "x" * 200, ""], AT)
        learned(Tags(database), ["a", "b", "\ud801"], after(5))
        assert known.seen(API, "b") == {"b": Seen(after(5))}


class TestLists:
    def test_a_shrunken_list_comes_back_incomplete_until_three_scans_agree(self, database: Database) -> None:
        learned(Tags(database), "0123456789", AT)
        answers = [learned(Tags(database), "0123", after(m)) for m in (1, 6, 11, 16, 21, 26)]
        assert [answer.complete for answer in answers] == [False, False, False, False, True, True]
        assert answers[0].why.startswith("6 of 10 known tags missing")
        assert [tag.name for tag in answers[0].tags] == list("0123")

    def test_tags_that_come_with_a_doubted_list_are_first_seen_when_it_is_believed(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "0123456789", AT)
        for minutes in (10, 20, 30):
            learned(known, "0123a", after(minutes))
        assert known.seen(API, "0a") == {"0": Seen(), "a": Seen(after(30))}

    def test_a_whole_list_ends_the_doubt(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "0123456789", AT)
        answers = [learned(known, n, after(10 * m)) for m, n in enumerate(["01", "01", "0123456789", "01", "01", "01"])]
        assert [answer.complete for answer in answers] == [False, False, True, False, False, True]

    def test_an_empty_list_is_doubted_where_tags_were_known(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "ab", AT)
        answer = learned(known, "", after(5))
        assert (answer.complete, answer.why.split(";")[0]) == (False, "the list is empty, 2 known tags missing")

    def test_an_empty_list_is_no_first_list(self, database: Database) -> None:
        known = Tags(database)
        assert learned(known, "", AT) == scan("")
        learned(known, "ab", after(5))
        assert known.seen(API, "a") == {"a": Seen()}

    def test_an_incomplete_list_comes_back_as_it_was_and_changes_nothing(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "abcdefghij", AT)
        cut = Scan(API, (Tag("a"), Tag("z")), AT, complete=False, why="cut off")
        with statements(database) as asked:
            assert known.learn([cut], after(5)) == {API: cut}
        assert asked == []
        learned(known, "abcdefghijz", after(10))
        assert known.seen(API, "z") == {"z": Seen(after(10))}

    def test_a_doubt_does_not_touch_other_images(self, database: Database) -> None:
        known = Tags(database)
        known.learn([scan("abc"), scan("abc", "docker.io/library/nginx")], AT)
        found = known.learn([scan("a"), scan("abcd", "docker.io/library/nginx")], after(5))
        assert [answer.complete for answer in found.values()] == [False, True]


class TestCost:
    def test_a_list_without_news_costs_no_statement(self, database: Database) -> None:
        known = Tags(database)
        images = [scan("abc", f"ghcr.io/acme/i{n}") for n in range(50)]
        known.learn(images, AT)
        with statements(database) as asked:
            known.learn(images, after(5))
        assert asked == []

    def test_after_a_restart_one_question_is_enough_for_all(self, database: Database) -> None:
        images = [scan("abc", f"ghcr.io/acme/i{n}") for n in range(50)]
        Tags(database).learn(images, AT)
        known = Tags(database)
        with statements(database) as asked:
            known.learn(images, after(5))
            known.learn(images, after(10))
        assert len(asked) == 1
        assert "names" not in asked[0]

    def test_one_new_tag_among_thousands_of_images_costs_a_handful(self, database: Database) -> None:
        images = {n: scan("abc", f"ghcr.io/acme/i{n}") for n in range(2000)}
        known = Tags(database)
        known.learn(list(images.values()), AT)
        images[7] = scan("abcd", images[7].image)
        with statements(database) as asked:
            known.learn(list(images.values()), after(5))
        assert len(asked) < 10

    def test_a_hundred_thousand_tags_are_learned_forgotten_and_learned_again(self, database: Database) -> None:
        many = [f"build-{n}" for n in range(100_000)]
        known = Tags(database)
        learned(known, many[:10], AT)
        learned(known, many, after(5))
        assert rows(database) == 99_990
        for minutes in (10, 20, 30):
            learned(known, many[:50], after(minutes))
        assert rows(database) == 40
        learned(known, many, after(40))
        assert known.seen(API, many[9:60:50]) == {"build-9": Seen(), "build-59": Seen(after(40))}

    def test_the_digest_of_a_tag_is_looked_up_once(self, database: Database) -> None:
        known = Tags(database)
        known.saw(API, {"a": ONE}, AT)
        with statements(database) as asked:
            known.saw(API, {"a": ONE}, after(5))
        assert asked == []

    def test_after_a_restart_a_stored_digest_writes_nothing(self, database: Database) -> None:
        Tags(database).saw(API, {"a": ONE}, AT)
        with statements(database) as asked:
            Tags(database).saw(API, {"a": TWO}, after(5))
        assert writes(asked) == []

    def test_a_process_remembers_a_bounded_number_of_digests(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MEMORY", 10)
        known = Tags(database)
        for n in range(50):
            known.saw(API, {f"t{n}": ONE}, AT)
        assert len(known._stored) <= 11


class TestReadingOnly:
    def test_nothing_is_written(self, database: Database) -> None:
        learned(Tags(database), "0123456789", AT)
        with statements(database) as asked:
            known = Tags(database)
            for names in ("0123456789a", "01", "", "0123456789"):
                learned(known, names, after(5), write=False)
            known.learn([scan("a", "docker.io/library/nginx")], AT, write=False)
        assert writes(asked) == []

    def test_the_answers_are_the_same(self, database: Database) -> None:
        learned(Tags(database), "0123456789", AT)
        known = Tags(database)
        assert not learned(known, "01", after(5), write=False).complete
        assert learned(known, "0123456789a", after(5), write=False).complete
        assert known.seen(API, "0a") == {"0": Seen(), "a": Seen(after(5))}

    def test_what_it_found_is_learned_when_writing(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "ab", AT)
        learned(known, "abc", after(5), write=False)
        learned(known, "abc", after(10))
        assert known.seen(API, "c") == {"c": Seen(after(10))}
        assert Tags(database).seen(API, "c") == {"c": Seen(after(10))}

    def test_looks_that_do_not_write_do_not_end_a_doubt_by_themselves(self, database: Database) -> None:
        learned(Tags(database), "0123456789", AT)
        known = Tags(database)
        answers = [learned(known, "01", after(10 * n), write=False) for n in range(5)]
        assert not any(answer.complete for answer in answers)


class TestDigests:
    def test_the_first_digest_is_kept(self, database: Database) -> None:
        Tags(database).saw(API, {"a": ONE, "b": TWO}, AT)
        Tags(database).saw(API, {"a": TWO}, after(5))
        assert Tags(database).seen(API, "abc") == {"a": Seen(None, ONE), "b": Seen(None, TWO), "c": Seen()}

    def test_an_accepted_move_takes_its_place(self, database: Database) -> None:
        known = Tags(database)
        known.saw(API, {"a": ONE}, AT)
        known.accept_move(API, "a", TWO)
        known.saw(API, {"a": ONE}, after(5))
        assert known.seen(API, "a") == {"a": Seen(None, TWO)}

    def test_a_move_of_a_tag_without_a_digest_is_stored(self, database: Database) -> None:
        known = Tags(database)
        known.accept_move(API, "a", TWO)
        assert known.seen(API, "a") == {"a": Seen(None, TWO)}

    def test_a_digest_and_a_first_time_stand_side_by_side(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "a", AT)
        learned(known, "ab", after(5))
        known.saw(API, {"a": ONE, "b": TWO}, after(5))
        assert known.seen(API, "ab") == {"a": Seen(None, ONE), "b": Seen(after(5), TWO)}

    def test_a_tag_pushed_anew_under_an_old_name_still_has_its_first_digest(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "abcdefg", AT)
        known.saw(API, {"a": ONE}, AT)
        learned(known, "bcdefg", after(5))
        learned(known, "abcdefg", after(10))
        known.saw(API, {"a": TWO}, after(10))
        assert known.seen(API, "a") == {"a": Seen(after(10), ONE)}

    def test_the_digest_of_a_tag_that_is_gone_is_forgotten_after_three_months(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "abcdefg", AT)
        known.saw(API, {"a": ONE}, AT)
        learned(known, "bcdefg", after(5))
        learned(known, "bcdefgh", AT + timedelta(days=89))
        assert known.seen(API, "a")["a"].digest == ONE
        learned(known, "bcdefghi", AT + timedelta(days=91))
        assert known.seen(API, "a")["a"].digest is None
        known.saw(API, {"a": TWO}, AT + timedelta(days=92))
        learned(known, "abcdefghi", AT + timedelta(days=92))
        known.saw(API, {"a": TWO}, AT + timedelta(days=92))
        assert known.seen(API, "a") == {"a": Seen(AT + timedelta(days=92), TWO)}

    def test_the_digest_of_a_tag_that_came_back_is_kept(self, database: Database) -> None:
        known = Tags(database)
        known.saw(API, {"a": ONE}, AT)
        for minutes, names in enumerate(["abcdefg", "bcdefg", "abcdefg"]):
            learned(known, names, after(minutes))
        learned(known, "abcdefgh", AT + timedelta(days=91))
        assert known.seen(API, "a") == {"a": Seen(after(2), ONE)}


CHILD = """
import sys
from datetime import UTC, datetime, timedelta
from updater.model.tag import Scan, Tag
from updater.store.database import Database
from updater.store.tags import Tags

known = Tags(Database(sys.argv[1]))
at = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
for n in range(40):
    for names in ("abcdefghi", "abcdefghij"):
        scans = [Scan(f"ghcr.io/acme/i{n}", tuple(map(Tag, names)), at)]
        assert all(scan.complete for scan in known.learn(scans, at + timedelta(minutes=n)).values())
    known.saw("ghcr.io/acme/i0", {f"t{n}": "sha256:" + sys.argv[2] * 64}, at)
"""


class TestProcesses:
    def test_processes_that_learn_the_same_at_once_do_not_disturb_each_other(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/state.db"
        database = Database(url)
        running = [subprocess.Popen([sys.executable, "-c", CHILD, url, d], stderr=subprocess.PIPE) for d in "12"]
        for process in running:
            _, errors = process.communicate(timeout=120)
            assert (process.returncode, errors) == (0, b"")
        for n in range(40):
            seen = Tags(database).seen(f"ghcr.io/acme/i{n}", "aj")
            assert seen == {"a": Seen(), "j": Seen(after(n))}
        assert all(one.digest for one in Tags(database).seen("ghcr.io/acme/i0", [f"t{n}" for n in range(40)]).values())
        database.close()

    def test_nobody_else_writes_between_what_is_read_and_what_is_written(
        self, database: Database, tmp_path: Path
    ) -> None:
        known = Tags(database)
        learned(known, "ab", AT)
        locked = []

        def look(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            if statement.startswith("SELECT") and "names" in statement:
                with closing(sqlite3.connect(tmp_path / "state.db", timeout=0)) as other:
                    try:
                        other.execute("BEGIN IMMEDIATE")
                        locked.append(False)
                    except sqlite3.OperationalError:
                        locked.append(True)

        event.listen(database._engine, "before_cursor_execute", look)
        learned(known, "abc", after(5))
        assert locked == [True]

    def test_what_another_process_learned_is_not_learned_again(self, database: Database) -> None:
        daemon, once = Tags(database), Tags(database)
        learned(daemon, "ab", AT)
        learned(once, "abc", after(3))
        learned(daemon, "abc", after(5))
        assert daemon.seen(API, "c") == {"c": Seen(after(3))}

    def test_a_failure_leaves_nothing_and_is_tried_again(self, database: Database) -> None:
        known = Tags(database)
        learned(known, "ab", AT)
        with database.transaction() as connection:
            tags.drop(connection)
        with pytest.raises(StoreError):
            learned(known, "abc", after(5))
        with database.transaction() as connection:
            assert connection.execute(select(lists.c.names)).scalar_one() == "a\nb"
            tags.create(connection)
        learned(known, "abc", after(10))
        assert known.seen(API, "c") == {"c": Seen(after(10))}
