-- The demo data of `make run`: two corporations with an admin, a guest and colleagues, and a few weeks in which they watched films.
-- The files, the posters and the password come from local/demo.py.
INSERT INTO corporation (name, name_key, plan_type, created_at)
SELECT name, lower(name), plan, now() - interval '30 days' FROM (VALUES ('Paid Pictures', 'PAID'), ('Free Films', 'FREE')) AS c (name, plan);

INSERT INTO "user" (email, email_key, password, role, corporation_id, created_at)
SELECT m.name || domain, m.name || domain, '-', CASE m.name WHEN 'admin' THEN 'admin' ELSE 'guest' END, c.seq, c.created_at
FROM corporation c, LATERAL (SELECT CASE c.plan_type WHEN 'PAID' THEN '@paid.example' ELSE '@free.example' END AS domain) d,
     unnest(ARRAY['admin', 'guest', 'amara', 'jisoo', 'lukas', 'minjun', 'sofia', 'yuki']) WITH ORDINALITY AS m (name, place)
ORDER BY c.seq, m.place;

INSERT INTO video (name, name_key, file_path, corporation_id, size, duration, width, height, content_type, browser_playable, created_at, updated_at)
SELECT f.name, lower(f.name), 'demo/' || f.file || '.mp4', c.seq, f.size, f.seconds, f.width, f.height, 'video/mp4', true, c.created_at, c.created_at
FROM corporation c, (VALUES
    (1, 'Colours and tones', 'colours', 404860, 12, 480, 270),
    (2, 'Into the fractal', 'zoom', 170972, 15, 320, 180),
    (3, 'Fire safety in a minute', 'dunes', 91766, 45, 480, 270),
    (4, '정보 보안의 기초', 'aurora', 114798, 60, 480, 270),
    (5, 'Welcome on board', 'dunes', 91766, 45, 480, 270)
) AS f (place, name, file, size, seconds, width, height)
ORDER BY c.seq, f.place;

-- Who saw which film when, and how much of it. The admin has seen nothing yet, the guest two films.
CREATE TEMPORARY TABLE seen AS
SELECT u.seq AS user_id, v.seq AS video_id,
       least(1.0, 0.25 * (1 + (u.place * 3 + v.place * 2) % 5)) * v.duration::numeric AS seconds, v.duration::numeric AS duration,
       now() - make_interval(days => ((u.place * 11 + v.place * 17) % 27)::int, hours => ((u.place * 5 + v.place * 3) % 9)::int) AS at
FROM (SELECT seq, corporation_id, row_number() OVER (PARTITION BY corporation_id ORDER BY seq) AS place FROM "user") u
JOIN (SELECT seq, corporation_id, duration, row_number() OVER (PARTITION BY corporation_id ORDER BY seq) AS place FROM video) v
  USING (corporation_id)
WHERE u.place > 2 AND (u.place * 7 + v.place * 3) % 10 < 7 OR u.place = 2 AND v.place IN (3, 5);

INSERT INTO video_view_log (video_id, user_id, point, created_at) SELECT video_id, user_id, 10, at FROM seen ORDER BY at;
UPDATE "user" u SET point = g.points FROM (SELECT user_id, sum(point) AS points FROM video_view_log GROUP BY user_id) g WHERE u.seq = g.user_id;
INSERT INTO video_progress (user_id, video_id, position, watched, watched_seconds, reported_at, completed_at)
SELECT user_id, video_id, seconds, nummultirange(numrange(0, seconds)), seconds, at, CASE WHEN seconds >= 0.9 * duration THEN at END FROM seen;
DROP TABLE seen;

-- One film in each recycle bin.
INSERT INTO video (name, name_key, file_path, corporation_id, size, duration, width, height, content_type, browser_playable, deleted,
                   created_at, updated_at)
SELECT 'Fire safety, the old one', 'fire safety, the old one', 'demo/dunes.mp4', seq, 91766, 45, 480, 270, 'video/mp4', true, true, created_at, now() - interval '9 days'
FROM corporation ORDER BY seq;
