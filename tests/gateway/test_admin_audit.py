"""The audit log by itself: pages, several writers, what strangers can do to it."""

import asyncio

import pytest

from gateway.admin.audit import FILE, Actor, AuditLog

NOW_S = 1_800_000_000.0
ADA = Actor("ada", "admin", "create_key", "10.0.0.7")
NOBODY = Actor("", None, "create_key", "10.0.0.8")


class Clock:
    def __init__(self):
        self.now_s = NOW_S

    def __call__(self):
        return self.now_s


def run(work):
    return asyncio.run(work)


@pytest.fixture(params=["file", "memory"])
def folder(request, tmp_path):
    return tmp_path / "state" if request.param == "file" else None


async def pages(log, limit):
    page = await log.page(limit)
    found = [[entry["target"] for entry in page.entries]]
    while page.next is not None:
        page = await log.page(limit, page.next)
        found.append([entry["target"] for entry in page.entries])
    return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_go_back_in_time_and_have_everything_once(folder, limit):
    async def work():
        log = AuditLog(folder, None, Clock())
        for number in range(21):
            await log.note(ADA, str(number), after={"padding": "x" * 9_000})
        found = await pages(log, limit)
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert [target for page in found for target in page] == [str(number) for number in reversed(range(21))]

    run(work())


def test_a_page_stays_the_same_while_entries_are_added(folder):
    async def work():
        log = AuditLog(folder, None, Clock())
        for number in range(6):
            await log.note(ADA, str(number))
        first = await log.page(3)
        await log.note(ADA, "later")
        second = await log.page(3, first.next)
        assert [entry["target"] for entry in second.entries] == ["2", "1", "0"]

    run(work())


def test_an_empty_log_has_an_empty_page(folder):
    page = run(AuditLog(folder, None, Clock()).page(10))
    assert (page.entries, page.next) == ([], None)


def test_what_is_too_old_for_memory_is_forgotten_in_order():
    async def work():
        log = AuditLog(None, None, Clock())
        for number in range(1_050):
            await log.note(ADA, str(number))
        found = [target for page in await pages(log, 100) for target in page]
        assert found == [str(number) for number in reversed(range(50, 1_050))]

    run(work())


def test_several_processes_write_whole_lines_into_one_file(tmp_path):
    async def work():
        logs = [AuditLog(tmp_path, None, Clock()) for _ in range(4)]
        await asyncio.gather(*(log.note(ADA, f"{n}", after={"p": "x" * 5_000}) for log in logs for n in range(25)))
        page = await logs[0].page(1_000)
        assert len(page.entries) == 100
        assert not any("unreadable" in entry for entry in page.entries)
        assert ((tmp_path / FILE).stat().st_mode & 0o777) == 0o600

    run(work())


def test_a_line_that_a_crash_cut_off_hides_no_other(tmp_path):
    async def work():
        log = AuditLog(tmp_path, None, Clock())
        await log.note(ADA, "one")
        with (tmp_path / FILE).open("ab") as stream:
            stream.write(b'{"admin": "cut of')
        assert [entry["target"] for entry in (await log.page(10)).entries] == ["one"]
        with (tmp_path / FILE).open("ab") as stream:
            stream.write(b"f\n")
        assert "unreadable" in (await log.page(10)).entries[0]

    run(work())


def test_strangers_cannot_fill_the_disk(folder):
    async def work():
        clock = Clock()
        log = AuditLog(folder, None, clock)
        for _ in range(500):
            await log.refused(NOBODY, "admin_access_denied")
        assert len((await log.page(1_000)).entries) == 60
        await log.refused(ADA, "role_not_sufficient")
        newest = (await log.page(1)).entries[0]
        assert (newest["admin"], newest["left_out"]) == ("ada", 440)
        clock.now_s += 2
        for _ in range(10):
            await log.refused(NOBODY, "admin_access_denied")
        assert len((await log.page(1_000)).entries) == 63

    run(work())


def test_without_anybody_to_tell_a_disk_that_is_full_is_an_error(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(OSError, match=FILE):
        run(AuditLog(tmp_path, None, Clock()).note(ADA, "one"))
