"""When a figure counts as flat."""

import os

import pytest

from tests.soak import samples


def series(*values: float) -> list[dict[tuple[str, str], float]]:
    """Samples of one figure; the first of four quarters is the warm-up."""
    return [{("runner", "files"): value} for value in values]


@pytest.mark.parametrize(
    ("values", "flat"),
    [
        ([5, 50, 90, 100] + [100] * 12, True),  # the warm-up does not count
        ([100] * 4 + [100, 90, 110, 100] * 3, True),
        ([100] * 4 + [100] * 11 + [500], True),  # one sample does not decide
        ([100] * 4 + [100] * 8 + [110] * 4, True),  # a tenth
        ([100] * 4 + [100] * 8 + [111] * 4, False),
        ([100 + 2 * i for i in range(16)], False),  # a leak
        ([4] * 4 + [4] * 8 + [8] * 4, True),  # a few more of little
        ([4] * 4 + [4] * 8 + [9] * 4, False),
    ],
)
def test_flat_is_by_the_medians_of_the_first_and_the_last_quarter(values: list[float], flat: bool) -> None:
    (figure,) = samples.figures(series(*values))
    assert figure.flat is flat
    assert figure.row()["verdict"] == ("flat" if flat else "GROWS")


def test_memory_that_is_shared_or_bounded_otherwise_is_shown_and_not_judged() -> None:
    figure = samples.Figure("PostgreSQL", "RSS MiB", 10, 100, 100)
    assert not figure.judged
    assert figure.row()["verdict"] == "not judged"


def test_a_sample_averages_over_the_processes_that_live() -> None:
    gone = 2**22 + 1  # beyond the largest process id of Linux
    found = samples.sample({"this": [os.getpid(), gone], "none": [gone]})
    assert found["this", "processes"] == 1
    assert found["this", "files"] >= 3
    assert found["this", "RSS MiB"] >= found["this", "own MiB"] > 1
    assert found["none", "processes"] == 0
