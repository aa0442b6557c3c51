"""Ranges and conditions of RFC 9110, by the RFC's own examples and by what holds for every header and every object."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.ranges import Span, Wanted, ask, not_modified, parse, range_still_holds, resolve

ETAG = '"9bb58f26192e4ba00f01e2e7b136bbd8"'
SUNDAY = "Sun, 06 Nov 1994 08:49:37 GMT"
SECOND_LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
SECOND_BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"

SIZES = st.integers(min_value=0, max_value=5 * 2**40)
MOST = st.integers(min_value=1, max_value=200 * 2**20)

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
    ],
)
def test_a_range_is_read_as_the_rfc_writes_it(text: str, wanted: Wanted) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize("text", ["bytes=0-0,-1", "bytes= 0-0, 4500-5499, -1000", "bytes=0-0 ,what-ever", "bytes=0-0,"])
def test_of_several_ranges_the_first_is_honoured(text: str) -> None:
    assert parse(text) == Wanted(0, 0)


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
        f"bytes={10**18}-",  # longer than any object of S3
        f"bytes=-{10**18}",
    ],
)
def test_what_is_no_range_is_ignored(text: str | None) -> None:
    assert parse(text) is None


def test_a_range_that_ends_before_it_begins_is_ignored_not_refused() -> None:
    assert parse("bytes=2-1") is None


@no_hurry
@given(wants())
def test_every_range_is_read_back(wanted: Wanted) -> None:
    assert parse(header(wanted)) == wanted


@no_hurry
@given(st.text(max_size=60) | st.from_regex(r"bytes=[0-9,\- ]{0,20}", fullmatch=True))
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    wanted = parse(text)
    assert wanted is None or parse(header(wanted)) == wanted


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
        (Wanted(suffix=1_001), None),
        (Wanted(suffix=0), None),
    ],
)
def test_the_store_is_asked_for_no_more_than_a_slice(wanted: Wanted, asked: str | None) -> None:
    assert ask(wanted, 1_000) == asked


@no_hurry
@given(wants(), SIZES, MOST)
def test_what_the_store_is_asked_for_is_what_is_answered(wanted: Wanted, size: int, most: int) -> None:
    asked = ask(wanted, most)
    if asked is None:
        assert wanted.suffix == 0 or (wanted.suffix is not None and wanted.suffix > most)
        return
    reread = parse(asked)
    if reread is None:  # the store, too, ignores a number that no object can have
        assert wanted.start + most > 10**18
        return
    assert resolve(reread, size, 2**63) == resolve(wanted, size, most)


@pytest.mark.parametrize(
    "if_none_match", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', f'"other",W/{ETAG}', "*", f" {ETAG} "]
)
@pytest.mark.parametrize("etag", [ETAG, f"W/{ETAG}"])
def test_what_the_client_has_is_not_modified_by_weak_comparison(if_none_match: str, etag: str) -> None:
    assert not_modified(if_none_match, None, etag, SUNDAY)


@pytest.mark.parametrize("if_none_match", ["", '"other"', ETAG.strip('"'), ETAG.upper(), '"other",'])
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
        assert range_still_holds("Sun Nov  6 08:49:37 1994", ETAG, SUNDAY)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("if_range", [None, ETAG, f" {ETAG} ", SUNDAY, "Sun Nov  6 08:49:37 1994"])
def test_a_range_holds_for_the_same_object(if_range: str | None) -> None:
    assert range_still_holds(if_range, ETAG, SUNDAY)


@pytest.mark.parametrize(
    "if_range", ['"other"', f"W/{ETAG}", ETAG.strip('"'), SECOND_BEFORE, SECOND_LATER, "", "*", f'{ETAG}, "other"']
)
def test_a_range_does_not_hold_for_another_object(if_range: str) -> None:
    assert not range_still_holds(if_range, ETAG, SUNDAY)


def test_a_weak_tag_never_holds_a_range() -> None:
    assert not range_still_holds(f"W/{ETAG}", f"W/{ETAG}", SUNDAY)


def test_without_a_date_of_the_object_no_date_holds_a_range() -> None:
    assert not range_still_holds(SUNDAY, ETAG, "")
    assert not range_still_holds("never", ETAG, "")


@no_hurry
@given(st.text(max_size=60) | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{2} Nov [0-9]{1,12} [0-9:]{5,8} [A-Z+0-9]{1,12}"))
def test_no_text_at_all_breaks_a_condition(text: str) -> None:
    assert not_modified(text, None, ETAG, SUNDAY) in {True, False}
    assert not_modified(None, text, ETAG, SUNDAY) in {True, False}
    assert range_still_holds(text, ETAG, SUNDAY) in {True, False}
