// What is known of the images of the shelf, kept in the cache folder: a restart must not forget since
// when one is missing, nor raise an alarm about those that are there.
import { readFileSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { foldersIn, newTemporary } from '../../cache/disk/folder.ts'
import { accepts } from '../../config/values/accepts.ts'
import { Rows, type ShelfRow } from './schema.ts'

/** Its name in the cache folder. */
export const shelfFile = 'shelf.json'

/** What was found; `digest` stays where it is not known. */
export interface ShelfFacts {
  digest?: string
  missingSince: number | undefined
  problem: string | undefined
  checkedAt: number
}

export interface Ledger {
  rows: () => readonly ShelfRow[]
  /** In place of the rows of an entry; what it had of the same images is kept. */
  replace: (entry: string, rows: readonly ShelfRow[]) => void
  /** Only these entries are left. */
  retain: (entries: readonly string[]) => void
  update: (entry: string, image: string, facts: ShelfFacts) => void
  /** Resolves once all of it is written. */
  settled: () => Promise<void>
}

/** @param onProblem told where it cannot be written */
export function openLedger(dir: string, onProblem: (error: unknown) => void): Ledger {
  let rows: readonly ShelfRow[] = readShelf(dir)
  let writing: Promise<void> = Promise.resolve()
  let isDue = false

  function change(next: readonly ShelfRow[]): void {
    if (isDeepStrictEqual(next, rows)) return
    rows = next
    if (isDue) return
    isDue = true
    writing = writing.then(async () => {
      isDue = false
      await write(dir, rows).catch(onProblem)
    })
  }

  return {
    rows: () => rows,
    replace(entry, fresh) {
      const before = rows.filter((row) => row.entry === entry)
      const kept = fresh.map((row) => before.find(({ image }) => image === row.image) ?? row)
      change([...rows.filter((row) => row.entry !== entry), ...kept])
    },
    retain: (entries) => change(rows.filter(({ entry }) => entries.includes(entry))),
    update(entry, image, facts) {
      const isMeant = (row: ShelfRow) => row.entry === entry && row.image === image
      change(rows.map((row) => (isMeant(row) ? withFacts(row, facts) : row)))
    },
    settled: async () => writing,
  }
}

function withFacts(row: ShelfRow, { missingSince, problem, ...facts }: ShelfFacts): ShelfRow {
  const { entry, image, digest } = row
  return {
    entry,
    image,
    ...(digest !== undefined && { digest }),
    ...facts,
    ...(missingSince !== undefined && { missingSince }),
    ...(problem !== undefined && { problem }),
  }
}

/** What a gateway has written down last; nothing where there is nothing, or nothing of use. */
export function readShelf(dir: string): ShelfRow[] {
  try {
    const value: unknown = JSON.parse(readFileSync(fileIn(dir), 'utf8'))
    return accepts(Rows, value) ? (value as ShelfRow[]) : []
  } catch {
    return []
  }
}

async function write(dir: string, rows: readonly ShelfRow[]): Promise<void> {
  const temporary = newTemporary(foldersIn(dir))
  try {
    await writeFile(temporary, `${JSON.stringify(rows, undefined, 1)}\n`, { mode: 0o600 })
    await rename(temporary, fileIn(dir))
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined)
  }
}

function fileIn(dir: string): string {
  return join(dir, shelfFile)
}
