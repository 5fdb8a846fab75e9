"""Threads behind the model and ahead of it: order, errors, and that nobody waits for ever."""

import threading

import pytest

from steplens.batches.background_writer import BackgroundWriter
from steplens.batches.prefetch import Ahead


def test_all_is_written_in_order_by_another_thread():
    seen = []
    with BackgroundWriter(lambda n: seen.append((n, threading.get_ident()))) as writer:
        for number in range(20):
            writer.put(number)
    assert [number for number, _ in seen] == list(range(20))
    assert {thread for _, thread in seen} != {threading.get_ident()}


def test_an_error_of_the_writer_comes_out_in_front_and_nothing_more_is_written():
    """Even while the queue is full."""
    seen = []

    def write(number):
        if number == 3:
            raise OSError("no space left on device")
        seen.append(number)

    def put_all():
        with BackgroundWriter(write) as writer:
            for number in range(10_000):
                writer.put(number)

    with pytest.raises(OSError, match="no space left"):
        put_all()
    assert seen == [0, 1, 2]


def test_an_error_in_the_last_call_comes_out_on_leaving():
    def write(_number):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), BackgroundWriter(write) as writer:
        writer.put(1)


def test_an_error_in_front_drops_what_waits():
    """The main thread's error is the one that is seen."""
    go, seen = threading.Event(), []

    def write(number):
        go.wait(10)
        seen.append(number)

    writer = BackgroundWriter(write, waiting=4)

    def put_and_fail():
        with writer:
            for number in range(4):
                writer.put(number)
            threading.Timer(0.05, go.set).start()
            raise KeyError("in front")

    with pytest.raises(KeyError, match="in front"):
        put_and_fail()
    assert len(seen) <= 1
    assert not writer._thread.is_alive()


def test_items_come_in_order_and_again_for_a_smaller_batch():
    """As when a batch did not fit into memory and comes in two halves; each is loaded once."""
    loaded = []

    def load(row):
        loaded.append(row)
        return row * 10

    order = [3, 1, 2, 0, 5, 4]
    with Ahead(load, order, ahead=2) as items:
        assert items.take([3, 1, 2, 0]) == [30, 10, 20, 0]
        assert items.take([3, 1]) == [30, 10]
        assert items.take([2, 0]) == [20, 0]
        assert items.take([5, 4]) == [50, 40]
        assert sorted(loaded) == list(range(6))
        assert items.take([3]) == [30]  # gone, and loaded again


def test_no_more_is_loaded_than_asked_for_and_an_error_comes_where_its_row_is():
    loaded = []

    def load(row):
        loaded.append(row)
        if row == 4:
            raise ValueError("damaged file")
        return row

    with Ahead(load, range(100), ahead=3) as items:
        assert items.take([0, 1]) == [0, 1]
        assert items.take([2, 3]) == [2, 3]
        with pytest.raises(ValueError, match="damaged file"):
            items.take([4, 5])
    assert max(loaded) <= 8
