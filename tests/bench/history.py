"""What a report costs with few views and with a million of them, beside a list of videos."""

from itertools import product

from tests.bench.figures import Cell, Sample, number, pair, percentile, spread, table
from tests.bench.scale import DEPTH, invoke
from tests.bench.service import REPEATS, SECONDS, Person, Service, request, running

LESS = 100  # times fewer views, of as many videos
_VIDEOS, _DAYS = 20, 120
MOST = 1.5  # times the cost with few views
PATHS = {
    "list of videos": "/v1/videos?limit=20",
    "report on videos": "/v1/reports/videos?limit=20",
    "report on members": "/v1/reports/members?limit=20",
    "report on views by day": "/v1/reports/views?limit=30",
}


def rows(service: Service) -> list[dict[str, str]]:
    """A row for each report and size of the history, measured in turns."""
    admins = {views: _viewed(service, views) for views in (DEPTH // LESS, DEPTH)}
    while invoke(service, "plan_expiry")["activity_rolled_up"]:
        pass
    service.database.execute("VACUUM ANALYZE")
    samples: dict[tuple[str, int], list[Sample]] = {key: [] for key in product(PATHS, admins)}
    for _, (name, views) in product(range(REPEATS + 1), samples):
        sent = [request("GET", PATHS[name], admins[views].token)]
        samples[name, views].append(service.run(sent, 1, SECONDS / 3))
    cells = {key: Cell(found[1:]) for key, found in samples.items()}  # the first run warms up
    return [_row(name, views, cells) for name, views in samples]


def _row(name: str, views: int, cells: dict[tuple[str, int], Cell]) -> dict[str, str]:
    cell, few, listed = (cells[key] for key in ((name, views), (name, DEPTH // LESS), ("list of videos", views)))
    middle = percentile(cell.latencies, 50)
    ratio = middle / percentile(few.latencies, 50)
    goal = cell is not few and cell is not listed
    return {
        "work": f"{name}, {views:,} views: {number(ratio)} x with {DEPTH // LESS:,}, "
        f"{number(middle / percentile(listed.latencies, 50))} x a list",
        "connections": "1",
        "measured": f"{number(middle)} ms",
        "spread": f"{spread(cell.rates):.0%}",
        "p50 / p99 ms": pair(cell.latencies),
        "goal": f"<= {MOST:g} x with few" if goal else "",
        "met": ("yes" if ratio <= MOST else "short") if goal else "",
        "failures": str(cell.failures or ""),
    }


def _viewed(service: Service, views: int) -> Person:
    """An admin of a corporation whose members have seen its videos, at moments all over so many days."""
    corporation, people = service.found(f"Bench {views} views", views // _VIDEOS)
    service.videos(corporation, _VIDEOS, "bench/none.mp4")
    service.database.execute(
        """INSERT INTO video_view_log (user_id, video_id, created_at)
        SELECT u.seq, v.seq, now() - (u.seq * 7919 + v.seq * 104729) %% (%s * 1440) * interval '1 minute'
        FROM "user" u JOIN video v USING (corporation_id) WHERE corporation_id = %s""",
        (_DAYS, corporation),
    )
    return people[0]


def main() -> None:
    """Measure these alone: `python -m tests.bench.history`."""
    with running() as service:
        print(table(rows(service)))
        print(service.noise())


if __name__ == "__main__":
    main()
