-- As for videos (0006): the expression keeps a page of members to this index. Where PostgreSQL believes that a corporation has many members, it
-- takes the primary key, which has the plain order, and then reads through everybody's.
CREATE INDEX ix_user_page ON "user" (corporation_id, (seq + 0) DESC) WHERE deleted_at IS NULL;
DROP INDEX ix_user_corporation;
