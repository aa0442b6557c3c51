"""The arithmetic of the benchmark's report."""

import math

import pytest

from tests.bench.figures import Cell, Sample, paired_ratio, percentile, spread, table
from tests.bench.service import handler_times, reports


@pytest.mark.parametrize(("percent", "value"), [(50, 2.0), (99, 4.0), (25, 1.0), (26, 2.0), (100, 4.0)])
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == value


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 50))


def test_the_spread_is_the_range_over_the_median() -> None:
    assert spread([90.0, 100.0, 120.0]) == pytest.approx(0.3)


def test_a_ratio_is_the_median_of_neighbouring_runs() -> None:
    assert paired_ratio([50.0, 10.0, 90.0], [100.0, 10.0, 100.0]) == pytest.approx(0.9)


def test_rates_cpu_and_failures_of_a_cell() -> None:
    good = Sample(2.0, 100, 4_000_000, [1.0], [0.5], {200: 100}, cpu={"runner": 0.03})
    bad = Sample(1.0, 60, 0, [2.0], [], {200: 50, 502: 10}, broken=2, cpu={"runner": 0.02, "S3": 0.01})
    cell = Cell([good, bad])
    assert cell.rates == [50.0, 60.0]
    assert cell.speeds == [2.0, 0.0]
    assert cell.failures == 12
    assert cell.cpu_microseconds(100) == pytest.approx({"runner": 500.0, "S3": 100.0})


def test_a_table_leaves_out_what_no_row_has() -> None:
    text = table([{"work": "get", "goal": "", "met": "yes"}, {"work": "list", "met": ""}])
    assert text == "| work | met |\n| ---- | --- |\n| get  | yes |\n| list |     |"


def test_durations_and_init_durations_come_from_the_functions_report_lines() -> None:
    report = (
        "REPORT RequestId: 1\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: 512 MB\tMax Memory Used: 50 MB\t"
    )
    lines = [
        f"{report}Init Duration: 250.25 ms\tFunction: VideosFunction",
        f"{report}Function: VideosFunction",
        f"{report}Function: AuthFunction",
        "a line of a function",
    ]
    assert reports(lines, "VideosFunction") == ([1.5, 1.5], [250.25])


def test_handler_times_come_from_the_latency_metric_of_the_route() -> None:
    lines = ['{"_aws":{},"route":"GET /v1/videos","Latency":[0.25]}', '{"route":"GET /v1/users","Latency":[9.0]}', "{"]
    assert handler_times(lines, "GET /v1/videos") == [0.25]
