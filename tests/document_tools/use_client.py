"""Uses the service at argv[1] with the client that openapi-python-client generates; prints what it saw as JSON."""

import json
import sys

from video_management_server_client import AuthenticatedClient, Client
from video_management_server_client.api.auth import get_me, log_in
from video_management_server_client.api.corporations import sign_up
from video_management_server_client.api.users import create_user
from video_management_server_client.api.videos import (
    change_video,
    create_video,
    delete_video,
    list_videos,
    restore_video,
    stream_video,
)
from video_management_server_client.models import (
    AdminVideo,
    LogIn,
    NewUser,
    NewVideo,
    Plan,
    ProblemDocument,
    SignUp,
    Video,
    VideoChange,
)
from video_management_server_client.types import Unset


def admins(parsed: AdminVideo | Video | ProblemDocument | None) -> AdminVideo:
    """A video as admins see it."""
    assert isinstance(parsed, AdminVideo)
    return parsed


def got[T](parsed: T | ProblemDocument | None) -> T:
    """The body of a success."""
    assert parsed is not None
    assert not isinstance(parsed, ProblemDocument), parsed.detail
    return parsed


def main(url: str, word: str) -> dict[str, object]:
    """Sign up, log in, and use the videos."""
    seen: dict[str, object] = {}
    email, password = f"admin-{word}@example.com", "correct horse 1"
    anybody = Client(base_url=url)
    body = SignUp(name=f"company {word}", plan=Plan.PAID, admin_email=email, admin_password=password)
    company = got(sign_up.sync(client=anybody, body=body))
    tokens = got(log_in.sync(client=anybody, body=LogIn(email=email, password=password)))
    admin = AuthenticatedClient(base_url=url, token=tokens.access_token)
    seen["own"] = got(get_me.sync(client=admin)).corporation_id == company.id

    film = NewVideo(name="Typed", file_path="typed.mp4")
    video = admins(create_video.sync(client=admin, body=film, idempotency_key=word))
    again = create_video.sync_detailed(client=admin, body=film, idempotency_key=word)
    seen["replayed"] = again.headers.get("Idempotency-Replayed") == "true" and admins(again.parsed).id == video.id
    seen["renamed"] = admins(change_video.sync(video.id, client=admin, body=VideoChange(name="타입"))).name
    page = got(list_videos.sync(client=admin, limit=1))
    seen["listed"] = [each.name for each in page.items]
    seen["more"] = not isinstance(page.next_cursor, Unset) and page.next_cursor is not None

    refused = create_user.sync(client=admin, body=NewUser(email=email, password=password))
    assert isinstance(refused, ProblemDocument)
    seen["problem"] = [refused.status, refused.type_]
    stream = stream_video.sync_detailed(video.id, client=admin)
    assert isinstance(stream.parsed, ProblemDocument)
    seen["stream"] = [stream.status_code, stream.parsed.type_]
    seen["removed"] = delete_video.sync_detailed(video.id, client=admin).status_code
    seen["restored"] = admins(restore_video.sync(video.id, client=admin)).is_deleted
    return seen


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
