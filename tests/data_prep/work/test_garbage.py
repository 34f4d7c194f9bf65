import gc

import pytest

from data_prep.work.garbage import no_full_collections


def full_collections(make):
    """How often old objects are searched while `make` runs."""
    before = gc.get_stats()[-1]["collections"]
    kept = make()
    assert kept
    return gc.get_stats()[-1]["collections"] - before


def many():
    return [[number] for number in range(1_000_000)]


def circles():
    """Garbage that only a search finds."""
    for _ in range(10_000):
        one = []
        one.append(one)
    return True


def test_old_objects_are_left_alone_and_new_garbage_is_found():
    gc.collect()
    assert full_collections(many) > 0
    before = gc.get_threshold()
    with pytest.raises(KeyError), no_full_collections():
        assert full_collections(many) == 0
        found = sum(one["collected"] for one in gc.get_stats())
        circles()
        assert sum(one["collected"] for one in gc.get_stats()) - found > 5000
        raise KeyError
    assert gc.get_threshold() == before
