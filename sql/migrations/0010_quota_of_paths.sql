-- What a corporation has taken of its quota, as 0006 says, and two things more. An upload whose time is over takes no room, whether or not the
-- schedule has run. On a FREE plan the file of a deleted video takes room again while another live video has it: `path_bytes` is what a video
-- that is pointed to `with_path` would take so. VOLATILE, so that its queries see what was committed while the calling statement waited for the
-- corporation's lock (PostgreSQL manual 36.7).
DROP FUNCTION quota_used(bigint, boolean);
CREATE FUNCTION quota_used(
    of_corporation bigint, paid boolean, with_path text DEFAULT NULL, OUT videos bigint, OUT bytes bigint, OUT path_bytes bigint
) LANGUAGE sql VOLATILE AS $$
    SELECT (SELECT count(*) FROM video v WHERE v.corporation_id = of_corporation AND NOT v.deleted)
         + (SELECT count(*) FROM video v WHERE v.corporation_id = of_corporation AND v.deleted AND paid)
         + (SELECT count(*) FROM upload u
            WHERE u.corporation_id = of_corporation AND u.status = 'open' AND NOT u.replaces AND u.expires_at > now()),
           (SELECT coalesce(sum(u.size), 0)::bigint FROM upload u
            WHERE u.corporation_id = of_corporation AND u.status = 'open' AND u.expires_at > now())
         + CASE WHEN paid THEN (
               SELECT coalesce(sum(u.size), 0)::bigint FROM upload u WHERE u.corporation_id = of_corporation AND u.status = 'complete'
           ) ELSE (
               SELECT coalesce(sum(u.size), 0)::bigint FROM upload u
               WHERE u.corporation_id = of_corporation AND u.status = 'complete' AND (
                   NOT EXISTS (SELECT FROM video v WHERE v.seq = u.video_id AND v.deleted)
                   OR u.file_path IN (SELECT v.file_path FROM video v WHERE v.corporation_id = of_corporation AND NOT v.deleted)
               )
           ) END,
           (SELECT coalesce(sum(u.size), 0)::bigint FROM upload u
            WHERE u.file_path = with_path AND u.corporation_id = of_corporation AND u.status = 'complete' AND NOT paid
              AND EXISTS (SELECT FROM video v WHERE v.seq = u.video_id AND v.deleted)
              AND NOT EXISTS (SELECT FROM video v WHERE v.corporation_id = of_corporation AND NOT v.deleted AND v.file_path = with_path))
$$;
