"""`make upload`: parts, resumption, single parts that fail, what is refused; against the local runner."""

import io
import os
import signal
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from local import demo
from ops.session import RefusedError, Session, SessionError
from ops.upload import upload
from ops.upload_command import DEMO, Bar
from tests.e2e.clients import PASSWORD, Company, Person, found_company
from tests.e2e.films import bucket_of, padded
from tests.e2e.senders import begin, send
from tests.e2e.test_uploads import client
from tests.environment import of_child
from tests.in_process import routes
from tests.service import Service
from vms.paths import folder

pytestmark = [
    pytest.mark.transports("over_http"),
    pytest.mark.skipif(("POST", "/v1/uploads") not in routes(), reason="the template has no routes of uploads"),
]

MIB = 1024 * 1024
ROOT = Path(__file__).parents[2]
# Three parts of 8 MiB and one that is shorter.
SIZE = 3 * 8 * MIB + 1000
SLICE = 4_000_000  # bytes; a buffered answer, as of an emulator of AWS, has no more


@pytest.fixture
def company(http: httpx.Client) -> Company:
    return found_company(http)


@pytest.fixture
def session(service: Service, company: Company) -> Session:
    return logged_in(service, company.admin)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(padded(SIZE))
    return path


def logged_in(service: Service, person: Person) -> Session:
    made = Session(service.url)
    made.log_in(person.email, PASSWORD)
    return made


class Seen:
    """What `upload` shows: how often it began, what was there then, and the bytes that were sent since."""

    def __init__(self, at: int | None = None, act: Callable[[], None] = lambda: None) -> None:
        self.there: list[int] = []
        self.sent = 0
        self._at, self._act = at, act
        self._lock = threading.Lock()

    def begin(self, size: int, there: int) -> Callable[[int], None]:
        assert size == SIZE
        self.there.append(there)
        return self._add

    def _add(self, count: int) -> None:
        with self._lock:
            self.sent += count
            due = self._at is not None and self.sent >= self._at
        if due:
            self._act()


def assert_stored(admin: Person, video: dict[str, Any], file: Path) -> None:
    assert video["size"] == file.stat().st_size
    sent = file.read_bytes()
    for first in range(0, len(sent), SLICE):
        headers = {"Range": f"bytes={first}-{first + SLICE - 1}"}
        answer = admin.get(f"/v1/videos/stream/{video['id']}", headers=headers)
        assert (answer.status_code, answer.content == sent[first : first + SLICE]) == (206, True)


def test_a_film_arrives_as_it_is(session: Session, company: Company, film: Path) -> None:
    seen = Seen()
    video = upload(session, film, "A film", seen.begin)
    assert (video["name"], seen.there, seen.sent) == ("A film", [0], SIZE)
    assert_stored(company.admin, video, film)


def interrupt(session: Session, file: Path) -> None:
    """Send the file until more than a part is there, then interrupt it as Ctrl-C does."""
    stopped = threading.Event()

    def stop() -> None:
        if not stopped.is_set():
            stopped.set()
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        threading.Event().wait(2)  # no further byte leaves before the main thread has heard of it

    with pytest.raises(KeyboardInterrupt):
        upload(session, file, None, Seen(SIZE - 4 * MIB, stop).begin)


def test_an_interrupted_upload_goes_on_with_what_is_missing(session: Session, company: Company, film: Path) -> None:
    interrupt(session, film)
    (standing,) = session.call("GET", "/v1/uploads")["items"]
    assert standing["status"] == "open"
    there = sum(part["size"] for part in session.call("GET", f"/v1/uploads/{standing['id']}")["received"])
    assert 0 < there < SIZE
    seen = Seen()
    video = upload(session, film, None, seen.begin)
    assert (seen.there, seen.sent) == ([there], SIZE - there)
    assert_stored(company.admin, video, film)
    assert [each["status"] for each in session.call("GET", "/v1/uploads")["items"]] == ["complete"]


def test_parts_of_another_file_of_the_same_name_and_size_are_sent_again(
    session: Session, company: Company, film: Path
) -> None:
    interrupt(session, film)
    data = bytearray(film.read_bytes())
    for part in range(3):
        data[(part + 1) * 8 * MIB - 1] ^= 255
    film.write_bytes(data)
    seen = Seen()
    video = upload(session, film, None, seen.begin)
    assert seen.sent >= 3 * 8 * MIB
    assert_stored(company.admin, video, film)


def put_together(service: Service, company: Company) -> None:
    """Complete in S3 the company's only upload, as a completion does before it is interrupted."""
    storage = bucket_of(service.environment)
    name = storage.bucket
    with closing(client(storage)) as s3:
        (found,) = s3.list_multipart_uploads(Bucket=name, Prefix=folder(company.id))["Uploads"]
        at = {"Bucket": name, "Key": found["Key"], "UploadId": found["UploadId"]}
        listed = [{key: each[key] for key in ("PartNumber", "ETag")} for each in s3.list_parts(**at)["Parts"]]
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": listed})


@pytest.mark.parametrize("same", [True, False])
def test_what_s3_has_put_together_already_is_not_sent_again_but_if_it_is_another_film(
    service: Service, session: Session, company: Company, film: Path, same: bool
) -> None:
    send(company.admin, begin(company.admin, SIZE, file_name=film.name), film.read_bytes())
    put_together(service, company)
    if not same:
        film.write_bytes(film.read_bytes()[:-1] + b"!")
        with pytest.raises(SessionError, match="run it again"):
            upload(session, film, None, Seen().begin)
    seen = Seen()
    video = upload(session, film, None, seen.begin)
    assert seen.there == [SIZE if same else 0]
    assert_stored(company.admin, video, film)
    assert len(session.call("GET", "/v1/videos")["items"]) == 1


def test_a_name_as_a_mac_spells_it_is_found_again(session: Session, company: Company, film: Path) -> None:
    file = film.rename(film.with_name(unicodedata.normalize("NFD", "é 루먼랩.mp4")))
    interrupt(session, file)
    seen = Seen()
    assert_stored(company.admin, upload(session, file, None, seen.begin), file)
    assert seen.there > [0]


def test_a_file_that_changes_meanwhile_is_not_made_a_video(session: Session, company: Company, film: Path) -> None:
    def change() -> None:
        os.utime(film, ns=(0, 0))

    with pytest.raises(Exception, match="has changed while it was sent"):
        upload(session, film, None, Seen(SIZE, change).begin)
    assert session.call("GET", "/v1/videos")["items"] == []
    assert_stored(company.admin, upload(session, film, None, Seen().begin), film)


def test_a_file_that_becomes_shorter_meanwhile_is_told_at_once(session: Session, film: Path) -> None:
    stopped = threading.Event()

    def cut() -> None:
        if not stopped.is_set():
            stopped.set()
            os.truncate(film, MIB)

    with pytest.raises(SessionError, match="has changed while it was sent"):
        upload(session, film, None, Seen(2 * MIB, cut).begin)
    assert session.call("GET", "/v1/videos")["items"] == []


class Faulty(Session):
    """A session whose first URL for each part is changed by `spoil`; `asked` has what was asked for."""

    def __init__(self, url: str, spoil: Callable[[str], str]) -> None:
        super().__init__(url)
        self._spoil = spoil
        self.asked: list[list[int]] = []

    def call(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        answer = super().call(method, path, body, key=key)
        if path.endswith("/parts"):
            known = {number for numbers in self.asked for number in numbers}
            self.asked.append(body["numbers"])
            for part in answer:
                if part["number"] not in known:
                    part["url"] = self._spoil(part["url"])
        return answer


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url.replace("X-Amz-Expires=", "X-Amz-Expires=1"),  # its signature is another one's: S3 answers 403
        lambda url: "http://127.0.0.1:9/" + url.partition("/videos/")[2],  # nothing listens there
    ],
    ids=["refused", "unreachable"],
)
def test_each_part_that_fails_is_sent_again_to_a_fresh_url(
    service: Service, company: Company, film: Path, spoil: Callable[[str], str]
) -> None:
    session = Faulty(service.url, spoil)
    session.log_in(company.admin.email, PASSWORD)
    seen = Seen()
    assert_stored(company.admin, upload(session, film, None, seen.begin), film)
    assert session.asked[0] == [1, 2, 3, 4]
    assert sorted(session.asked[1:]) == [[1], [2], [3], [4]]
    assert seen.sent == SIZE  # what failed does not count


def test_a_token_that_has_ended_is_renewed_once(session: Session, company: Company) -> None:
    session._tokens["access_token"] = "ended"
    assert session.call("GET", "/v1/auth/me")["id"] == company.admin.id
    session.log_out()
    with pytest.raises(RefusedError):
        session.call("POST", "/v1/auth/refresh", {"refresh_token": session._tokens["refresh_token"]})


def command(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", "upload", *arguments],
        cwd=ROOT,
        env=of_child(LOCAL_DIR=str(directory), **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def directory(service: Service, tmp_path: Path) -> Path:
    """What `make upload` reads of a runner."""
    if service.elsewhere:
        pytest.skip("make upload finds the local runner, or a stack")
    (tmp_path / "env").write_text(f"API_URL={service.url}\n", "utf-8")
    return tmp_path


def test_the_command_says_what_has_become_of_the_film(directory: Path, film: Path) -> None:
    done = command(directory, str(film), "--name", "Demo film")
    assert (done.returncode, done.stderr.strip().splitlines()[-1].partition(" MiB,")[0]) == (0, "24.0 of 24.0"), done
    assert "Demo film: 24.0 MiB, 0:12, 480x270" in done.stdout
    assert (DEMO[0].partition("@")[0], DEMO[1]) == ("admin", demo.PASSWORD)


@pytest.mark.parametrize(
    ("make", "who", "told"),
    [
        (None, {}, "is no file"),
        (b"", {}, "is empty"),
        (b"no film", {}, "The file is no film"),
        (6 * 1024 * MIB, {"EMAIL": "admin@free.example", "PASSWORD": demo.PASSWORD}, "5368709120 bytes left"),
        (b"x", {"EMAIL": "guest@paid.example", "PASSWORD": demo.PASSWORD}, "only an admin of a corporation may upload"),
        (b"x", {"EMAIL": "nobody@paid.example", "PASSWORD": "wrong password"}, "nobody@paid.example cannot log in"),
        (b"x", {"EMAIL": "admin@paid.example"}, "Export EMAIL and PASSWORD"),
    ],
)
def test_what_cannot_be_uploaded_is_told_in_a_line(
    directory: Path, make: bytes | int | None, who: dict[str, str], told: str
) -> None:
    file = directory / "given.mp4"
    if isinstance(make, bytes):
        file.write_bytes(make)
    elif make is not None:
        with file.open("wb") as sparse:
            sparse.truncate(make)
    done = command(directory, str(file), **who)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert told in last
    assert "Traceback" not in done.stderr


def test_a_file_whose_name_begins_like_an_option_is_a_file() -> None:
    command = ["make", "--silent", "--old-file=.venv/.run", f"PYTHON='{sys.executable}'", "upload", "FILE=-none.mp4"]
    done = subprocess.run(command, cwd=ROOT, env=of_child(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: -none.mp4 is no file")


def test_without_a_runner_the_command_says_so(tmp_path: Path, film: Path) -> None:
    done = command(tmp_path, str(film))
    assert (done.returncode, "start `make run`" in done.stderr) == (1, True)


class Terminal(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, *, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


@pytest.mark.parametrize(("tty", "expected"), [(True, 4), (False, 2)])
def test_the_bar_says_how_much_is_there_and_how_fast(tty: bool, expected: int) -> None:
    now, output = 0.0, Terminal(tty=tty)
    show = Bar(output, clock=lambda: now).begin(100 * MIB, 20 * MIB)
    for now in (1.0, 2.0, 12.0, 13.0):  # noqa: B007 - the clock reads it
        show(20 * MIB)
    told = output.getvalue().replace("\r\x1b[K", "").splitlines() if not tty else output.getvalue().split("\r\x1b[K")
    assert told[0].strip() == "20.0 of 100.0 MiB are there already"
    assert len(told) == 1 + expected
    assert "100.0 of 100.0 MiB" in told[-1]
    assert "80.0 of 100.0 MiB" in told[-2]
    assert "s left" in told[-2]
