// A blob that fits into memory: answered once it is verified, stored behind the answer.
import { createHash } from 'node:crypto'
import { closeSync, fsync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Steps } from './steps.ts'

export function createTiny({ folder, upstream, has, log }: Steps) {
  const keep = createIndex(folder)
  const folders = Array.from({ length: 256 }, (_, number) => {
    const path = join(folder, 'blobs', number.toString(16).padStart(2, '0'))
    mkdirSync(path, { recursive: true })
    return { path, fd: openSync(path, 'r') }
  })
  let files = 0

  return (path: string, response: ServerResponse): void => {
    const chunks: Buffer[] = []
    upstream(path, {
      head: () => undefined,
      data: (chunk) => void chunks.push(Buffer.from(chunk)),
      end() {
        const bytes = Buffer.concat(chunks)
        const hex = path.slice(-64)
        if (has('hash')) {
          const digest = createHash('sha256').update(bytes).digest('hex')
          if (has('upstream') && digest !== hex) throw new Error(`${path} has other content`)
        }
        response.writeHead(200, { 'content-length': bytes.length }).end(bytes)
        if (has('log')) log(`${path} 200 ${bytes.length}`)
        if (has('file')) store(bytes, hex)
        else if (has('index')) keep(hex, bytes.length)
      },
    })
  }

  function store(bytes: Buffer, hex: string): void {
    const home = folders[parseInt(hex.slice(0, 2), 16)]
    if (home === undefined) throw new Error(`${hex} is no digest`)
    const temporary = join(folder, `temporary-${(files += 1)}`)
    const fd = openSync(temporary, 'wx')
    writeSync(fd, bytes)
    const synced = () => {
      closeSync(fd)
      renameSync(temporary, join(home.path, hex))
      if (has('sync')) fsync(home.fd, named)
      else named()
    }
    const named = () => void (has('index') && keep(hex, bytes.length))
    if (has('sync')) fsync(fd, synced)
    else synced()
  }
}

/** What there is, and which repository may have it. */
function createIndex(folder: string) {
  const sqlite = new DatabaseSync(join(folder, 'index.db'))
  sqlite.exec(`
    PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
    CREATE TABLE content (digest TEXT PRIMARY KEY, size INTEGER, mtime REAL) STRICT, WITHOUT ROWID;
    CREATE TABLE link (repository TEXT, digest TEXT, PRIMARY KEY (repository, digest))
      STRICT, WITHOUT ROWID;
  `)
  const content = sqlite.prepare('INSERT OR REPLACE INTO content VALUES (?, ?, ?)')
  const link = sqlite.prepare('INSERT OR REPLACE INTO link VALUES (?, ?)')
  return (hex: string, size: number) => {
    sqlite.exec('BEGIN IMMEDIATE')
    content.run(hex, size, Date.now())
    link.run('bench/app', hex)
    sqlite.exec('COMMIT')
  }
}
