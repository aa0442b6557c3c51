"""Watch progress against a model in plain Python: sets of tenths of a second."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.clients import Company, Person, add_member, expect, found_company
from tests.service import Services

pytestmark = pytest.mark.usefixtures("environment")

FILM = 100  # seconds
NOW_AND_THEN = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
TENTHS = st.integers(0, 10 * FILM + 50)
INTERVAL = st.tuples(TENTHS, TENTHS).map(lambda pair: (min(pair), max(pair)))
SHORT = st.tuples(TENTHS, st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))
REPORTS = st.lists(st.lists(INTERVAL, max_size=6), min_size=1, max_size=6)
type Tenths = Sequence[tuple[int, int]]


class Theatre:
    """A company whose members watch, and a connection of one's own to look at the database by."""

    def __init__(self, company: Company, own: "psycopg.Connection[Any]") -> None:
        self.company, self.own = company, own

    def film(self, duration: float | None = FILM) -> int:
        video = self.company.video()
        self.own.execute("UPDATE video SET duration = %s WHERE seq = %s", (duration, video))
        return video

    def moment(self, video: int, who: Person) -> datetime:
        row = self.own.execute(
            "SELECT reported_at FROM video_progress WHERE video_id = %s AND user_id = %s", (video, who.id)
        ).fetchone()
        assert row is not None
        moment: datetime = row[0]
        return moment

    def wait(self, video: int, seconds: int) -> None:
        """As if the last reports had come so much earlier."""
        self.own.execute(
            "UPDATE video_progress SET reported_at = reported_at - make_interval(secs => %s) WHERE video_id = %s",
            (seconds, video),
        )


@pytest.fixture(scope="module")
def theatre(http: httpx.Client, services: Services) -> Iterator[Theatre]:
    with psycopg.connect(services.database.url, autocommit=True) as own:
        yield Theatre(found_company(http), own)


def send(who: Person, video: int, tenths: Tenths, position: float = 0) -> dict[str, Any]:
    body = {"position": position, "watched": [[start / 10, end / 10] for start, end in tenths]}
    answer: dict[str, Any] = expect(who.call("PUT", f"/v1/videos/{video}/progress", body), 200)
    assert expect(who.get(f"/v1/videos/{video}/progress"), 200) == answer
    return answer


def cells(tenths: Tenths) -> set[int]:
    return {cell for start, end in tenths for cell in range(start, min(end, 10 * FILM))}


@NOW_AND_THEN
@given(reports=st.lists(st.lists(SHORT, max_size=3), min_size=1, max_size=5), data=st.data())
def test_any_order_and_overlap_of_reports_gives_the_same_seconds(
    theatre: Theatre, reports: list[list[tuple[int, int]]], data: st.DataObject
) -> None:
    first, second = theatre.film(), theatre.film()
    again = data.draw(st.permutations([*reports, reports[0]]))
    for video, sent in ((first, reports), (second, again)):
        for report in sent:
            send(theatre.company.guest, video, report)
            theatre.wait(video, 3600)
    watched = [send(theatre.company.guest, video, [])["watched_seconds"] for video in (first, second)]
    assert watched == [len(cells([pair for report in reports for pair in report])) / 10] * 2


@NOW_AND_THEN
@given(reports=REPORTS, pauses=st.lists(st.integers(0, 60), min_size=6, max_size=6))
def test_what_counts_is_the_first_of_what_is_new_and_the_time_allows(
    theatre: Theatre, reports: list[list[tuple[int, int]]], pauses: list[int]
) -> None:
    video, who = theatre.film(), theatre.company.guest
    watched: set[int] = set()
    completed, seconds = None, Decimal(0)
    for number, (report, pause) in enumerate(zip(reports, pauses, strict=False)):
        allowed = Decimal(30)
        if number:
            theatre.wait(video, pause)
            before = theatre.moment(video, who)
        answer = send(who, video, report)
        if number:
            passed = theatre.moment(video, who) - before
            allowed += round(Decimal("2.5") * Decimal(passed.total_seconds()), 3)
        new = sorted(cells(report) - watched)
        added = Decimal(str(answer["watched_seconds"])) - seconds
        # The last tenth may be kept in part: the model goes on in whole tenths where all was kept.
        assert abs(added - min(allowed, Decimal(len(new)) / 10)) <= Decimal("0.001")
        seconds += added
        if added < Decimal(len(new)) / 10:
            break
        watched |= set(new)
        assert completed is None or answer["completed_at"] == completed
        completed = answer["completed_at"]
        assert (completed is not None) == (len(watched) >= 9 * FILM)


def test_of_too_much_the_start_of_the_film_is_kept(theatre: Theatre) -> None:
    video = theatre.film()
    send(theatre.company.guest, video, [(500, 700), (0, 100), (50, 250)])
    row = theatre.own.execute("SELECT watched::text FROM video_progress WHERE video_id = %s", (video,)).fetchone()
    assert row == ("{[0.000,25.000),[50.000,55.000)}",)


def test_a_film_that_is_watched_as_it_plays_is_completed_once_and_for_good(theatre: Theatre) -> None:
    video, who = theatre.film(), theatre.company.guest
    for start in range(0, 90, 10):
        answer = send(who, video, [(10 * start, 10 * start + 100)], start + 10)
        assert (answer["completed_at"] is not None) == (start == 80)
        theatre.wait(video, 10)
    theatre.own.execute("UPDATE video SET duration = 1000 WHERE seq = %s", (video,))  # another file
    again = send(who, video, [], 1)
    assert again == {**answer, "position": 1, "duration": 1000}
    seen = expect(who.get(f"/v1/videos/id/{video}"), 200)
    assert (seen["position"], seen["completed"], seen["viewed"]) == (1, True, False)


def test_seeking_to_the_end_is_not_watching(theatre: Theatre) -> None:
    video = theatre.film()
    answer = send(theatre.company.guest, video, [(0, 10), (990, 1000)], 100)
    assert (answer["position"], answer["watched_seconds"], answer["completed_at"]) == (100, 2, None)


def test_a_film_of_unknown_duration_is_resumed_and_not_completed(theatre: Theatre) -> None:
    video, who = theatre.film(None), theatre.company.guest
    answer = send(who, video, [(0, 300)], 5000)
    assert answer == {"position": 5000, "watched_seconds": 30, "duration": None, "completed_at": None}
    theatre.own.execute("UPDATE video SET duration = 20 WHERE seq = %s", (video,))
    answer = send(who, video, [])  # what lay beyond the film's end is no part of it
    assert (answer["watched_seconds"], answer["completed_at"] is not None) == (20, True)


def test_a_shorter_film_in_its_place_takes_nothing_back_and_nobody_is_beyond_its_end(theatre: Theatre) -> None:
    video, who = theatre.film(), theatre.company.guest
    send(who, video, [(0, 10), (250, 270), (800, 1000)], 90)
    theatre.wait(video, 3600)

    def hours() -> Decimal:
        row = theatre.own.execute("SELECT sum(seconds) FROM activity WHERE video_id = %s", (video,)).fetchone()
        assert row is not None
        return Decimal(row[0])

    assert hours() == 23
    theatre.own.execute("UPDATE video SET duration = 26 WHERE seq = %s", (video,))
    found = expect(who.get(f"/v1/videos/{video}/progress"), 200)
    assert found == {"position": 26, "watched_seconds": 2, "duration": 26, "completed_at": None}
    for path in (f"/v1/videos/id/{video}", "/v1/videos?limit=1"):
        seen = expect(who.get(path), 200)
        seen = seen["items"][0] if "items" in seen else seen
        assert (seen["id"], seen["position"], seen["duration"]) == (video, 26, 26)
    assert send(who, video, [], 26) == found
    assert hours() == 23  # and no day's report has hours below none
    assert send(who, video, [(0, 200)], 20)["watched_seconds"] == 21
    theatre.own.execute("UPDATE video SET duration = 100 WHERE seq = %s", (video,))  # and the longer one again
    assert send(who, video, [], 20)["watched_seconds"] == 42


@pytest.mark.parametrize("duration", [0, 0.0004])
def test_a_film_without_a_length_is_not_completed(theatre: Theatre, duration: float) -> None:
    video = theatre.film(duration)
    answer = send(theatre.company.guest, video, [(0, 10)], 1)
    assert answer == {"position": 1, "watched_seconds": 1, "duration": None, "completed_at": None}
    seen = expect(theatre.company.guest.get(f"/v1/videos/id/{video}"), 200)
    assert (seen["position"], seen["completed"]) == (1, False)


@pytest.mark.parametrize(("tenths", "completed"), [(899, False), (900, True)])
def test_a_film_is_completed_at_90_percent_and_not_before(theatre: Theatre, tenths: int, completed: bool) -> None:
    video, who = theatre.film(), theatre.company.guest
    send(who, video, [])
    theatre.wait(video, 3600)
    assert (send(who, video, [(1000 - tenths, 1000)])["completed_at"] is not None) == completed


def test_slivers_do_not_pile_up_and_whoever_sees_the_film_completes_it(theatre: Theatre) -> None:
    video, who = theatre.film(), theatre.company.guest
    seconds = 0.0
    for offset in range(5):
        slivers = [[2 * i / 3 + offset / 10, 2 * i / 3 + offset / 10 + 0.05] for i in range(100)]
        body = {"position": 0, "watched": slivers}
        answer = expect(who.call("PUT", f"/v1/videos/{video}/progress", body), 200)
        assert answer["watched_seconds"] >= seconds
        seconds = answer["watched_seconds"]
    assert theatre.own.execute(
        "SELECT count(*) FROM video_progress p, unnest(p.watched) WHERE p.video_id = %s", (video,)
    ).fetchone() == (200,)
    theatre.wait(video, 60)
    assert send(who, video, [(0, 1000)])["watched_seconds"] == FILM


@pytest.mark.parametrize("mark", ["viewed", "position", "completed"])
def test_the_marks_are_the_callers_own(theatre: Theatre, mark: str) -> None:
    video, other = theatre.film(10), add_member(theatre.company.admin)
    expect(other.call("POST", "/v1/view-logs", {"video_id": video}), 201)
    send(other, video, [(0, 100)], 7)
    for path in (f"/v1/videos/id/{video}", "/v1/videos?limit=1", f"/v1/videos/{theatre.company.id}?limit=1"):
        for who, expected in ((other, {"viewed": True, "position": 7, "completed": True}), (theatre.company.guest, {})):
            seen = expect(who.get(path), 200)
            found = seen["items"][0] if "items" in seen else seen
            assert found["id"] == video
            assert found[mark] == expected.get(mark, 0)
