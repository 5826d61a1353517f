"""The page of several workers, read while one of them is just starting."""

import threading
import time

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from gateway.supervisor import METRICS_DIR, metrics_renderer


def _fill(path, value):
    values = MmapedDict(str(path))
    values.write_value(mmap_key("done_total", "done_total", [], [], "Done."), value, 0.0)
    values.close()


def test_a_file_that_is_only_just_made_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv(METRICS_DIR, str(tmp_path))
    render = metrics_renderer()
    _fill(tmp_path / "counter_1.db", 3.0)
    assert b"done_total 3.0" in render()
    begun = tmp_path / "counter_2.db"
    begun.write_bytes(b"")
    with pytest.raises(Exception, match="unpack"):  # it stays empty: something else is wrong
        render()

    def fill():
        time.sleep(0.03)
        _fill(begun, 4.0)

    writer = threading.Thread(target=fill)
    writer.start()
    page = render()
    writer.join()
    assert b"done_total 7.0" in page
