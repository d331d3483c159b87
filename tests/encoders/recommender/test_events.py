"""Event logs are read in any order and size, and what is wrong in one is said by its line."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tests.logs import write_log
from trimseek.encoders.recommender.events import EventFields, EventLog, is_event_log, read_events
from trimseek.errors import CorpusError


def taken(log: EventLog) -> dict[str, list[str]]:
    """Items of each user by their ids."""
    return {
        user: [log.items[item] for item in log.history(number).tolist()]
        for number, user in enumerate(log.users)
    }


def test_events_are_sorted_by_time_and_stay_in_order(tmp_path: Path) -> None:
    rows = [
        ("b", "x", 3),
        ("a", "y", 9),
        ("b", "z", 1),
        ("a", "x", 9),
        ("b", "y", 2),
        ("c", "x", 5),
    ]
    log = read_events(write_log(tmp_path / "log.csv", rows))
    assert taken(log) == {"b": ["z", "y", "x"], "a": ["y", "x"], "c": ["x"]}
    assert log.items[0] == "x"
    assert log.counts.tolist() == [3, 2, 1]
    assert log.lengths.tolist() == [3, 2, 1]
    assert str(log) == "6 events of 3 users and 3 items"


def test_a_repeated_event_counts_once_and_a_later_one_again(tmp_path: Path) -> None:
    rows = [("a", "x", 1), ("a", "y", 1), ("a", "x", 1), ("a", "x", 2)]
    log = read_events(write_log(tmp_path / "log.csv", rows))
    assert taken(log) == {"a": ["x", "y", "x"]}
    assert log.repeated == 1


def test_formats_and_names_give_the_same_log(tmp_path: Path) -> None:
    rows = [("1", "7", 2.0), ("1", "8", 1.0), ("2", "7", 1.5)]
    plain = read_events(write_log(tmp_path / "log.csv", rows))
    lines = [
        json.dumps({"customer_id": int(user), "movieId": int(item), "timestamp": time, "x": None})
        for user, item, time in rows
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n\n", "utf-8")
    with gzip.open(tmp_path / "log.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("\ufeffwhen\tUser\tITEM\n")
        file.writelines(
            f"2026-01-0{int(time * 2)}T00:00:00Z\t{user}\t{item}\n" for user, item, time in rows
        )
    fields = EventFields(time="when")
    for log in (
        read_events(tmp_path / "log.jsonl"),
        read_events(tmp_path / "log.tsv.gz", fields),
    ):
        assert taken(log) == taken(plain)
        assert log.items == plain.items
    assert is_event_log(tmp_path / "log.jsonl")
    assert not is_event_log(tmp_path / "log.tsv.gz")  # whose time has another name


def test_any_order_of_a_large_log_gives_the_same_histories(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    users, items = generator.integers(500, size=20_000), generator.integers(300, size=20_000)
    rows = list(zip(users.tolist(), items.tolist(), range(20_000), strict=True))
    log = read_events(write_log(tmp_path / "log.csv", rows))
    generator.shuffle(rows)
    shuffled = read_events(write_log(tmp_path / "shuffled.csv", rows))
    assert taken(log) == taken(shuffled)
    expected: dict[str, list[str]] = {}
    for user, item, _ in sorted(rows, key=lambda row: row[2]):
        expected.setdefault(str(user), []).append(str(item))
    assert taken(log) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no events"),
        ("user,item,time\n", "no events"),
        ("user,thing,time\na,b,1\n", "1: no field 'item'; there are user, thing, time"),
        ("user,item,time\na,b\n", "2: 2 columns, and the first line has 3"),
        ("user,item,time\na,,1\n", "2: the item is empty"),
        ("user,item,time\na,b,\n", "2: the time is ''"),
        ("user,item,time\na,b,soon\n", "2: the time is 'soon'; give a number or ISO 8601"),
        ("user,item,time\na,b,nan\n", "2: the time is 'nan'"),
        ("user,item,time\na,b,1\na,c,2026-01-01\n", "3: the time is a date, and a number before"),
        (f"user,item,time\n{'x' * 600},b,1\n", "2: the user has 600 characters"),
        ('user,item,time\n"a\nb",c,1\n', "3: the user 'a\\\\nb' holds the control character"),
    ],
)
def test_what_is_wrong_in_a_table_is_said(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(text, "utf-8")
    with pytest.raises(CorpusError, match=message):
        read_events(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "2: not JSON"),
        ("[1]", "2: not an object"),
        ('{"user": "a", "item": "b"}', "2: no 'time'"),
        ('{"user": null, "item": "b", "time": 1}', "2: no 'user'"),
        ('{"user": 1.5, "item": "b", "time": 1}', "2: the user is 1.5; give a text or a whole"),
        ('{"user": true, "item": "b", "time": 1}', "2: the user is True"),
        ('{"user": ["a"], "item": "b", "time": 1}', "2: the user is \\['a'\\]"),
        ('{"user": "a", "item": "b", "time": [1]}', "2: the time is \\[1\\]"),
        ('{"user": "a", "item": "b", "time": 1e999}', "2: the time is inf"),
        ('{"user": "a\\u0000", "item": "b", "time": 1}', "2: the user holds a NUL"),
    ],
)
def test_what_is_wrong_in_json_lines_is_said(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(
        json.dumps({"user": "a", "item": 3, "time": 1}) + f"\n{line}\n", "utf-8"
    )
    with pytest.raises(CorpusError, match=message):
        read_events(tmp_path / "log.jsonl")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("user,item,time\na,b,1\n")
    with pytest.raises(CorpusError, match=r"an event log is .jsonl, .csv or .tsv"):
        read_events(tmp_path / "log.txt")
    with pytest.raises(CorpusError, match="cannot be read as text"):
        read_events(tmp_path / "gone.csv")
    (tmp_path / "bytes.csv").write_bytes(b"user,item,time\n\xff\xfe,b,1\n")
    with pytest.raises(CorpusError, match="cannot be read as text"):
        read_events(tmp_path / "bytes.csv")
    with pytest.raises(CorpusError, match="no field 'who' \\(--user-field\\)"):
        read_events(write_log(tmp_path / "log.csv", [("a", "b", 1)]), EventFields(user="who"))
