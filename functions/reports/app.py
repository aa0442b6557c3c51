"""Reports for admins, in JSON or for a spreadsheet: videos, members, and views by day or week."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Annotated, Literal, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import AfterValidator, BeforeValidator, Field

from vms import periods, spreadsheets
from vms.api import Api, Response, Who
from vms.domain import reports
from vms.domain.reports import MemberReport, VideoReport, ViewsReport
from vms.errors import Invalid
from vms.pages import Page, Slice
from vms.periods import Unit
from vms.schemas import Cursor, Limit, part

api = Api()

# Of one CSV file. The longest names and addresses of so many rows stay below the 6 MB of a function's answer.
CSV_ROWS = 1000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def _date(value: object) -> object:
    if isinstance(value, str) and not _DATE.fullmatch(value):
        raise ValueError("must be a date such as 2030-01-31")
    return value


def _known(value: date | None) -> date | None:
    if value is not None and not periods.FIRST <= value <= periods.LAST:
        raise ValueError(f"must be from {periods.FIRST} to {periods.LAST}")
    return value


def _zone(value: str) -> str:
    periods.zone(value)
    return value


Day = Annotated[date | None, BeforeValidator(_date), AfterValidator(_known), Field(json_schema_extra={"pattern": "^2"})]
From = Annotated[Day, Query(alias="from", description="The first day, of the years 2000 to 2999.")]
To = Annotated[
    Day,
    Query(alias="to", description="The last day, of the same years, which belongs to the period; not before `from`."),
]
Timezone = Annotated[
    str,
    AfterValidator(_zone),
    Query(description="The zone of the days, by its name in the IANA database, such as `Asia/Seoul`."),
]
Format = Annotated[
    Literal["json", "csv"],
    Query(
        alias="format",
        description="`csv` gives a file for a spreadsheet (RFC 4180, UTF-8 with a byte order mark): whatever `limit` "
        f"says, {CSV_ROWS} rows, and a `Link` (RFC 8288, `rel=next`) to the file with the rows after them, if there "
        "are more. A text that a spreadsheet would take for a formula begins with a quote.",
    ),
]
PERIOD = (
    "Without `from` and `to`, of all times. There is a row for each that is not deleted, the newest first, those with "
    "nothing to report too. What the deleted did counts on in the rows of others."
)


@api.get(
    "/v1/reports/videos", who=Who.ADMIN, summary="Report on the videos", also_media=("text/csv",), description=PERIOD
)
def report_videos(
    limit: Limit = 20,
    cursor: Cursor = None,
    first: From = None,
    last: To = None,
    timezone: Timezone = "UTC",
    form: Format = "json",
) -> Page[VideoReport]:
    period = periods.period(*_ordered(first, last), periods.zone(timezone))
    return _answer(
        "videos", VideoReport, form, part(limit, cursor), lambda part: reports.videos(api.caller, part, period)
    )


@api.get(
    "/v1/reports/members", who=Who.ADMIN, summary="Report on the members", also_media=("text/csv",), description=PERIOD
)
def report_members(
    limit: Limit = 20,
    cursor: Cursor = None,
    first: From = None,
    last: To = None,
    timezone: Timezone = "UTC",
    form: Format = "json",
) -> Page[MemberReport]:
    period = periods.period(*_ordered(first, last), periods.zone(timezone))
    return _answer(
        "members", MemberReport, form, part(limit, cursor), lambda part: reports.members(api.caller, part, period)
    )


@api.get(
    "/v1/reports/views",
    who=Who.ADMIN,
    summary="Report on the views by day or week",
    also_media=("text/csv",),
    description="A row for each day or week of the period, the newest first, those without views too. Weeks are whole, "
    "and begin on Monday. Without `to` the period ends today, and without `from` it has 30 days or 13 weeks.",
)
def report_views(
    by: Annotated[Unit, Query(description="What a row is of.")] = "day",
    limit: Limit = 20,
    cursor: Cursor = None,
    first: From = None,
    last: To = None,
    timezone: Timezone = "UTC",
    form: Format = "json",
) -> Page[ViewsReport]:
    where = periods.zone(timezone)
    until = last or datetime.now(UTC).astimezone(where).date()
    _ordered(first, last)
    since = first or until - timedelta(29 if by == "day" else 7 * 12)

    def read(part: Slice) -> Page[ViewsReport]:
        return reports.views(api.caller, part, by, _days(part, since, until, where, by))

    return _answer("views", ViewsReport, form, part(limit, cursor), read)


def _ordered(first: date | None, last: date | None) -> tuple[date | None, date | None]:
    if first is not None and last is not None and first > last:
        raise Invalid([("to", "must not be before from")])
    return first, last


def _days(part: Slice, first: date, last: date, where: ZoneInfo, by: Unit) -> list[periods.Day]:
    """The days of a page and one more; a cursor stands for a date's ordinal."""
    if part.before <= last.toordinal():
        last = date.fromordinal(max(part.before - 1, 1))
    return list(islice(periods.days(first, last, where, by), part.limit + 1))


def _answer[T](
    name: str, kind: type[T], form: Literal["json", "csv"], part: Slice, read: Callable[[Slice], Page[T]]
) -> Page[T]:
    if form == "json":
        return read(part)
    page = read(Slice(CSV_ROWS, part.before))
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "X-Content-Type-Options": "nosniff"}
    if page.next_cursor is not None:
        event = api.resolver.current_event
        query = urlencode({**event.query_string_parameters, "cursor": page.next_cursor})
        headers["Link"] = f'<{api.base_url}/v1/reports/{name}?{query}>; rel="next"'
    return cast("Page[T]", Response(200, "text/csv; charset=utf-8", spreadsheets.csv_text(kind, page.items), headers))


lambda_handler = api.handle
