import cv2
import numpy as np
import pytest
from footage import analysed, segment

from data_prep.masking import verdict
from data_prep.text.tickers import Ticker, TickerFinder

WORDS = "Markets fall for a third day as talks go on - Rain in the north - Ships leave the harbour - " * 2


def scene(number, speed):
    """A frame of a soft texture that drifts by `speed` pixels per frame."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 300), dtype=np.uint8)
    wide = cv2.resize(noise, (3600, 360), interpolation=cv2.INTER_CUBIC) // 2 + 40
    return wide[:, round(speed * number) : round(speed * number) + 640].copy()


def run(speed, ticker, dark=False):
    """The tickers that are found in a scene with text that scrolls by `ticker` pixels per frame, or without text."""
    finder, before = TickerFinder(), None
    for number in range(100):
        image = scene(number, speed)
        if ticker is not None:
            image[320:350] = 220 if dark else 30
            at = (20 - round(ticker * number), 342)
            cv2.putText(image, WORDS, at, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 10 if dark else 240, 2, cv2.LINE_AA)
        if number % 12 == 1:
            finder.feed(number, image, before)
        before = image
    return finder.tickers()


@pytest.mark.parametrize("speed", [0, 1.5, 4])
@pytest.mark.parametrize("dark", [False, True])
def test_writing_that_runs_across_the_picture_is_reported(speed, dark):
    (found,) = run(speed, 2.0 if speed != 1.5 else 5.0, dark)
    assert found.start < 30 and found.end > 80
    assert 315 <= found.top <= 335 and 335 <= found.bottom <= 355


@pytest.mark.parametrize("speed", [0, 2, 6])
def test_a_drifting_scene_and_writing_that_stands_are_no_tickers(speed):
    assert run(speed, None) == []
    assert run(speed, 0) == []


def test_a_ticker_is_never_a_silent_clean():
    found = analysed(100, segments=(segment(0, 100, moving=True),), tickers=(Ticker(20, 80, 300, 330),))
    assert verdict(found, False, (0, 100), False)[0] == "uncertain"
    assert verdict(found, False, (80, 100), False)[0] == "clean"
