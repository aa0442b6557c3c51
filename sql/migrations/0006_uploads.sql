-- Files that come in parts through the API, and what completion reads of a film. `file_path` is within the corporation's folder, and no two
-- uploads have the same. `status`: `refused` is one whose file is no film; `replaced` was complete, and its video has another file since.
-- `leftover`: S3 may still have parts or an object of it, which the hourly job removes. `s3_upload_id` is null until a part is signed.
CREATE TABLE upload (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corporation_id bigint NOT NULL REFERENCES corporation (seq),
    video_id       bigint REFERENCES video (seq),
    replaces       boolean NOT NULL,
    name           text CHECK (char_length(name) BETWEEN 1 AND 255),
    file_name      text NOT NULL CHECK (char_length(file_name) BETWEEN 1 AND 255),
    file_path      text NOT NULL CONSTRAINT uq_upload_file_path UNIQUE CHECK (octet_length(file_path) BETWEEN 1 AND 1024),
    size           bigint NOT NULL CHECK (size > 0),
    part_size      bigint NOT NULL CHECK (part_size > 0),
    s3_upload_id   text,
    status         text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'complete', 'replaced', 'aborted', 'refused', 'expired')),
    leftover       boolean NOT NULL DEFAULT false,
    expires_at     timestamptz NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_upload_page ON upload (corporation_id, (seq + 0) DESC);
CREATE INDEX ix_upload_quota ON upload (corporation_id, status) INCLUDE (size, video_id, replaces);
CREATE INDEX ix_upload_video ON upload (video_id);
CREATE INDEX ix_upload_open ON upload (expires_at) WHERE status = 'open';
CREATE INDEX ix_upload_leftover ON upload (updated_at) WHERE leftover;

-- Null for files that came by own means, and for the key of names from before (what searches takes the nearest that SQL can do).
ALTER TABLE video
    ADD COLUMN name_key text,
    ADD COLUMN size bigint,
    ADD COLUMN duration double precision,
    ADD COLUMN width integer,
    ADD COLUMN height integer,
    ADD COLUMN content_type text,
    ADD COLUMN browser_playable boolean,
    ADD COLUMN detail text;

-- Lists and searches go through a corporation's own videos, newest first. The expression keeps them to this index: PostgreSQL takes the
-- primary key, which has the plain order, where it believes that a corporation has many, and then reads through everybody's.
CREATE INDEX ix_video_page ON video (corporation_id, deleted, (seq + 0) DESC);

-- What a corporation has taken of its quota. VOLATILE, so that its queries see what was committed while the calling statement waited for
-- the corporation's lock (PostgreSQL manual 36.7): then two callers cannot both take the last place.
CREATE FUNCTION quota_used(of_corporation bigint, paid boolean, OUT videos bigint, OUT bytes bigint) LANGUAGE sql VOLATILE AS $$
    SELECT (SELECT count(*) FROM video v WHERE v.corporation_id = of_corporation AND NOT v.deleted)
         + (SELECT count(*) FROM video v WHERE v.corporation_id = of_corporation AND v.deleted AND paid)
         + (SELECT count(*) FROM upload u WHERE u.corporation_id = of_corporation AND u.status = 'open' AND NOT u.replaces),
           (SELECT coalesce(sum(u.size), 0)::bigint FROM upload u
            WHERE u.corporation_id = of_corporation AND (u.status = 'open' OR u.status = 'complete' AND
                  (paid OR NOT EXISTS (SELECT FROM video v WHERE v.seq = u.video_id AND v.deleted))))
$$;
