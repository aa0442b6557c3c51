-- What a request with an Idempotency-Key was answered, kept in the transaction of its change, to be given again for 24 hours.
-- `key` is the SHA-256 of who sent it and of the key, in hex. `fingerprint` is an HMAC-SHA256 of the route and the body, in hex, with the id
-- of the signing key it was made with: who reads this table cannot try passwords against it. `answer` is null only until the transaction ends.
CREATE TABLE idempotency_key (
    key         text PRIMARY KEY CHECK (char_length(key) = 64),
    fingerprint text NOT NULL,
    answer      text,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX ix_idempotency_key_expires_at ON idempotency_key (expires_at);
