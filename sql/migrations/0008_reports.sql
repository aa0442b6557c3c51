-- What reports are made of. The triggers write what happens into `activity`, by user, video and quarter of an hour, in the transaction of the
-- change itself; the schedule moves it from there into `activity_total`. A report reads both, so it is never behind, and neither read grows
-- with the history.
-- Quarters of an hour, because no zone of today begins its day between two of them.
CREATE TABLE activity (
    user_id        bigint NOT NULL REFERENCES "user" (seq),
    video_id       bigint NOT NULL REFERENCES video (seq),
    bucket         timestamptz NOT NULL,
    corporation_id bigint NOT NULL,  -- without a foreign key, whose lock a corporation's deletion would be in the way of
    views          integer NOT NULL DEFAULT 0,
    completions    integer NOT NULL DEFAULT 0,
    points         integer NOT NULL DEFAULT 0,
    seconds        numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, video_id, bucket)
);
CREATE INDEX ix_activity_video ON activity (video_id, bucket);
CREATE INDEX ix_activity_corporation ON activity (corporation_id, bucket);
CREATE INDEX ix_activity_bucket ON activity (bucket);

-- Running totals: what a video, a user or a corporation (`kind`) has up to and with that quarter of an hour, in rows for those in which
-- something happened. What happened between two moments is the difference of two rows. Of `day` and `week` the subject is a corporation, and
-- `viewers` the members with a first view in the 24 hours, or the 7 times 24, that begin at `bucket` or any later one before the next row.
-- The row of kind `roll-up` is locked by who rolls up. The subjects are of three tables, so a trigger forgets those that are deleted for good.
CREATE TABLE activity_total (
    kind        text NOT NULL CHECK (kind IN ('video', 'user', 'corporation', 'day', 'week', 'roll-up')),
    subject     bigint NOT NULL,
    bucket      timestamptz NOT NULL,
    views       bigint NOT NULL DEFAULT 0,
    viewers     bigint NOT NULL DEFAULT 0,
    completions bigint NOT NULL DEFAULT 0,
    points      bigint NOT NULL DEFAULT 0,
    seconds     numeric NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, subject, bucket)
);
INSERT INTO activity_total (kind, subject, bucket) VALUES ('roll-up', 0, '-infinity');

-- The quarters of an hour in which a user viewed something for the first time, as far as they are rolled up.
CREATE TABLE viewer_presence (
    user_id        bigint NOT NULL REFERENCES "user" (seq),
    bucket         timestamptz NOT NULL,
    corporation_id bigint NOT NULL,
    PRIMARY KEY (user_id, bucket)
);
CREATE INDEX ix_viewer_presence_corporation ON viewer_presence (corporation_id, bucket, user_id);

CREATE FUNCTION quarter_of_an_hour(moment timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE
    RETURN date_bin('15 minutes', moment, timestamptz '2000-01-01 00:00:00+00');

CREATE FUNCTION note_view() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    granted integer := NEW.point;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        granted := granted - OLD.point;
    END IF;
    IF TG_OP = 'INSERT' OR granted <> 0 THEN
        INSERT INTO activity (user_id, video_id, bucket, corporation_id, views, points)
        SELECT NEW.user_id, NEW.video_id, quarter_of_an_hour(CASE TG_OP WHEN 'INSERT' THEN NEW.created_at ELSE now() END),
               v.corporation_id, CASE TG_OP WHEN 'INSERT' THEN 1 ELSE 0 END, granted
        FROM video v WHERE v.seq = NEW.video_id
        ON CONFLICT (user_id, video_id, bucket) DO UPDATE
        SET views = activity.views + EXCLUDED.views, points = activity.points + EXCLUDED.points;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_view AFTER INSERT OR UPDATE ON video_view_log FOR EACH ROW EXECUTE FUNCTION note_view();

CREATE FUNCTION note_progress() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    completed integer := CASE WHEN NEW.completed_at IS NULL THEN 0 ELSE 1 END;
    watched   numeric := NEW.watched_seconds;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        completed := completed - CASE WHEN OLD.completed_at IS NULL THEN 0 ELSE 1 END;
        watched := watched - OLD.watched_seconds;
    END IF;
    IF completed <> 0 OR watched <> 0 THEN
        INSERT INTO activity (user_id, video_id, bucket, corporation_id, completions, seconds)
        SELECT NEW.user_id, NEW.video_id, quarter_of_an_hour(NEW.reported_at), v.corporation_id, completed, watched
        FROM video v WHERE v.seq = NEW.video_id
        ON CONFLICT (user_id, video_id, bucket) DO UPDATE
        SET completions = activity.completions + EXCLUDED.completions, seconds = activity.seconds + EXCLUDED.seconds;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_progress AFTER INSERT OR UPDATE ON video_progress FOR EACH ROW EXECUTE FUNCTION note_progress();

CREATE FUNCTION forget_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'corporation' THEN
        DELETE FROM activity_total WHERE kind IN ('corporation', 'day', 'week') AND subject = OLD.seq;
    ELSE
        DELETE FROM activity_total WHERE kind = TG_TABLE_NAME AND subject = OLD.seq;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_totals AFTER DELETE ON "user" FOR EACH ROW EXECUTE FUNCTION forget_totals();
CREATE TRIGGER forget_totals AFTER DELETE ON video FOR EACH ROW EXECUTE FUNCTION forget_totals();
CREATE TRIGGER forget_totals AFTER DELETE ON corporation FOR EACH ROW EXECUTE FUNCTION forget_totals();

-- What happened before this migration; the triggers' locks keep any view from falling between the two.
INSERT INTO activity (user_id, video_id, bucket, corporation_id, views, points)
SELECT l.user_id, l.video_id, quarter_of_an_hour(l.created_at), v.corporation_id, 1, l.point
FROM video_view_log l JOIN video v ON v.seq = l.video_id;
INSERT INTO activity (user_id, video_id, bucket, corporation_id, completions, seconds)
SELECT p.user_id, p.video_id, quarter_of_an_hour(p.reported_at), v.corporation_id, CASE WHEN p.completed_at IS NULL THEN 0 ELSE 1 END,
       p.watched_seconds
FROM video_progress p JOIN video v ON v.seq = p.video_id
ON CONFLICT (user_id, video_id, bucket) DO UPDATE SET completions = EXCLUDED.completions, seconds = EXCLUDED.seconds;
