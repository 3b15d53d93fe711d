"""The bound that the benchmark of colours draws: reached where 4:2:0 loses nothing, and never exceeded by a file."""

import numpy as np
import pytest

from benchmarks.chroma import ACROSS_GREY, bound, interpolating, repeating, written

DECODERS = {
    "repeated": (repeating(32), repeating(32)),
    "interpolated": (interpolating(32, 0.5), interpolating(32, 0.0)),
}


def frame(colours: np.ndarray, seed: int = 3) -> np.ndarray:
    """A frame of random greys with these parts across grey, (2, 32, 32); nothing that a decoder would clip."""
    grey = np.random.default_rng(seed).uniform(100, 150, (32, 32, 1))
    return grey + np.einsum("khw,kc->hwc", colours, ACROSS_GREY)


@pytest.mark.parametrize("decoder", DECODERS)
def test_what_the_decoder_spreads_is_kept_whole(decoder):
    rows, columns = DECODERS[decoder]
    quarter = np.random.default_rng(1).uniform(-40, 40, (2, 16, 16))

    assert bound(frame(rows @ quarter @ columns.T), rows, columns) > 90
    assert bound(frame(np.random.default_rng(2).uniform(-40, 40, (2, 32, 32))), rows, columns) < 30


def test_no_file_exceeds_the_bound_of_the_decoder_that_reads_it():
    pixels = frame(np.random.default_rng(2).uniform(-40, 40, (2, 32, 32))).round().astype(np.uint8)
    most = bound(pixels, *DECODERS["repeated"])

    assert written(pixels, "4:2:0") < most
    assert written(pixels, "4:4:4") > most
