-- Who streams now: a large stream holds one of its user's slots (1 to STREAMS_PER_USER) until it ends. After a crash the row stays, and
-- is free again at `expires_at`, the deadline of the function that held it. `lease` tells one holder of a slot from the next.
CREATE TABLE stream_lease (
    user_id    bigint NOT NULL REFERENCES "user" (seq),
    slot       integer NOT NULL CHECK (slot > 0),
    lease      uuid NOT NULL DEFAULT gen_random_uuid(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, slot)
);
