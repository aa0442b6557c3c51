"""Ranges and conditions of RFC 9110, by the RFC's own examples and by what holds for every header and every object."""

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.ranges import Selection, Wanted, ask, not_modified, parse, resolve, select
from vms.ranges import range_still_holds as holds
from vms.representation import Representation, Span

ETAG = '"9bb58f26192e4ba00f01e2e7b136bbd8"'
SUNDAY = "Sun, 06 Nov 1994 08:49:37 GMT"
SECOND_LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
SECOND_BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"

SIZES = st.integers(min_value=0, max_value=5 * 2**40)
MOST = st.integers(min_value=1, max_value=200 * 2**20)


def still_holds(if_range: str | None, etag: str, last_modified: str) -> bool:
    return holds(if_range, etag, last_modified, time.time())


no_hurry = settings(deadline=None)  # a busy machine is no failure


@st.composite
def wants(draw: st.DrawFn, largest: int = 10**18 - 1) -> Wanted:
    """Any range that a header can ask for, its numbers up to `largest`."""
    if draw(st.booleans()):
        return Wanted(suffix=draw(st.integers(0, largest)))
    start = draw(st.integers(0, largest))
    return Wanted(start, draw(st.none() | st.integers(start, largest)))


def header(wanted: Wanted) -> str:
    if wanted.suffix is not None:
        return f"bytes=-{wanted.suffix}"
    return f"bytes={wanted.start}-{'' if wanted.end is None else wanted.end}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("bytes=0-499", Wanted(0, 499)),
        ("bytes=500-999", Wanted(500, 999)),
        ("bytes=-500", Wanted(suffix=500)),
        ("bytes=9500-", Wanted(9500)),
        ("bytes=-0", Wanted(suffix=0)),
        ("bytes=0-0", Wanted(0, 0)),
        ("bytes=007-008", Wanted(7, 8)),
        ("BYTES=1-2", Wanted(1, 2)),
        ("  bytes=1-2\t", Wanted(1, 2)),
        ("bytes=, ,1-2", Wanted(1, 2)),
        ("bytes=0-0,", Wanted(0, 0)),
        (f"bytes={10**30}-", Wanted(10**18)),
        ("bytes=0-" + "9" * 5000, Wanted(0, 10**18)),
        ("bytes=0-9223372036854775807", Wanted(0, 10**18)),
    ],
)
def test_a_range_is_read_as_the_rfc_writes_it(text: str, wanted: Wanted) -> None:
    assert parse(text) == (wanted,)


@pytest.mark.parametrize("text", ["bytes=0-0,-1", "bytes= 0-0, 4500-5499, -1000", "bytes=10000-,0-0"])
def test_of_several_ranges_the_first_that_can_be_satisfied_is_honoured(text: str) -> None:
    assert decide({"range": text}) == Selection(206, Span(0, 0))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=1 - 2",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=1_0-20",
        "bytes 1-2",
        "items=1-2",
        "bytes=1-2;3-4",
        "bytes=\u0663-\u0664",  # digits, but not those of the RFC
        "bytes=0-5,abc",
        "bytes=0-0 ,what-ever",
        "bytes=0-5,9-1",
        f"bytes={10**30}-{10**20}",
        f"bytes=00{10**19}-{10**18}",
    ],
)
def test_what_is_no_range_is_ignored(text: str | None) -> None:
    assert parse(text) == ()


def test_a_range_that_ends_before_it_begins_is_ignored_not_refused() -> None:
    assert parse("bytes=2-1") == ()


@no_hurry
@given(wants())
def test_every_range_is_read_back(wanted: Wanted) -> None:
    assert parse(header(wanted)) == (wanted,)


@no_hurry
@given(st.text(max_size=60) | st.from_regex(r"bytes=[0-9,\- ]{0,20}", fullmatch=True))
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    for wanted in parse(text):
        assert parse(header(wanted)) == (wanted,)


@pytest.mark.parametrize(
    ("wanted", "span"),
    [
        (Wanted(0, 499), Span(0, 499)),
        (Wanted(9_500), Span(9_500, 9_999)),
        (Wanted(9_500, 20_000), Span(9_500, 9_999)),
        (Wanted(suffix=500), Span(9_500, 9_999)),
        (Wanted(suffix=20_000), Span(0, 999)),
        (Wanted(0), Span(0, 999)),
        (Wanted(9_999), Span(9_999, 9_999)),
        (Wanted(10_000), None),
        (Wanted(10_000, 10_001), None),
        (Wanted(suffix=0), None),
    ],
)
def test_a_range_of_ten_thousand_bytes_is_answered_by_at_most_a_slice_of_it(wanted: Wanted, span: Span | None) -> None:
    assert resolve(wanted, 10_000, 1_000) == span


@no_hurry
@given(wants(), MOST)
def test_no_range_of_an_empty_object_can_be_satisfied(wanted: Wanted, most: int) -> None:
    assert resolve(wanted, 0, most) is None


@no_hurry
@given(wants() | wants(2000), SIZES | st.integers(0, 2000), MOST)
def test_a_span_lies_within_the_object_the_range_and_the_slice(wanted: Wanted, size: int, most: int) -> None:
    span = resolve(wanted, size, most)
    if span is None:
        assert size == 0 or wanted.suffix == 0 or wanted.start >= size
        return
    first = wanted.start if wanted.suffix is None else max(0, size - wanted.suffix)
    last = size - 1 if wanted.end is None else wanted.end
    assert span.start == first
    assert span.start <= span.end <= min(size - 1, last)
    assert span.length == min(most, min(size - 1, last) - first + 1)


@no_hurry
@given(wants(50), st.integers(0, 60), st.integers(1, 20))
def test_a_player_that_asks_on_from_each_slice_gets_every_byte_once(wanted: Wanted, size: int, most: int) -> None:
    def slices() -> Iterator[int]:
        following, end = wanted, wanted.end
        while span := resolve(following, size, most):
            yield from range(span.start, span.end + 1)
            if end is not None and span.end >= end:
                return
            following = Wanted(span.end + 1, end)

    held = range(size)
    expected = held[size - min(wanted.suffix, size) :] if wanted.suffix is not None else held[wanted.start :]
    if wanted.end is not None:
        expected = held[wanted.start : wanted.end + 1]
    assert list(slices()) == list(expected)


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        (Wanted(0), "bytes=0-999"),
        (Wanted(5, 9), "bytes=5-9"),
        (Wanted(5, 1_004), "bytes=5-1004"),
        (Wanted(5, 1_005), "bytes=5-1004"),
        (Wanted(suffix=1_000), "bytes=-1000"),
    ],
)
def test_the_store_is_asked_for_no_more_than_a_slice(wanted: Wanted, asked: str) -> None:
    assert ask({"range": header(wanted)}, 1_000) == (True, asked)


@pytest.mark.parametrize("suffix", [0, 1_001])
def test_a_suffix_longer_than_a_slice_needs_the_size_first(suffix: int) -> None:
    assert ask({"range": f"bytes=-{suffix}"}, 1_000)[0] is False


@pytest.mark.parametrize("name", ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"])
def test_a_condition_needs_the_validators_first(name: str) -> None:
    assert ask({name: "x", "range": "bytes=0-"}, 1_000)[0] is False


def test_without_a_limit_the_store_is_asked_for_all_that_the_client_asks_for() -> None:
    assert ask({"range": "bytes=5-"}, 0) == (True, "bytes=5-")
    assert ask({"range": "bytes=-7"}, 0) == (True, "bytes=-7")
    assert ask({}, 0) == ask({"range": "nonsense"}, 0) == (True, None)


@no_hurry
@given(wants(), SIZES, MOST)
def test_what_the_store_is_asked_for_is_what_is_answered(wanted: Wanted, size: int, most: int) -> None:
    at_once, asked = ask({"range": header(wanted)}, most)
    if not at_once:
        assert wanted.suffix == 0 or (wanted.suffix is not None and wanted.suffix > most)
        return
    assert [resolve(reread, size, 0) for reread in parse(asked)] == [resolve(wanted, size, most)]


def decide(headers: dict[str, str], slice_: int = 0, whole: int = 0) -> Selection:
    return select(headers, Representation(10_000, ETAG, SUNDAY, "", ""), slice_, whole, time.time())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"range": "bytes=0-9"}, 206),
        ({"range": "bytes=10000-"}, 416),
        ({"if-match": '"other"'}, 412),
        ({"if-match": f"W/{ETAG}"}, 412),
        ({"if-match": ETAG.strip('"')}, 412),
        ({"if-match": f'"other", {ETAG}'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"a", *'}, 412),
        ({"if-unmodified-since": SECOND_BEFORE}, 412),
        ({"if-unmodified-since": SUNDAY}, 200),
        ({"if-unmodified-since": "yesterday"}, 200),
        ({"if-match": ETAG, "if-unmodified-since": SECOND_BEFORE}, 200),  # the tag decides (section 13.1.4)
        ({"if-match": '"other"', "if-none-match": ETAG}, 412),
        ({"if-none-match": ETAG, "range": "bytes=10000-"}, 304),
        ({"if-none-match": '"a",*,"b"'}, 200),
        ({"if-none-match": '"other"', "if-modified-since": SUNDAY}, 200),
        ({"if-match": '"other"', "range": "bytes=0-9"}, 412),
        ({"range": "bytes=10000-", "if-range": '"other"'}, 200),
        ({"range": "bytes=0-9,x"}, 200),
    ],
)
def test_conditions_come_before_the_range_in_the_order_of_the_rfc(headers: dict[str, str], status: int) -> None:
    assert decide(headers).status == status


def test_a_range_is_exact_unless_a_slice_or_the_platform_limits_it() -> None:
    assert decide({"range": "bytes=0-"}) == Selection(206, Span(0, 9_999))
    assert decide({"range": "bytes=5-"}, slice_=1_000) == Selection(206, Span(5, 1_004))
    assert decide({}, whole=9_999).status == 413
    assert decide({}, whole=10_000) == Selection(200, Span(0, 9_999))


@pytest.mark.parametrize(
    "if_none_match", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', f'"other",W/{ETAG}', "*", f" {ETAG} "]
)
@pytest.mark.parametrize("etag", [ETAG, f"W/{ETAG}"])
def test_what_the_client_has_is_not_modified_by_weak_comparison(if_none_match: str, etag: str) -> None:
    assert not_modified(if_none_match, None, etag, SUNDAY)


@pytest.mark.parametrize(
    "if_none_match", ["", '"other"', ETAG.strip('"'), ETAG.upper(), '"other",', '"a",*,"b"', '*, "a"']
)
@pytest.mark.parametrize("etag", [ETAG, ""])
def test_another_tag_is_modified_whatever_the_dates_say(if_none_match: str, etag: str) -> None:
    assert not not_modified(if_none_match, SECOND_LATER, etag, SUNDAY)


@pytest.mark.parametrize(
    ("since", "unchanged"),
    [
        (SUNDAY, True),
        (SECOND_LATER, True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", True),  # RFC 850
        ("Sun Nov  6 08:49:37 1994", True),  # asctime
        (SECOND_BEFORE, False),
        ("yesterday", False),
        ("", False),
        (None, False),
        ("Fri, 31 Feb 2020 00:00:00 GMT", False),
        ("Fri, 31 Dec 9999 23:59:59 +99999999999999999999", False),
    ],
)
def test_without_tags_the_date_decides(since: str | None, unchanged: bool) -> None:
    assert not_modified(None, since, ETAG, SUNDAY) is unchanged


def test_an_object_without_a_date_counts_as_modified() -> None:
    assert not not_modified(None, SUNDAY, ETAG, "")


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system cannot change a process's time zone")
def test_a_date_without_a_zone_is_in_utc_wherever_the_server_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    try:
        assert still_holds("Sun Nov  6 08:49:37 1994", ETAG, SUNDAY)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("if_range", [None, ETAG, f" {ETAG} ", SUNDAY, "Sun Nov  6 08:49:37 1994"])
def test_a_range_holds_for_the_same_object(if_range: str | None) -> None:
    assert still_holds(if_range, ETAG, SUNDAY)


@pytest.mark.parametrize(
    "if_range", ['"other"', f"W/{ETAG}", ETAG.strip('"'), SECOND_BEFORE, SECOND_LATER, "", "*", f'{ETAG}, "other"']
)
def test_a_range_does_not_hold_for_another_object(if_range: str) -> None:
    assert not still_holds(if_range, ETAG, SUNDAY)


def test_a_date_of_this_second_does_not_tell_two_versions_apart() -> None:
    modified = parsedate_to_datetime(SUNDAY).timestamp()
    assert not holds(SUNDAY, ETAG, SUNDAY, modified + 1.9)
    assert holds(SUNDAY, ETAG, SUNDAY, modified + 2)


def test_a_weak_tag_never_holds_a_range() -> None:
    assert not still_holds(f"W/{ETAG}", f"W/{ETAG}", SUNDAY)


def test_without_a_date_of_the_object_no_date_holds_a_range() -> None:
    assert not still_holds(SUNDAY, ETAG, "")
    assert not still_holds("never", ETAG, "")


@no_hurry
@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{2} Nov [0-9]{1,12} [0-9:]{5,8} [A-Z+0-9]{1,12}"))
def test_no_text_at_all_breaks_a_condition(text: str) -> None:
    assert not_modified(text, None, ETAG, SUNDAY) in {True, False}
    assert not_modified(None, text, ETAG, SUNDAY) in {True, False}
    assert still_holds(text, ETAG, SUNDAY) in {True, False}
