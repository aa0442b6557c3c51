-- Names and addresses are compared by a key that the functions compute (case folded, one Unicode form), never by lower(), which depends on
-- the server's locale. What stands already gets the nearest that SQL can do.
ALTER TABLE corporation ADD COLUMN name_key text;
UPDATE corporation SET name_key = normalize(lower(name), NFKC);
ALTER TABLE corporation ALTER COLUMN name_key SET NOT NULL;
DROP INDEX uq_corporation_name;
CREATE UNIQUE INDEX uq_corporation_name ON corporation (name_key) WHERE deleted_at IS NULL;

ALTER TABLE "user" ADD COLUMN email_key text;
UPDATE "user" SET email_key = normalize(lower(email), NFC);
ALTER TABLE "user" ALTER COLUMN email_key SET NOT NULL;
DROP INDEX uq_user_email;
CREATE UNIQUE INDEX uq_user_email ON "user" (email_key) WHERE deleted_at IS NULL;
-- The highest bcrypt cost that is stored: what a log-in to an unknown address costs too.
CREATE INDEX ix_user_password_cost ON "user" (substring(password, 5, 2)) WHERE deleted_at IS NULL;

-- "Log out everywhere" and a new password begin a new epoch; playback tokens of an earlier one are refused.
ALTER TABLE "user" ADD COLUMN epoch integer NOT NULL DEFAULT 0;

-- How many rotations a refresh token is away from its log-in, and when it was rotated itself (null: not yet, or only revoked).
ALTER TABLE refresh_token ADD COLUMN generation integer NOT NULL DEFAULT 0, ADD COLUMN rotated_at timestamptz;
CREATE INDEX ix_refresh_token_generation ON refresh_token (family, generation);
