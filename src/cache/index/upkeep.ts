// What SQLite itself keeps up to date, whichever process writes: sums, and which content stands by itself.
//
// `content.root` is 0 below a stored manifest that refers to it, 1 where nothing stored does (an image
// or an orphan: it may go), 2 where it may not, because it is pinned or refers to what is.

/** The digest in `column`, and the digests of manifests whose bytes it names, which may be another. */
function namesOf(column: string): string {
  return `(SELECT ${column} UNION ALL SELECT parent FROM edge WHERE child = ${column} AND kind = 'signed')`
}

/** The digest `value`, and that of the bytes of the manifest that it names. */
function bytesOf(value: string): string {
  return `SELECT ${value} UNION ALL SELECT child FROM edge WHERE parent = ${value} AND kind = 'signed'`
}

/** Of the row of `content` that is updated. */
const rootNow = `CASE
  WHEN EXISTS (SELECT 1 FROM pin) AND (
    EXISTS (SELECT 1 FROM pin WHERE reference IN ${namesOf('content.digest')})
    OR EXISTS (SELECT 1 FROM tag CROSS JOIN pin ON pin.upstream = tag.upstream
      AND pin.repository = tag.repository AND pin.reference = tag.name
      WHERE tag.digest IN ${namesOf('content.digest')})) THEN 2
  WHEN EXISTS (SELECT 1 FROM edge CROSS JOIN content AS above ON above.digest = edge.parent
    WHERE edge.child = content.digest AND edge.kind = 'child') THEN 0
  ELSE 1 END`

function judge(digests: string): string {
  return `UPDATE content SET root = ${rootNow} WHERE digest IN (${digests});`
}

function childrenOf(parent: string): string {
  return `SELECT child FROM edge WHERE parent = ${parent} AND kind = 'child'`
}

function taggedBy(row: string): string {
  return `SELECT digest FROM tag WHERE upstream = ${row}.upstream
    AND repository = ${row}.repository AND name = ${row}.reference`
}

function pinnedBy(row: string): string {
  const digests = `SELECT ${row}.reference UNION ALL ${taggedBy(row)}`
  return `${digests} UNION ALL SELECT child FROM edge WHERE kind = 'signed' AND parent IN (${digests})`
}

const triggers: Record<string, string> = {
  'content_added AFTER INSERT ON content': `
    UPDATE holding SET bytes = bytes + NEW.size, entries = entries + 1;
    ${judge('NEW.digest')} ${judge(childrenOf('NEW.digest'))}`,
  'content_resized AFTER UPDATE OF size ON content': `
    UPDATE holding SET bytes = bytes + NEW.size - OLD.size;`,
  'content_dropped AFTER DELETE ON content': `
    UPDATE holding SET bytes = bytes - OLD.size, entries = entries - 1;
    ${judge(childrenOf('OLD.digest'))}`,
  "edge_added AFTER INSERT ON edge WHEN NEW.kind <> 'subject'": judge('NEW.child'),
  'tag_set AFTER INSERT ON tag': judge(bytesOf('NEW.digest')),
  'tag_moved AFTER UPDATE OF digest ON tag WHEN NEW.digest <> OLD.digest':
    judge(bytesOf('OLD.digest')) + judge(bytesOf('NEW.digest')),
  'tag_dropped AFTER DELETE ON tag': judge(bytesOf('OLD.digest')),
  'pin_set AFTER INSERT ON pin': judge(pinnedBy('NEW')),
  // What refers to pinned content stays with it: all of that is judged anew, when it is met.
  'pin_dropped AFTER DELETE ON pin': `
    ${judge(pinnedBy('OLD'))} UPDATE content SET root = ${rootNow} WHERE root = 2;`,
}

/** Where what a pin keeps is judged anew: its rows are few. */
const indexes = [
  'content_oldest ON content (accessed) WHERE root = 1',
  'content_kept ON content (root) WHERE root = 2',
  'pin_reference ON pin (reference)',
]

/** To be run once, when the tables are filled. */
export const upkeep = [
  ...indexes.map((index) => `CREATE INDEX IF NOT EXISTS ${index};`),
  'CREATE TABLE IF NOT EXISTS holding (bytes INTEGER NOT NULL, entries INTEGER NOT NULL) STRICT;',
  'DELETE FROM holding; INSERT INTO holding SELECT coalesce(sum(size), 0), count(*) FROM content;',
  `UPDATE content SET root = ${rootNow};`,
  ...Object.entries(triggers).map(
    ([head, body]) => `CREATE TRIGGER IF NOT EXISTS ${head} BEGIN ${body} END;`,
  ),
].join('\n')

/** From the tables of version 1, in a transaction. */
export const fromFirst = `
  ALTER TABLE content ADD COLUMN root INTEGER NOT NULL DEFAULT 1;
  INSERT OR IGNORE INTO edge SELECT signed.child, edge.child, edge.kind
    FROM edge AS signed JOIN edge ON edge.parent = signed.parent
    WHERE signed.kind = 'signed' AND edge.kind = 'child';
  ALTER TABLE pin RENAME TO old_pin;
  CREATE TABLE pin (upstream TEXT, repository TEXT, reference TEXT, owner TEXT,
    PRIMARY KEY (upstream, repository, reference, owner)) STRICT, WITHOUT ROWID;
  INSERT OR IGNORE INTO pin SELECT upstream, repository, digest, 'operator'
    FROM old_pin JOIN link USING (digest) WHERE kind = 'manifest';
  DROP TABLE old_pin;`
