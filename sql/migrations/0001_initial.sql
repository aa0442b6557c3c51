-- The five tables of the entity diagram, under its names, and one more that counts failed log-ins.
-- Deletion is soft everywhere: corporations and users carry deleted_at, videos the diagram's `deleted`.
-- Unique names and e-mail addresses are unique among the living only, hence partial indexes.

CREATE TABLE corporation (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    plan_type       text NOT NULL DEFAULT 'FREE' CHECK (plan_type IN ('FREE', 'PAID')),
    plan_expired_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    CONSTRAINT ck_corporation_free_never_expires CHECK (plan_type = 'PAID' OR plan_expired_at IS NULL)
);
CREATE UNIQUE INDEX uq_corporation_name ON corporation (name) WHERE deleted_at IS NULL;
-- The expiry job reads only what may be due; a FREE or an unlimited corporation costs it nothing.
CREATE INDEX ix_corporation_plan_expired_at ON corporation (plan_expired_at)
    WHERE plan_type = 'PAID' AND plan_expired_at IS NOT NULL;

CREATE TABLE "user" (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email          text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    password       text NOT NULL,
    role           text NOT NULL DEFAULT 'guest' CHECK (role IN ('admin', 'guest')),
    corporation_id bigint NOT NULL REFERENCES corporation (seq),
    point          bigint NOT NULL DEFAULT 0 CHECK (point >= 0),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    deleted_at     timestamptz
);
CREATE UNIQUE INDEX uq_user_email ON "user" (lower(email)) WHERE deleted_at IS NULL;
CREATE INDEX ix_user_corporation ON "user" (corporation_id, seq DESC) WHERE deleted_at IS NULL;

CREATE TABLE video (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    file_path      text NOT NULL CHECK (octet_length(file_path) BETWEEN 1 AND 1024),
    deleted        boolean NOT NULL DEFAULT false,
    corporation_id bigint NOT NULL REFERENCES corporation (seq),
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_video_live ON video (corporation_id, seq DESC) WHERE NOT deleted;
CREATE INDEX ix_video_deleted ON video (corporation_id, seq DESC) WHERE deleted;

CREATE TABLE video_view_log (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    video_id   bigint NOT NULL REFERENCES video (seq),
    user_id    bigint NOT NULL REFERENCES "user" (seq),
    point      integer NOT NULL DEFAULT 0 CHECK (point IN (0, 10)),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_user_video_once UNIQUE (user_id, video_id)
);
CREATE INDEX ix_video_view_log_user ON video_view_log (user_id, seq DESC);
CREATE INDEX ix_video_view_log_video ON video_view_log (video_id);

-- A family is the chain of refresh tokens that one log-in began. `token` is the SHA-256 of the token, in hex: who reads this table
-- cannot log in with what it holds. A rotated token keeps its row until it expires, so that its second use is recognised.
CREATE TABLE refresh_token (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token      text NOT NULL CONSTRAINT uq_refresh_token UNIQUE CHECK (char_length(token) = 64),
    user_id    bigint NOT NULL REFERENCES "user" (seq),
    family     uuid NOT NULL,
    expired_at timestamptz NOT NULL,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_refresh_token_user ON refresh_token (user_id, seq DESC);
CREATE INDEX ix_refresh_token_family ON refresh_token (family) WHERE revoked_at IS NULL;
CREATE INDEX ix_refresh_token_expired_at ON refresh_token (expired_at);

-- Failed log-ins within a window, by SHA-256 of what was tried (an address; an address and where it was tried from).
CREATE TABLE login_attempt (
    subject    text PRIMARY KEY CHECK (char_length(subject) = 64),
    failures   integer NOT NULL DEFAULT 1 CHECK (failures > 0),
    ends_at    timestamptz NOT NULL
);
CREATE INDEX ix_login_attempt_ends_at ON login_attempt (ends_at);
