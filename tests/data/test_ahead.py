"""Ahead: the same as map, in order, never more than `most` in store, and no thread left behind."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pairloom.data.ahead import ahead
from pairloom.data.pixels import Unreadable, open_image
from pairloom.data.transform import Transform


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 20), workers=st.integers(1, 3), most=st.integers(1, 5))
def test_ahead_is_map(count, workers, most):
    assert list(ahead(lambda number: number**2, range(count), workers, most)) == [n**2 for n in range(count)]


def test_no_more_is_taken_than_may_be_in_store():
    taken: list[int] = []
    items = (taken.append(number) or number for number in range(100))
    made = ahead(lambda number: number, items, 2, 4)
    assert [next(made) for _ in range(3)] == [0, 1, 2] and len(taken) == 4 + 3
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pairloom-ahead")]


def test_what_is_raised_is_raised_in_its_turn():
    made = ahead(lambda number: 1 // number, [1, 2, 0, 4], 2, 2)
    assert [next(made), next(made)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        next(made)


def jpeg(width: int, height: int) -> bytes:
    """A smooth picture: scaled decoding changes fine detail, which no view at that size shows."""
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 4, height))
    pixels = np.stack([127 + 120 * np.sin(x + shift) * np.cos(y) for shift in (0, 1, 2)], -1)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.mark.parametrize("fit", ["square", "crop"])
@pytest.mark.parametrize("size", [(640, 480), (300, 900), (50, 70)])
def test_a_picture_read_at_once_is_the_picture(fit, size):
    """Exact to the last value; scaled within a few of 255; and to_uint8 leaves it alone."""
    view, data = Transform(64, fit=fit), jpeg(*size)
    expected = view.to_uint8(open_image(data))
    assert np.array_equal(view.to_uint8(view.read(data)), expected)
    scaled = view.to_uint8(view.read(data, scaled=True))
    assert np.abs(scaled.astype(int) - expected).max() <= 6
    assert np.array_equal(scaled, expected) == (min(size) < 256)  # half of it would be less than twice 64
    with pytest.raises(Unreadable):
        view.read(data[:100])
