-- The owner of these tables migrates. The functions are vms_app, which reads and writes rows and can do nothing else. Its password and its
-- time-outs are set by whoever migrates, at each run: a migration holds no secret.
DO $$
DECLARE
    database text := current_database();
    owner text := quote_ident(current_user);
BEGIN
    -- A role belongs to the whole server: another database may have brought it, or the snapshot that this one was restored from.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vms_app') THEN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)) THEN
            RAISE EXCEPTION 'the user % may not make the role vms_app: have an administrator run ALTER ROLE % CREATEROLE', owner, owner;
        END IF;
        BEGIN
            CREATE ROLE vms_app LOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- another database of this server made it at the same moment
        END;
    END IF;

    EXECUTE format('GRANT CONNECT ON DATABASE %I TO vms_app', database);
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, vms_app', database);
    GRANT USAGE ON SCHEMA public TO vms_app;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC, vms_app;  -- before PostgreSQL 15 everybody may create there
    -- Who owns neither can revoke nothing, of which PostgreSQL only warns.
    IF has_database_privilege('vms_app', database, 'CREATE') OR has_database_privilege('vms_app', database, 'TEMPORARY')
        OR has_schema_privilege('vms_app', 'public', 'CREATE') THEN
        RAISE EXCEPTION 'vms_app could create tables: have the owner of the database and of its schema public run '
            'REVOKE CREATE, TEMPORARY ON DATABASE % FROM PUBLIC, vms_app; GRANT CREATE ON SCHEMA public TO %; '
            'REVOKE CREATE ON SCHEMA public FROM PUBLIC, vms_app', quote_ident(database), owner;
    END IF;
END $$;

-- Keys come from identity columns, which want no right to their sequences.
GRANT SELECT, INSERT, UPDATE, DELETE ON
    corporation, "user", video, video_view_log, refresh_token, login_attempt, idempotency_key, stream_lease
TO vms_app;
REVOKE ALL ON schema_migration FROM vms_app;
-- And on each table that the owner makes here from now on.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO vms_app;
