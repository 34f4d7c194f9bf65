import itertools
from collections import defaultdict

import cv2
import numpy as np
import pytest

from data_prep.measure import fingerprint
from data_prep.measure.fingerprint import Fingerprint, near_twins


def alike(one, other):
    """Whether two videos with these hashes look the same, compared one by one."""
    one, other = sorted((one, other), key=len)
    if len(one) > 32 and len(other) > 1.5 * len(one):
        other = other[::2]
    if not one or abs(len(one) - len(other)) > 1 + 0.02 * len(one):
        return False
    differ = [(int(a, 16) ^ int(b, 16)).bit_count() for a, b in zip(one, other, strict=False)]
    return sum(differ) <= 6 * len(differ)


def twins(found):
    """What the search finds."""
    names = list(found)
    twins = near_twins([(seconds, bytes.fromhex("".join(hashes))) for seconds, hashes in found.values()])
    return {names[later]: names[earlier] for later, earlier in twins.items()}


def hashes(first, last):
    """Hashes of unrelated pictures."""
    made = Fingerprint()
    for seed in range(first, last):
        coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
        made.feed(cv2.resize(coarse, (64, 64)))
    return made.hashes


@pytest.mark.parametrize(("one", "other"), [(63, 64), (64, 65), (65, 64), (65, 66), (128, 129), (129, 128)])
def test_videos_whose_lengths_differ_by_a_second_are_alike(one, other):
    films = {"one": (float(one), hashes(0, one)), "other": (float(other), hashes(0, other))}
    assert twins(films) == {"other": "one"}
    assert twins(films | {"other": (float(other), hashes(500, 500 + other))}) == {}


def test_a_video_and_its_first_half_are_not_alike():
    for whole, half in ((40, 20), (60, 34)):
        # Of the same duration, so that the hashes alone tell.
        assert twins({"whole": (60.0, hashes(0, whole)), "half": (60.0, hashes(0, half))}) == {}


def changed(hashes, bits, rng):
    """The hashes with so many bits of each flipped."""
    masks = (sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False)) for _ in hashes)
    return [f"{int(one, 16) ^ mask:016x}" for one, mask in zip(hashes, masks, strict=True)]


def compared_all(found):
    """The look-alikes by comparing each video with all before it."""
    said = {}
    for place, (name, (seconds, hashes)) in enumerate(found.items()):
        for earlier in list(found)[:place]:
            close = abs(found[earlier][0] - seconds) <= max(1.0, 0.02 * seconds)
            if earlier not in said and close and alike(found[earlier][1], hashes):
                said[name] = earlier
                break
    return said


def library(rng, count):
    """Videos of many lengths, the same intro in half of them, and copies of some."""
    intro = [f"{int(v):016x}" for v in rng.integers(0, 2**63, 4)]
    found = {}
    for number in range(count):
        length = int(rng.choice([3, 10, 10, 10, 33, 64]))
        hashes = [f"{int(v):016x}" for v in rng.integers(0, 2**63, length)]
        if number % 2:
            hashes[:4] = intro[:length]
        found[f"film{number:05}"] = (float(length), hashes)
        if number % 5 == 0:
            for copy in range(int(rng.integers(1, 4))):
                found[f"film{number:05}, copy {copy}"] = (float(length), changed(hashes, int(rng.integers(0, 5)), rng))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_what_comparing_all_finds(seed):
    found = library(np.random.default_rng(seed), 120)
    wanted, known = compared_all(found), twins(found)
    assert len(wanted) > 20 and known.items() <= wanted.items()
    # Of a few seconds' hashes, many bits of which differ, no part may be the same.
    missed = wanted.keys() - known.keys()
    assert len(missed) <= 0.1 * len(wanted) and all(len(found[name][1]) < 10 for name in missed)


def searched_one_by_one(found):
    """The look-alikes among videos of about the same number of hashes that have a part of a hash in common.

    Each is compared with the first few of those before it.
    """
    groups, said = defaultdict(list), {}
    for name, (seconds, hashes) in found.items():
        others = set()
        for read in (hashes, hashes[::2]) if len(hashes) > 32 else (hashes,):
            sizes = fingerprint._sizes(np.array([len(read)]))[0].tolist()
            places = [place for place in fingerprint._PLACES if place < len(read)]
            for size, place, shift in itertools.product(sizes, places, (0, 21, 42)):
                before = groups[size, place, shift, int(read[place], 16) >> shift & (2**21 - 1)]
                others |= set(before[:4])
                before.append(name)
        close = [o for o in others - {name} if abs(found[o][0] - seconds) <= max(1.0, 0.02 * seconds)]
        same = [other for other in close if other not in said and alike(found[other][1], hashes)]
        if same:
            said[name] = min(same, key=list(found).index)
    return said


@pytest.mark.parametrize("together", [1, 300, 50_000])
@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_what_searching_one_by_one_finds(seed, together, monkeypatch):
    monkeypatch.setattr(fingerprint, "_TOGETHER", together)
    found = library(np.random.default_rng(seed), 120)
    assert twins(found) == searched_one_by_one(found)


def test_a_video_of_twice_the_stride_is_found_among_others():
    found = {"a": (64.0, hashes(0, 64)), "b": (65.0, hashes(0, 65)), "c": (64.0, hashes(500, 564))}
    assert twins(found) == {"b": "a"}
    assert twins(dict(reversed(found.items()))) == {"a": "b"}


def test_few_pairs_are_compared_however_many_videos_there_are(monkeypatch):
    calls = []
    real = fingerprint.alike
    monkeypatch.setattr(fingerprint, "alike", lambda prints, pairs: calls.append(len(pairs)) or real(prints, pairs))
    for count in (200, 800):
        calls.clear()
        twins(library(np.random.default_rng(1), count))
        assert 0 < sum(calls) < 10 * count
    assert twins({}) == {} and twins({"a": (1.0, [])}) == {}
