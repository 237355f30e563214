-- The PostgreSQL engine's statements, by name. They are written so that the tables can be spread over several machines
-- by the account's id: it leads every key and stands in every WHERE, except where a line says "across accounts"; ids
-- are made by us; there are no triggers and no functions; no INSERT stands in a CTE; no FOR UPDATE on what grows with
-- accounts; many rows are written by COPY, from arrays, or as VALUES.
--
-- What stands before "times" is repeated, so that one statement serves many rows.
--
-- A journal row knows its batch and its place in it. The batch's row, written as the last thing before the commit, has
-- the sequence of its first record: so the one lock that all writers share, the row in `turn`, is held for the commit
-- alone, and who sees a batch sees all batches before it. That row is locked and never changed: a counter in its place
-- would leave a dead version at every commit, and slow all of them down for as long as a backup keeps those alive.
--
-- An account's numbers have no gap and its times never fall with them: a time is found by halving, without an index.

-- name: schema
CREATE TABLE meta (
    name  text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);
CREATE TABLE asset (
    name  text COLLATE "C" PRIMARY KEY,
    scale integer NOT NULL
);
CREATE TABLE account (
    id               bytea PRIMARY KEY,
    name             text COLLATE "C" NOT NULL,
    portfolio_margin boolean NOT NULL,
    created          bigint NOT NULL
);
CREATE TABLE name_of_account (
    name    text COLLATE "C" PRIMARY KEY,
    account bytea NOT NULL
);
-- version counts the transactions that locked the account. state is JSON:
-- [portfolio_margin, number, timestamp, digest, {quota: [since, used]},
-- {asset: [um, cm, margin_free, margin_locked, borrowed, interest, outside, market, version, updated]},
-- [auto_repay, auto_collection, interest_day, {position: [amount, entry_price, leverage, updated]}] or null]
-- A reference to account would be checked at every write, because the row was locked by the same transaction: a sixth
-- of the time of a batch. Half of each page is left free, so that a row finds room for its next version beside it.
CREATE TABLE holding (
    account bytea PRIMARY KEY,
    version bigint NOT NULL,
    state   text NOT NULL
) WITH (fillfactor = 50);
-- trigger says what the command counts as for a quota: an auto-collection's trigger, another's own name, or nothing.
CREATE TABLE journal (
    account   bytea NOT NULL,
    number    bigint NOT NULL,
    timestamp bigint NOT NULL,
    trigger   text NOT NULL,
    batch     bytea NOT NULL,
    place     integer NOT NULL,
    body      text NOT NULL,
    digest    bytea NOT NULL,
    PRIMARY KEY (account, number)
);
CREATE INDEX journal_of_batch ON journal (batch);
CREATE TABLE batch (
    last  bigint PRIMARY KEY,
    first bigint NOT NULL,
    id    bytea NOT NULL UNIQUE
);
CREATE TABLE turn (
    whose text NOT NULL
);
CREATE TABLE api_key (
    account     bytea NOT NULL REFERENCES account (id),
    api_key     text COLLATE "C" NOT NULL,
    algorithm   text NOT NULL,
    material    bytea NOT NULL,
    permissions text NOT NULL,
    ip_allow    text NOT NULL,
    created     bigint NOT NULL,
    revoked     bigint NOT NULL,
    PRIMARY KEY (account, api_key)
);
CREATE TABLE key_of_account (
    api_key text COLLATE "C" PRIMARY KEY,
    account bytea NOT NULL
);
INSERT INTO meta (name, value) VALUES ('schema_version', '1'), ('keys_version', '0');
INSERT INTO turn (whose) VALUES ('of the transaction that commits');

-- name: upgrade_2
CREATE TABLE note (
    kind    text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    text    text NOT NULL,
    expires bigint NOT NULL,
    PRIMARY KEY (kind, name)
);
INSERT INTO meta (name, value) VALUES ('notes_version', '0');

-- The last requests, an aid: after a crash the table is empty, and no commit waits for it. On a cluster it stays on the
-- coordinator.

-- name: upgrade_3
CREATE UNLOGGED TABLE request (
    id         bigint PRIMARY KEY,
    account    bytea NOT NULL,
    time       bigint NOT NULL,
    key        text NOT NULL,
    address    text NOT NULL,
    method     text NOT NULL,
    path       text NOT NULL,
    parameters text NOT NULL,
    weight     bigint NOT NULL,
    status     integer NOT NULL,
    code       integer NOT NULL,
    took       bigint NOT NULL,
    record     bigint NOT NULL,
    left_out   bigint NOT NULL
);
CREATE INDEX request_of_account ON request (account, id);
CREATE INDEX request_after_others ON request (id, left_out) WHERE left_out > 0;

-- The tables spread over the machines of a Citus cluster, each account's rows together. What orders commits stays on the
-- coordinator. Names and keys are found by their own text, so they lie wherever that is; they are looked up, never joined.
--
-- The cluster must know that `batch` is written to: else it has a worker that is the only one in a batch commit by itself,
-- before the coordinator does, and a coordinator that dies between the two leaves records without their batch. So every
-- batch is prepared on its workers, committed on the coordinator, and then on them.

-- name: distribute
SELECT create_distributed_table('account', 'id', colocate_with => 'none');
SELECT create_distributed_table('holding', 'account', colocate_with => 'account');
SELECT create_distributed_table('journal', 'account', colocate_with => 'account');
SELECT create_distributed_table('api_key', 'account', colocate_with => 'account');
SELECT create_distributed_table('name_of_account', 'name', colocate_with => 'none');
SELECT create_distributed_table('key_of_account', 'api_key', colocate_with => 'name_of_account');
SELECT create_reference_table('asset');
SELECT create_reference_table('meta');
SELECT create_reference_table('note');
SELECT citus_add_local_table_to_metadata('batch');

-- name: distributed
SELECT partmethod <> 'n' FROM pg_catalog.pg_dist_partition WHERE logicalrelid = 'journal'::regclass;

-- name: has_citus
SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'citus';

-- A commit that was answered is on the disk. On a cluster, a plan is made for the accounts of each call, because it says
-- which machines are asked; and an UPDATE goes from shard to shard of a machine, so that every writer locks in the same
-- order there. Two machines are asked at once: a circle over both is found by the cluster, and its batch tried again. The
-- driver asks for types once a connection, which takes half a second where tables are looked through for shards to hide.

-- name: make_ready
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';

-- name: make_ready_for_machines
SELECT set_config('plan_cache_mode', 'force_custom_plan', false),
    set_config('citus.multi_shard_modify_mode', 'sequential', false),
    set_config('citus.show_shards_for_app_name_prefixes', '*', false)
FROM pg_catalog.pg_extension WHERE extname = 'citus';

-- name: one_at_a_time
SELECT pg_advisory_xact_lock($1);

-- name: tables
SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = current_schema();

-- name: set_schema_version
UPDATE meta SET value = $1 WHERE name = 'schema_version';

-- name: meta
SELECT value FROM meta WHERE name = $1;

-- name: add_meta
INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;

-- name: bump_keys_version
UPDATE meta SET value = (value::bigint + 1)::text WHERE name = 'keys_version';

-- name: bump_notes_version
UPDATE meta SET value = (value::bigint + 1)::text WHERE name = 'notes_version';

-- name: put_note
INSERT INTO note (kind, name, text, expires) VALUES ($1, $2, $3, $4)
ON CONFLICT (kind, name) DO UPDATE SET text = excluded.text, expires = excluded.expires;

-- name: add_note
INSERT INTO note (kind, name, text, expires) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, name) DO NOTHING;

-- name: note
SELECT kind, name, text, expires FROM note WHERE kind = $1 AND name = $2;

-- name: notes
SELECT kind, name, text, expires FROM note WHERE kind = $1 ORDER BY name;

-- name: drop_note
DELETE FROM note WHERE kind = $1 AND name = $2 AND (expires = 0 OR expires > $3);

-- name: drop_expired_notes
DELETE FROM note WHERE kind = $1 AND expires > 0 AND expires <= $2;

-- name: add_asset
INSERT INTO asset (name, scale) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;

-- name: assets
SELECT name, scale FROM asset;

-- Locks the accounts, in the order of their ids as long as the key's index is walked; see the settings of a connection.

-- name: lock
UPDATE holding SET version = version + 1 WHERE account = ANY ($1) RETURNING account, version, state;

-- name: load
SELECT account, state FROM holding WHERE account = ANY ($1);

-- name: keep_states
UPDATE holding SET state = new.state
FROM unnest($1::bytea[], $2::bigint[], $3::text[]) AS new (account, version, state)
WHERE holding.account = new.account AND holding.version = new.version;

-- name: take_turn
SELECT whose FROM turn FOR UPDATE;

-- name: end_batch
INSERT INTO batch (last, first, id)
SELECT coalesce(max(last), 0) + $1, coalesce(max(last), 0) + 1, $2 FROM batch RETURNING first;

-- name: batch_landed
SELECT last FROM batch WHERE id = $1;

-- name: newest
SELECT coalesce(max(last), 0) FROM batch;

-- name: batches_between
SELECT id, first, last FROM batch WHERE last > $1 AND last <= $2
UNION ALL
(SELECT id, first, last FROM batch WHERE last > $2 ORDER BY last LIMIT 1);

-- name: batches
SELECT id, first FROM batch WHERE id = ANY ($1);

-- name: tail
-- across accounts: the tail is the journal of all of them
SELECT batch, place, account, number, timestamp, body, digest FROM journal
WHERE batch = ANY ($1) AND (batch <> $2 OR place >= $3::bigint) AND (batch <> $4 OR place <= $5::bigint)
AND get_byte(account, length(account) - 1) BETWEEN $6 AND $7;

-- name: touched
-- across accounts: it looks for accounts. A body begins {"command":{"type":" and the command's name.
SELECT DISTINCT account FROM journal WHERE batch = ANY ($1) AND split_part(left(body, 60), '"', 6) <> ALL ($2);

-- name: rows_of_batches
-- across accounts: it counts what the tail will read
SELECT count(*) FROM journal WHERE batch = ANY ($1);

-- name: commits_to_tell
SELECT gid FROM pg_catalog.pg_dist_transaction;

-- name: first_at
WITH RECURSIVE search (low, high) AS (
    SELECT 1::bigint, coalesce((SELECT max(number) FROM journal WHERE account = $1), 0) + 1
    UNION ALL
    SELECT
        CASE WHEN middle.timestamp < $2 THEN middle.number + 1 ELSE low END,
        CASE WHEN middle.timestamp < $2 THEN high ELSE middle.number END
    FROM search JOIN journal AS middle ON middle.account = $1 AND middle.number = (low + high) / 2
    WHERE low < high
)
SELECT max(low) FROM search;

-- name: newest_first
SELECT batch, place, account, number, timestamp, body, digest FROM journal
WHERE account = $1 AND number >= $2 AND number <= $3 ORDER BY number DESC LIMIT $4;

-- name: oldest_first
SELECT batch, place, account, number, timestamp, body, digest FROM journal
WHERE account = $1 AND number >= $2 AND number <= $3 ORDER BY number LIMIT $4;

-- name: count_uses
WITH RECURSIVE search (low, high) AS (
    SELECT 1::bigint, coalesce((SELECT max(number) FROM journal WHERE account = $1), 0) + 1
    UNION ALL
    SELECT
        CASE WHEN middle.timestamp < $2 THEN middle.number + 1 ELSE low END,
        CASE WHEN middle.timestamp < $2 THEN high ELSE middle.number END
    FROM search JOIN journal AS middle ON middle.account = $1 AND middle.number = (low + high) / 2
    WHERE low < high
)
SELECT count(*), min(timestamp) FROM journal
WHERE account = $1 AND number >= (SELECT max(low) FROM search) AND trigger = ANY ($3);

-- name: take_name
INSERT INTO name_of_account (name, account) VALUES ($1, $2) /* times */ ON CONFLICT (name) DO NOTHING;

-- name: add_account
INSERT INTO account (id, name, portfolio_margin, created) VALUES ($1, $2, $3, $4) /* times */ ON CONFLICT (id) DO NOTHING;

-- name: add_state
INSERT INTO holding (account, version, state) VALUES ($1, $2, $3) /* times */;

-- name: account
SELECT id, name, portfolio_margin, created FROM account WHERE id = $1;

-- name: account_named
SELECT account FROM name_of_account WHERE name = $1;

-- name: accounts
-- across accounts: it lists them
SELECT id, name, portfolio_margin, created FROM account WHERE id > $1 ORDER BY id LIMIT $2;

-- name: accounts_before
-- across accounts: it lists them
SELECT id, name, portfolio_margin, created FROM account WHERE id < $1 ORDER BY id DESC LIMIT $2;

-- name: take_key
INSERT INTO key_of_account (api_key, account) VALUES ($1, $2) /* times */ ON CONFLICT (api_key) DO NOTHING;

-- name: add_key
INSERT INTO api_key (account, api_key, algorithm, material, permissions, ip_allow, created, revoked)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) /* times */;

-- name: holder_of_key
SELECT account FROM key_of_account WHERE api_key = $1;

-- name: key
SELECT account, api_key, algorithm, material, permissions, ip_allow, created, revoked FROM api_key
WHERE account = $1 AND api_key = $2;

-- name: keys
SELECT account, api_key, algorithm, material, permissions, ip_allow, created, revoked FROM api_key
WHERE account = $1 ORDER BY api_key;

-- name: revoke_key
UPDATE api_key SET revoked = $3 WHERE account = $1 AND api_key = $2 AND revoked = 0;

-- name: count
-- across accounts: it counts them
SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM api_key WHERE revoked = 0);

-- The requests of all servers take turns, so that who has seen an id has seen all before it. The
-- newest one is never forgotten: the next ids come after it.

-- name: add_requests
INSERT INTO request (id, account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out)
SELECT
    (SELECT coalesce(max(id), 0) FROM request) + place,
    account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out
FROM unnest(
    $1::bytea[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::bigint[], $9::integer[], $10::integer[], $11::bigint[], $12::bigint[], $13::bigint[]
) WITH ORDINALITY
    AS new (account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out, place);

-- name: requests
SELECT id, account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out FROM request
WHERE id < $1 ORDER BY id DESC LIMIT $2;

-- name: requests_of_account
SELECT id, account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out FROM request
WHERE account = $3 AND id < $1 ORDER BY id DESC LIMIT $2;

-- name: request_of_record
SELECT id, account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out FROM request
WHERE account = $1 AND record = $2 ORDER BY id DESC LIMIT 1;

-- name: requests_left_out
SELECT coalesce(sum(left_out), 0) FROM request WHERE id >= $1 AND id < $2 AND left_out > 0;

-- name: last_request
SELECT coalesce(max(id), 0) FROM request;

-- name: prune_requests_of_account
DELETE FROM request WHERE account = $1
AND id <= (SELECT id FROM request WHERE account = $1 ORDER BY id DESC LIMIT 1 OFFSET $2);

-- name: prune_requests
DELETE FROM request WHERE id <= (SELECT id FROM request ORDER BY id DESC LIMIT 1 OFFSET $1);

-- name: prune_old_requests
DELETE FROM request WHERE id < coalesce(
    (SELECT id FROM request WHERE time >= $1 ORDER BY id LIMIT 1), (SELECT max(id) FROM request)
);
