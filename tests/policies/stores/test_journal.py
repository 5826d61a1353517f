"""What a journal gives back of what it was given, whole or damaged."""

import errno
import os

import pytest

from policies.stores.journal import Disk, Journal, Reader, remove_all, remove_applied, segments


def read(folder, after=0):
    reader = Reader(folder, "test", after)
    records = []
    while some := reader.read():
        records += [record["n"] for record in some]
    return records, reader.damaged


def written(folder, count, **options):
    journal = Journal(folder, "test", 0, **options)
    for number in range(1, count + 1):
        assert journal.append({"n": number})
    return journal


def test_records_come_back_in_order_across_files(tmp_path):
    journal = written(tmp_path, 50, segment_bytes=200)
    assert len(segments(tmp_path, "test")) > 3
    assert read(tmp_path) == (list(range(1, 51)), 0)
    assert read(tmp_path, after=48) == ([49, 50], 0)
    journal.close()


def test_a_reader_follows_a_writer(tmp_path):
    journal, reader = Journal(tmp_path, "test", 0, segment_bytes=100), Reader(tmp_path, "test", 0)
    assert reader.read() == []
    for number in range(20):
        journal.append({"n": number})
        assert reader.read() == [{"n": number}]
        assert reader.last == journal.last
    journal.close()


@pytest.mark.parametrize("kept", [0, 1, 8, 15, -1])
def test_a_record_that_was_cut_short_was_never_written(tmp_path, kept):
    journal = written(tmp_path, 2)
    journal.close()
    (path,) = segments(tmp_path, "test")
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: len(whole) - len(last)] + last[:kept])
    assert read(tmp_path)[0] == [1]


def test_a_damaged_record_is_left_out_and_counted(tmp_path):
    written(tmp_path, 3).close()
    (path,) = segments(tmp_path, "test")
    path.write_bytes(path.read_bytes().replace(b'{"n":2}', b'{"n":7}'))
    assert read(tmp_path) == ([1, 3], 1)


class FullDisk(Disk):
    """Takes `room` more bytes."""

    def __init__(self):
        self.room = 10**9

    def write(self, descriptor, data):
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 5, 20, 1000])
def test_what_a_full_disk_did_not_take_is_written_later_once_and_in_order(tmp_path, room):
    disk = FullDisk()
    journal = Journal(tmp_path, "test", 0, disk=disk, segment_bytes=150)
    journal.append({"n": 1})
    disk.room = room
    fitted = [journal.append({"n": number}) for number in range(2, 10)]
    assert (False in fitted) is (room < 1000)
    assert (journal.problem is not None) is (room < 1000)
    disk.room = 10**9
    journal.append({"n": 10})
    assert journal.problem is None
    assert read(tmp_path)[0] == list(range(1, 11))
    journal.close()


def test_a_disk_that_cannot_sync_is_told_until_it_can(tmp_path):
    class Stubborn(Disk):
        is_broken = True

        def sync(self, descriptor):
            if self.is_broken:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync(descriptor)

    disk = Stubborn()
    journal = written(tmp_path, 1, disk=disk)
    journal.sync()
    assert "cannot be synced" in journal.problem
    disk.is_broken = False
    journal.sync()
    assert journal.problem is None
    journal.close()


def test_only_files_that_are_applied_are_deleted(tmp_path):
    journal = written(tmp_path, 30, segment_bytes=200)
    assert not remove_applied(tmp_path, "test", 12, Disk())
    left, _ = read(tmp_path)
    assert left[0] <= 13
    assert left[-1] == 30
    assert remove_applied(tmp_path, "test", 30, Disk())
    assert len(segments(tmp_path, "test")) == 1
    journal.close()
    remove_all(tmp_path, "test", Disk())
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_continues_a_damaged_one(tmp_path):
    written(tmp_path, 1).close()
    (path,) = segments(tmp_path, "test")
    path.write_bytes(path.read_bytes()[:-4])
    journal = Journal(tmp_path, "test", 0)
    journal.append({"n": 5})
    assert read(tmp_path) == ([5], 0)
    journal.close()


def test_what_is_in_the_file_is_handed_out_from_memory_once(tmp_path):
    journal = Journal(tmp_path, "test", 7, kept=10)
    assert journal.recent(7) == [], "nothing was written"
    for number in range(8, 12):
        journal.append({"n": number})
    assert journal.recent(8) == [{"n": 9}, {"n": 10}, {"n": 11}]
    assert journal.recent(8) is None, "the file has them"
    journal.append({"n": 12})
    assert journal.recent(8) is None, "there is a gap"
    journal.append({"n": 13})
    assert journal.recent(12) == [{"n": 13}]
    journal.close()


def test_what_is_too_much_for_memory_is_read_from_the_file(tmp_path):
    journal = Journal(tmp_path, "test", 0, kept=3)
    for number in range(1, 6):
        journal.append({"n": number})
    assert journal.recent(0) is None
    assert journal.recent(5) == []
    assert read(tmp_path)[0] == [1, 2, 3, 4, 5]
    journal.close()


def test_memory_hands_out_only_what_the_disk_took(tmp_path):
    disk = FullDisk()
    journal = Journal(tmp_path, "test", 0, disk=disk, kept=10)
    journal.append({"n": 1})
    disk.room = 0
    journal.append({"n": 2})
    assert journal.recent(0) == [{"n": 1}]
    disk.room = 10**9
    journal.append({"n": 3})
    assert journal.recent(1) is None, "the one that waited is in the file, and in nothing else"
    assert read(tmp_path)[0] == [1, 2, 3]
    journal.close()


def test_a_number_beyond_all_stores_is_in_memory_as_in_the_file(tmp_path):
    journal = Journal(tmp_path, "test", 0, kept=1)
    journal.append({"n": 2**70})
    assert journal.recent(0) == [{"n": 2**53 - 1}]
    assert read(tmp_path)[0] == [2**53 - 1]
    journal.close()
