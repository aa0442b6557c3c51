-- What a user has watched of a video: merged intervals of its seconds, where the player was last, and when the film was first completed.
-- `watched_seconds` is the length of `watched`. `reported_at` moves with each report: the time since then bounds what the next one may add.
CREATE TABLE video_progress (
    user_id         bigint NOT NULL REFERENCES "user" (seq),
    video_id        bigint NOT NULL REFERENCES video (seq),
    position        numeric NOT NULL CHECK (position >= 0),
    watched         nummultirange NOT NULL DEFAULT '{}',
    watched_seconds numeric NOT NULL DEFAULT 0 CHECK (watched_seconds >= 0),
    reported_at     timestamptz NOT NULL DEFAULT now(),
    completed_at    timestamptz,
    PRIMARY KEY (user_id, video_id)
);
CREATE INDEX ix_video_progress_video ON video_progress (video_id);

-- A video's poster, at most 60 KB. `etag` is of its bytes, which decide the type too. Listings read the rows without the bytes, which
-- stand apart from them as they are: both formats are compressed.
CREATE TABLE video_poster (
    video_id     bigint PRIMARY KEY REFERENCES video (seq),
    content_type text NOT NULL CHECK (content_type IN ('image/webp', 'image/jpeg')),
    etag         text NOT NULL CHECK (char_length(etag) BETWEEN 1 AND 100),
    content      bytea NOT NULL CHECK (octet_length(content) BETWEEN 1 AND 61440)
);
ALTER TABLE video_poster ALTER COLUMN content SET STORAGE EXTERNAL;
