-- The SQLite engine's statements, by name. The account's id leads every key of a table that grows with accounts.
--
-- A journal row is only ever appended, and names the account's row before it: an account's history is walked along
-- these links, and found anywhere through a milestone kept for every 256th record. An index over (account, number)
-- would dirty one page of the file for every record once the journal is large.
--
-- A commit appends the new states to `recent`; every few thousand records they are folded into `holding`, an account's
-- own row, a piece with each commit, in the order of the rows. Writing each commit's own rows at once would dirty a page
-- of the file for every account of the batch.
--
-- SQLite has no checksums in its pages, so every row that is served carries one over its other columns, in their order,
-- that says whether the disk gave back what was written. Against people there is the chain of digests.
--
-- What stands before "times" is repeated, so that one step serves many rows: at every step the driver gives up the
-- interpreter's lock, and a writer that takes a step for each row waits for the event loop as often.

-- Pages are small, because folding the states of scattered accounts writes a whole page for each.

-- name: pragmas
PRAGMA page_size = 2048;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = 65536;
PRAGMA cache_size = -65536;
PRAGMA temp_store = MEMORY;
PRAGMA foreign_keys = ON;

-- name: schema
CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asset (
    name  TEXT PRIMARY KEY,
    scale INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS account (
    id               BLOB PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    portfolio_margin INTEGER NOT NULL,
    created          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- state is JSON: [portfolio_margin, number, timestamp, digest, {quota: [since, used]},
-- {asset: [um, cm, margin_free, margin_locked, borrowed, interest, outside, market, version, updated]},
-- [auto_repay, auto_collection, interest_day, {position: [amount, entry_price, leverage, updated]}] or null]
CREATE TABLE IF NOT EXISTS holding (
    account BLOB PRIMARY KEY REFERENCES account (id),
    head    INTEGER NOT NULL,
    state   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    sequence  INTEGER PRIMARY KEY,
    account   BLOB NOT NULL,
    number    INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    previous  INTEGER NOT NULL,
    body      TEXT NOT NULL,
    digest    BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS milestone (
    account   BLOB NOT NULL,
    number    INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    PRIMARY KEY (account, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS api_key (
    account     BLOB NOT NULL REFERENCES account (id),
    api_key     TEXT NOT NULL UNIQUE,
    algorithm   TEXT NOT NULL,
    material    BLOB NOT NULL,
    permissions TEXT NOT NULL,
    ip_allow    TEXT NOT NULL,
    created     INTEGER NOT NULL,
    revoked     INTEGER NOT NULL,
    PRIMARY KEY (account, api_key)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO meta (name, value) VALUES ('schema_version', '1'), ('keys_version', '0');

-- name: upgrade_2
CREATE TABLE recent (
    sequence INTEGER PRIMARY KEY,
    account  BLOB NOT NULL,
    state    TEXT NOT NULL
) STRICT;

-- name: upgrade_3
ALTER TABLE account ADD COLUMN checksum INTEGER;
ALTER TABLE api_key ADD COLUMN checksum INTEGER;
ALTER TABLE asset ADD COLUMN checksum INTEGER;
ALTER TABLE holding ADD COLUMN checksum INTEGER;
ALTER TABLE journal ADD COLUMN checksum INTEGER;
ALTER TABLE milestone ADD COLUMN checksum INTEGER;
ALTER TABLE recent ADD COLUMN checksum INTEGER;
UPDATE account SET checksum = checksum(id, name, portfolio_margin, created);
UPDATE api_key
SET checksum = checksum(account, api_key, algorithm, material, permissions, ip_allow, created, revoked);
UPDATE asset SET checksum = checksum(name, scale);
UPDATE holding SET checksum = checksum(account, head, state);
UPDATE journal SET checksum = checksum(sequence, account, number, timestamp, previous, body, digest);
UPDATE milestone SET checksum = checksum(account, number, timestamp, sequence);
UPDATE recent SET checksum = checksum(account, sequence, state);

-- name: upgrade_4
CREATE TABLE note (
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    text     TEXT NOT NULL,
    expires  INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('notes_version', '0');

-- name: set_schema_version
UPDATE meta SET value = :version WHERE name = 'schema_version';

-- name: meta
SELECT value FROM meta WHERE name = :name;

-- name: add_meta
INSERT OR IGNORE INTO meta (name, value) VALUES (:name, :value);

-- name: bump_keys_version
UPDATE meta SET value = value + 1 WHERE name = 'keys_version';

-- name: bump_notes_version
UPDATE meta SET value = value + 1 WHERE name = 'notes_version';

-- name: put_note
INSERT OR REPLACE INTO note (kind, name, text, expires, checksum) VALUES (?, ?, ?, ?, ?);

-- name: note
SELECT kind, name, text, expires, checksum FROM note WHERE kind = ? AND name = ?;

-- name: notes
SELECT kind, name, text, expires, checksum FROM note WHERE kind = ? ORDER BY name;

-- name: drop_note
DELETE FROM note WHERE kind = ? AND name = ?;

-- name: drop_expired_notes
DELETE FROM note WHERE kind = ? AND expires > 0 AND expires <= ?;

-- name: add_asset
INSERT OR IGNORE INTO asset (name, scale, checksum) VALUES (?, ?, ?);

-- name: assets
SELECT name, scale, checksum FROM asset;

-- name: newest
SELECT coalesce((SELECT max(sequence) FROM journal), 0), coalesce((SELECT min(sequence) FROM recent), 0);

-- name: last_sequence
SELECT coalesce(max(sequence), 0) FROM journal;

-- name: recent_after
SELECT account, sequence, state, checksum FROM recent WHERE sequence > ? ORDER BY sequence;

-- name: load_recent
SELECT account, sequence, state, checksum FROM recent
WHERE sequence IN (? /* times */);

-- name: load_held
SELECT account, head, state, checksum FROM holding
WHERE account IN (? /* times */);

-- name: append
INSERT INTO journal (sequence, account, number, timestamp, previous, body, digest, checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) /* times */;

-- name: append_milestone
INSERT INTO milestone (account, number, timestamp, sequence, checksum) VALUES (?, ?, ?, ?, ?) /* times */;

-- name: append_recent
INSERT INTO recent (account, sequence, state, checksum) VALUES (?, ?, ?, ?) /* times */;

-- name: fold
INSERT INTO holding (account, head, state, checksum)
SELECT account, max(sequence), state, checksum FROM recent WHERE true GROUP BY account
ON CONFLICT (account) DO UPDATE SET head = excluded.head, state = excluded.state, checksum = excluded.checksum;

-- name: forget_recent
DELETE FROM recent;

-- name: fold_some
INSERT INTO holding (account, head, state, checksum)
SELECT account, sequence, state, checksum FROM recent WHERE sequence IN (? /* times */)
ON CONFLICT (account) DO UPDATE SET head = excluded.head, state = excluded.state, checksum = excluded.checksum
WHERE excluded.head > holding.head;

-- name: forget_recent_until
DELETE FROM recent WHERE sequence <= ?;

-- name: tail
SELECT sequence, account, number, timestamp, previous, body, digest, checksum FROM journal
WHERE sequence > :after ORDER BY sequence LIMIT :limit;

-- name: tail_of_share
SELECT sequence, account, number, timestamp, previous, body, digest, checksum FROM journal
WHERE sequence > :after AND ifnull(substr(account, -1), x'') BETWEEN :first AND :last ORDER BY sequence LIMIT :limit;

-- name: touched
-- A body begins {"command":{"type":" and the command's name: cut out, for that is ten times as fast as reading it.
SELECT DISTINCT account FROM journal
WHERE sequence > :after AND sequence <= :until
AND substr(body, 21, instr(substr(body, 21, 40), '"') - 1) NOT IN (SELECT value FROM json_each(:but));

-- name: head
SELECT head FROM holding WHERE account = :account;

-- name: milestone_at_or_over
SELECT account, number, timestamp, sequence, checksum FROM milestone WHERE account = :account AND number >= :number ORDER BY number LIMIT 1;

-- name: last_milestone_before
SELECT account, number, timestamp, sequence, checksum FROM milestone WHERE account = :account AND number >= :number AND timestamp < :time
ORDER BY number DESC LIMIT 1;

-- name: milestone_after_time
SELECT account, number, timestamp, sequence, checksum FROM milestone WHERE account = :account AND timestamp > :time ORDER BY number LIMIT 1;

-- name: walk
WITH RECURSIVE walk (sequence, account, number, timestamp, previous, body, digest, checksum) AS (
    SELECT sequence, account, number, timestamp, previous, body, digest, checksum FROM journal WHERE sequence = :from
    UNION ALL
    SELECT j.sequence, j.account, j.number, j.timestamp, j.previous, j.body, j.digest, j.checksum
    FROM walk JOIN journal AS j ON j.sequence = walk.previous
    WHERE walk.timestamp >= :since AND walk.number > :over + 1
)
SELECT sequence, account, number, timestamp, previous, body, digest, checksum FROM walk;

-- name: count_uses
WITH RECURSIVE walk (timestamp, previous, body) AS (
    SELECT timestamp, previous, body FROM journal WHERE sequence = :from
    UNION ALL
    SELECT j.timestamp, j.previous, j.body FROM walk JOIN journal AS j ON j.sequence = walk.previous
    WHERE walk.timestamp >= :since
)
SELECT count(*), min(timestamp) FROM walk
WHERE timestamp >= :since AND CASE json_extract(body, '$.command.type')
    WHEN 'AutoCollection' THEN json_extract(body, '$.command.trigger')
    WHEN 'BnbTransfer' THEN iif(json_extract(body, '$.command.pro'), 'BNB_TRANSFER_PRO', 'BNB_TRANSFER')
    WHEN 'SetAutoRepay' THEN 'AUTO_REPAY'
END IN (SELECT value FROM json_each(:uses));

-- name: add_account
INSERT OR IGNORE INTO account (id, name, portfolio_margin, created, checksum) VALUES (?, ?, ?, ?, ?);

-- name: add_state
INSERT INTO holding (account, head, state, checksum) VALUES (?, ?, ?, ?);

-- name: account
SELECT id, name, portfolio_margin, created, checksum FROM account WHERE id = :id;

-- name: account_named
SELECT id, name, portfolio_margin, created, checksum FROM account WHERE name = :name;

-- name: accounts
SELECT id, name, portfolio_margin, created, checksum FROM account WHERE id > :after ORDER BY id LIMIT :limit;

-- name: accounts_before
SELECT id, name, portfolio_margin, created, checksum FROM account WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: count
SELECT (SELECT count(*) FROM account), (SELECT count(*) FROM api_key WHERE revoked = 0);

-- name: add_key
INSERT OR IGNORE INTO api_key
    (account, api_key, algorithm, material, permissions, ip_allow, created, revoked, checksum)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: key
SELECT account, api_key, algorithm, material, permissions, ip_allow, created, revoked, checksum FROM api_key
WHERE api_key = :api_key;

-- name: keys
SELECT account, api_key, algorithm, material, permissions, ip_allow, created, revoked, checksum FROM api_key
WHERE account = :account ORDER BY api_key;

-- name: revoke_key
UPDATE api_key SET revoked = ?, checksum = ? WHERE account = ? AND api_key = ?;

-- The file of requests beside the store has its own write lock, waits for no disk, and is made anew when it is damaged.

-- name: pragmas_of_requests
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;

-- name: schema_of_requests
CREATE TABLE request (
    id         INTEGER PRIMARY KEY,
    account    BLOB NOT NULL,
    time       INTEGER NOT NULL,
    key        TEXT NOT NULL,
    address    TEXT NOT NULL,
    method     TEXT NOT NULL,
    path       TEXT NOT NULL,
    parameters TEXT NOT NULL,
    weight     INTEGER NOT NULL,
    status     INTEGER NOT NULL,
    code       INTEGER NOT NULL,
    took       INTEGER NOT NULL,
    record     INTEGER NOT NULL,
    left_out   INTEGER NOT NULL
) STRICT;
CREATE INDEX request_of_account ON request (account, id);
CREATE INDEX request_after_others ON request (id, left_out) WHERE left_out > 0;

-- name: append_requests
INSERT INTO request (account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) /* times */;

-- name: requests
SELECT id, account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out FROM request
WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: requests_of_account
SELECT id, account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out FROM request
WHERE account = :account AND id < :before ORDER BY id DESC LIMIT :limit;

-- name: request_of_record
SELECT id, account, time, key, address, method, path, parameters, weight, status, code, took, record, left_out FROM request
WHERE account = :account AND record = :record ORDER BY id DESC LIMIT 1;

-- name: requests_left_out
SELECT coalesce(sum(left_out), 0) FROM request WHERE id >= :since AND id < :before AND left_out > 0;

-- name: last_request
SELECT coalesce(max(id), 0) FROM request;

-- name: prune_requests_of_account
DELETE FROM request WHERE account = :account
AND id <= (SELECT id FROM request WHERE account = :account ORDER BY id DESC LIMIT 1 OFFSET :kept);

-- name: prune_requests
DELETE FROM request WHERE id <= (SELECT id FROM request ORDER BY id DESC LIMIT 1 OFFSET :kept);

-- Ids grow with time, as far as servers agree on it: the first one that is young enough ends the search. The newest one
-- is never forgotten: the next ids come after it.

-- name: prune_old_requests
DELETE FROM request WHERE id < coalesce(
    (SELECT id FROM request WHERE time >= :before ORDER BY id LIMIT 1), (SELECT max(id) FROM request)
);
