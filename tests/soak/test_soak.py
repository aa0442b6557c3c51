"""Twenty seconds of `make soak`. What its processes hold is judged only over minutes."""

from pathlib import Path

import pytest

from tests.soak.__main__ import soak


@pytest.mark.deep
def test_a_mixed_load_gets_the_answers_and_the_points_of_the_contract(tmp_path: Path) -> None:
    outcome = soak(20, tmp_path / "local")
    assert (outcome.record.failures, outcome.broken) == ([], [])
    assert len(outcome.record.done) == 14  # each kind of action was done
    assert {one.group for one in outcome.figures} == {"runner", "workers", "PostgreSQL", "S3"}
