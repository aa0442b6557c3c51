"""Real clients: resumed and parallel downloads, and films that are decoded and sought in, compared with the file."""

import hashlib
import itertools
import os
import shutil
import subprocess
from pathlib import Path

import av
import pytest

from local.s3 import S3
from tests.e2e.clients import Company, Person, expect
from tests.e2e.films import KINDS, make, put
from tests.environment import of_child
from tests.service import Service

pytestmark = pytest.mark.transports("over_http")

DOWNLOAD = os.urandom(23_000_000)
SECONDS = 120.0  # that a client may take; only a failure takes so long


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=of_child(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def playback(viewer: Person, video: int) -> str:
    url: str = expect(viewer.call("POST", f"/v1/videos/{video}/playback"), 200)["url"]
    return url


@pytest.fixture(scope="module", autouse=True)
def _streams(service: Service) -> None:
    if service.environment.get("STREAM_MODE") == "buffered":
        pytest.skip("a buffered platform cuts each answer at 4 MiB, which these clients take for the end")


@pytest.fixture(scope="module")
def download(acme: Company, bucket: S3) -> str:
    """The playback URL of 23 MB."""
    return playback(acme.guest, acme.video(file_path=put(bucket, acme, DOWNLOAD)))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("curl", "--fail", "--silent", "--show-error", "-C", "-", "-o", "file"), marks=needs("curl")),
        pytest.param(("wget", "--quiet", "--tries=1", "-c", "-O", "file"), marks=needs("wget")),
        pytest.param(("aria2c", "--quiet", "-c", "-o", "file"), marks=needs("aria2c")),
    ],
    ids=lambda command: command[0],
)
def test_a_download_of_which_30_percent_are_there_is_resumed_to_its_end(
    download: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(DOWNLOAD[: len(DOWNLOAD) * 3 // 10])
    run(*command, download, cwd=tmp_path)
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(DOWNLOAD).digest()


@needs("aria2c")
def test_eight_connections_at_once_bring_the_file(download: str, tmp_path: Path) -> None:
    run("aria2c", "--quiet", "-x8", "-s8", "-k1M", "-o", "file", download, cwd=tmp_path)
    assert hashlib.sha256((tmp_path / "file").read_bytes()).digest() == hashlib.sha256(DOWNLOAD).digest()


@pytest.fixture(scope="module", params=KINDS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 20 seconds that is larger than a slice."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    made = make(tmp_path_factory.mktemp("films") / request.param)
    assert made.stat().st_size > 6 * 1024 * 1024
    return made


@pytest.fixture(scope="module")
def url(acme: Company, bucket: S3, film: Path) -> str:
    """Its playback URL."""
    key = put(bucket, acme, film.read_bytes(), f"tests/{film.parent.name}/{film.name}")
    return playback(acme.guest, acme.video(file_path=key))


def frames(source: str, *seek: str, cwd: Path) -> str:
    """The checksum of every decoded picture and sound."""
    found = run("ffmpeg", "-v", "error", *seek, "-i", source, "-f", "framemd5", "-", cwd=cwd)
    assert found.count("\n") > 100
    return found


def test_ffmpeg_decodes_every_frame_of_the_file(film: Path, url: str, tmp_path: Path) -> None:
    assert frames(url, cwd=tmp_path) == frames(str(film), cwd=tmp_path)


def test_ffmpeg_seeks_to_the_frames_of_the_file(film: Path, url: str, tmp_path: Path) -> None:
    for second in ("15", "3"):
        assert frames(url, "-ss", second, cwd=tmp_path) == frames(str(film), "-ss", second, cwd=tmp_path)


def pictures(source: str, second: int) -> list[bytes]:
    """The digests of thirty decoded pictures from there on, as PyAV's users get them."""
    with av.open(source) as container:
        container.seek(second * av.time_base)
        frames = itertools.islice(container.decode(video=0), 30)
        return [hashlib.sha256(b"".join(map(bytes, frame.planes))).digest() for frame in frames]


def test_pyav_decodes_and_seeks_to_the_pictures_of_the_file(film: Path, url: str) -> None:
    for second in (0, 12, 5):
        found = pictures(url, second)
        assert len(found) == 30
        assert found == pictures(str(film), second)
