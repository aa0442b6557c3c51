"""Who uses the service during a soak: members who do what members do, each answer held against the contract."""

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import httpx

from tests.e2e.clients import Company, Person, add_member, expect, log_in, problem, unique

PACE_SECONDS = 0.02  # between two actions of one caller, so that the machine is busy and not drowned
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Film:
    """A file in the folder of each company."""

    path: str
    size: int
    digest: str


@dataclass
class Record:
    """What all callers did, and who was granted a view: pairs of user and video whose stream began."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    viewed: set[tuple[int, int]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, action: str, failure: BaseException | None = None) -> None:
        with self.lock:
            self.done[action] += 1
            if failure is not None:
                self.failures.append(f"{action}: {type(failure).__name__}: {str(failure)[:300]}")


class Caller(threading.Thread):
    """One member of a company, who does one thing after another until it is stopped."""

    def __init__(
        self, company: Company, films: tuple[Film, Film], record: Record, stop: threading.Event, seed: int
    ) -> None:
        super().__init__(name=f"caller-{seed}")
        self.company = company
        self.small, self.large = films
        self.record = record
        self.stop = stop
        self.random = random.Random(seed)
        self.http = httpx.Client(base_url=company.admin.http.base_url, timeout=60, trust_env=False)
        self.me = add_member(
            Person(self.http, company.admin.id, company.admin.email, company.id, company.admin.tokens), "admin"
        )
        self.videos = [self._new_video(self.small), self._new_video(self.large)]

    def run(self) -> None:
        actions: list[tuple[Callable[[], None], int]] = [
            (self.log_in_again, 2),
            (self.refresh, 4),
            (self.list, 12),
            (self.look, 12),
            (self.create, 6),
            (self.delete_and_restore, 6),
            (self.stream_small, 20),
            (self.stream_large, 2),
            (self.seek, 10),
            (self.abort, 4),
            (self.log_view, 6),
            (self.list_views, 6),
        ]
        choices, weights = [action for action, _ in actions], [weight for _, weight in actions]
        due = self.random.sample(choices, len(choices))  # each once, then by weight
        with closing(self.http):
            while not self.stop.is_set():
                self.act(due.pop() if due else self.random.choices(choices, weights)[0])
                self.stop.wait(PACE_SECONDS)

    def act(self, action: Callable[[], None]) -> None:
        """Do one thing, and note how it went."""
        name = getattr(action, "__name__", "action").replace("_", " ")
        try:
            action()
        except (AssertionError, KeyError, ValueError, httpx.HTTPError) as failure:
            self.record.note(name, failure)
        else:
            self.record.note(name)

    # Sessions.

    def log_in_again(self) -> None:
        self.me.tokens = log_in(self.http, self.me.email)

    def refresh(self) -> None:
        answer = self.http.post("/v1/auth/refresh", json={"refresh_token": self.me.tokens["refresh_token"]})
        self.me.tokens = expect(answer, 200)

    # Videos.

    def _new_video(self, film: Film) -> int:
        body = {"name": unique("soak"), "file_path": film.path}
        return int(expect(self.me.call("POST", "/v1/videos", body), 201)["id"])

    def list(self) -> None:
        page = expect(self.me.get("/v1/videos?limit=20"), 200)
        ids = [video["id"] for video in page["items"]]
        assert ids == sorted(ids, reverse=True), "a page is not newest first"
        assert all(video["corporation_id"] == self.company.id for video in page["items"]), "another corporation's video"

    def look(self) -> None:
        video = self.random.choice(self.videos)
        assert expect(self.me.get(f"/v1/videos/id/{video}"), 200)["id"] == video

    def create(self) -> None:
        self.videos.append(self._new_video(self.small))

    def delete_and_restore(self) -> None:
        video = self._new_video(self.small)
        expect(self.me.call("DELETE", f"/v1/videos/{video}"), 204)
        problem(self.me.get(f"/v1/videos/stream/{video}"), 404, "not-found")
        expect(self.me.call("PUT", f"/v1/videos/{video}/restore"), 200)
        problem(self.me.call("PUT", f"/v1/videos/{video}/restore"), 404, "not-found")

    # Streams.

    def _viewed(self, video: int) -> None:
        with self.record.lock:
            self.record.viewed.add((self.me.id, video))

    def stream_small(self) -> None:
        video = self.random.choice([self.videos[0], *self.videos[2:]])
        self._whole(video, self.small)

    def stream_large(self) -> None:
        self._whole(self.videos[1], self.large)

    def _whole(self, video: int, film: Film, pause: float = 0.0) -> None:
        digest, size = hashlib.sha256(), 0
        with self.http.stream("GET", f"/v1/videos/stream/{video}", headers=self.me.headers) as answer:
            assert answer.status_code == 200, f"{answer.status_code} instead of 200"
            self._viewed(video)
            for chunk in answer.iter_raw(CHUNK):
                digest.update(chunk)
                size += len(chunk)
                if pause and self.stop.wait(pause):
                    return
        assert (size, digest.hexdigest()) == (film.size, film.digest), f"{size} bytes, not those of the film"

    def seek(self) -> None:
        first = self.random.randrange(self.large.size - 1000)
        answer = self.me.get(f"/v1/videos/stream/{self.videos[1]}", headers={"Range": f"bytes={first}-{first + 999}"})
        assert answer.status_code == 206, f"{answer.status_code} instead of 206"
        self._viewed(self.videos[1])
        assert answer.headers["Content-Range"] == f"bytes {first}-{first + 999}/{self.large.size}"
        assert len(answer.content) == 1000

    def abort(self) -> None:
        with self.http.stream("GET", f"/v1/videos/stream/{self.videos[1]}", headers=self.me.headers) as answer:
            assert answer.status_code == 200, f"{answer.status_code} instead of 200"
            self._viewed(self.videos[1])
            next(answer.iter_raw(CHUNK))

    # View logs.

    def log_view(self) -> None:
        answer = self.me.call("POST", "/v1/view-logs", {"video_id": self.random.choice(self.videos)})
        assert answer.status_code in {200, 201}, f"{answer.status_code} instead of 200 or 201"

    def list_views(self) -> None:
        page = expect(self.me.get(f"/v1/view-logs/{self.me.id}"), 200)
        assert all(log["user_id"] == self.me.id for log in page["items"]), "another member's view"


class SlowReader(Caller):
    """One who plays the large film as slowly as a film plays: 64 KiB at a time, with pauses."""

    def run(self) -> None:
        with closing(self.http):
            while not self.stop.is_set():
                self.act(self.read_slowly)

    def read_slowly(self) -> None:
        self._whole(self.videos[1], self.large, pause=0.05)


class Clock(threading.Thread):
    """The schedule: expires plans again and again, with something to expire each time."""

    def __init__(
        self, invoke: Callable[[], None], found: Callable[[], Company], record: Record, stop: threading.Event
    ) -> None:
        super().__init__(name="clock")
        self.invoke = invoke
        self.found = found
        self.record = record
        self.stop = stop

    def run(self) -> None:
        while not self.stop.wait(3.0):
            try:
                company = self.found()
                video = company.video()
                expect(company.admin.call("DELETE", f"/v1/videos/{video}"), 204)
                self.invoke()
                plan = expect(company.admin.get(f"/v1/corporations/id/{company.id}"), 200)["plan"]
                assert plan == "FREE", f"the plan is {plan} after its end"
                problem(company.admin.call("PUT", f"/v1/videos/{video}/restore"), 403, "plan-required")
            except (AssertionError, httpx.HTTPError) as failure:
                self.record.note("expire plans", failure)
            else:
                self.record.note("expire plans")


def pause(seconds: float, stop: threading.Event, callers: list[threading.Thread]) -> None:
    """Wait; a caller that died ends the wait early."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and all(caller.is_alive() for caller in callers):
        stop.wait(0.2)
