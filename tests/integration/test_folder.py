"""A corporation's files are in a folder of its own, and no path leads out: not at creation, change or in old rows."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.e2e.clients import Company, expect, problem, unique
from tests.e2e.films import put
from tests.service import Services
from vms import paths
from vms.errors import FileMissing
from vms.paths import object_key

pytestmark = pytest.mark.usefixtures("environment")

ROOT = Path(__file__).parents[2]
SECRET = b"the rival's film"
UP = (
    "..",
    ".",
    "",
    "%2e%2e",
    "%2E.",
    "%252e%252e",
    "\u2024\u2024",
    "\uff0e\uff0e",
    "..;",
    "..%00",
    "..\u200b",
    "\u2025",
)
SLASHES = ("/", "\\", "//", "%2f", "%5c", "\uff0f", "\u2215", "\u2044", "/./", "\\/")


def ways(target: str, key: str) -> Iterator[str]:
    """What a caller may send to get from its own folder to `target`, within corporations/, or to the whole `key`."""
    for up in UP:
        for slash in SLASHES:
            yield f"{up}{slash}{target}"
            yield f"a{slash}{up}{slash}{up}{slash}{target}"
            yield f"{up}{slash}{up}{slash}{key}"
    yield from (
        f"/{key}",
        f"//{key}",
        f"{key}/",
        f"\\{key}",
        key,
        f"~/{target}",
        f"./{target}",
        f"?{key}",
        f"#/../{target}",
    )
    yield from (f"s3://videos/{key}", f"http://127.0.0.1/videos/{key}", f"HTTPS://x/{key}", f"file:///{key}")
    yield from (
        f"x?/../../{target}",
        f"x#/../../{target}",
        f"..\t/{target}",
        f"..\n/{target}",
        f"..\x00/{target}",
        "..",
    )
    yield from (
        f"..\r\n\r\nGET /videos/{key}",
        f"..\x7f/{target}",
        f"..\x85/{target}",
        "/",
        ".",
        "a/..",
        " ",
        "\u3000",
        "",
    )
    yield "x/" * 600 + f"../{target}"
    yield "a" * (paths.MAX_BYTES + 1)
    yield "가" * (paths.MAX_BYTES // 3 + 1)


@pytest.fixture
def target(rival: Company, services: Services) -> str:
    """A file of the rival's, from corporations/ on."""
    return f"{rival.id}/{put(services.storage, rival, SECRET, f'{unique("hidden")}.mp4')}"


def test_no_way_leads_out_of_the_folder(acme: Company, rival: Company, services: Services, target: str) -> None:
    key = f"corporations/{target}"
    video, refused, taken = acme.video(), 0, 0
    every = list(dict.fromkeys([*ways(target, key), *ways(quote(target, safe=""), quote(key, safe=""))]))
    with psycopg.connect(services.database.url, autocommit=True) as connection:
        for path in every:
            changed = acme.admin.call("PUT", f"/v1/videos/{video}", {"file_path": path})
            made = acme.admin.call("POST", "/v1/videos", {"name": "x", "file_path": path})
            assert (changed.status_code, made.status_code) in {(200, 201), (422, 422)}, path
            refused, taken = refused + (made.status_code == 422), taken + (made.status_code == 201)
            if made.status_code == 422:
                problem(made, 422, "invalid")
                with pytest.raises(FileMissing):
                    object_key(acme.id, path)
                if "\0" in path or not 0 < len(path.encode()) <= 1024:
                    continue  # the table does not take it either
                # As if a row had it already.
                connection.execute("UPDATE video SET file_path = %s WHERE seq = %s", (path, video))
            answer = acme.guest.get(f"/v1/videos/stream/{video}")
            assert SECRET not in answer.content, path
            problem(answer, 404, "file-missing")
    assert refused > 100
    assert taken > 100
    assert acme.guest.me()["point"] == 0
    own = rival.video(file_path=target.partition("/")[2])
    assert rival.guest.get(f"/v1/videos/stream/{own}").content == SECRET


@pytest.mark.parametrize("corporation", [1, 2**63 - 1])
def test_the_longest_path_makes_a_key_that_s3_takes(corporation: int) -> None:
    key = object_key(corporation, "a" * paths.MAX_BYTES)
    assert key.startswith(f"corporations/{corporation}/a")
    assert len(key) <= paths.MAX_KEY_BYTES
    assert len(object_key(2**63 - 1, "a" * paths.MAX_BYTES)) == paths.MAX_KEY_BYTES


def test_the_same_path_in_two_corporations_is_two_files(acme: Company, rival: Company, services: Services) -> None:
    path = f"{unique('same')}.mp4"
    for company, body in ((acme, b"acme's"), (rival, b"rival's")):
        put(services.storage, company, body, path)
        video = company.video(file_path=path)
        assert expect(company.admin.get(f"/v1/videos/id/{video}"), 200)["file_path"] == path
        assert company.guest.get(f"/v1/videos/stream/{video}").content == body


def test_one_function_alone_makes_the_keys() -> None:
    files = [*ROOT.glob("layers/vms/**/*.py"), *ROOT.glob("functions/**/*.py"), *ROOT.glob("local/**/*.py")]
    assert len(files) > 50
    made = [path.name for path in files if re.search(r"[\"']corporations/", path.read_text("utf-8"))]
    assert made == ["paths.py"]
