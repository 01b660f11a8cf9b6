from pathlib import Path

import pytest

from config.follow import LogFile, new_lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "web.log"
    file.write_text("before\n")
    return file


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_only_what_is_added_is_shown_once_and_in_whole_lines(path: Path) -> None:
    log = LogFile(path)
    write(path, "one\ntwo, not yet fin")
    assert list(log.new_lines()) == ["one"]
    write(path, "ished\n")
    assert list(log.new_lines()) == ["two, not yet finished"]
    assert list(log.new_lines()) == []
    log.close()


def test_nothing_is_lost_when_the_file_is_rotated(path: Path) -> None:
    log = LogFile(path)
    write(path, "last of the old\n")
    path.rename(path.with_suffix(".1"))
    path.write_text("first of the new\n")
    assert list(log.new_lines()) == ["last of the old", "first of the new"]
    log.close()


def test_a_file_that_comes_later_is_shown_from_its_beginning(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "beat.log")
    assert list(log.new_lines()) == []
    write(tmp_path / "beat.log", "hello\n")
    assert list(new_lines([log], prefixed=True)) == ["beat       | hello"]
    log.close()
