// Reads the files of revocation lists while the gateway serves: in steps, and once for all listeners.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { parseSteps, type Crl } from './crl-parser.ts'
import { inTurns, type Steps, type Turn } from './steps.ts'

/** The lists in a file, read before; throws an Error that says what is wrong with them. */
export type KnownLists = (file: string) => readonly Crl[] | undefined

export interface CrlFiles {
  /** Reads `files`. What cannot even be opened is not known afterwards. */
  load: (files: readonly string[]) => Promise<KnownLists>
}

interface Known {
  digest: string
  lists: Promise<readonly Crl[]>
}

/** Bytes that are hashed in one turn. */
const hashed = 1024 * 1024

/** Remembers the lists of each file for as long as its content stays the same. */
export function createCrlFiles(turn?: Turn): CrlFiles {
  const known = new Map<string, Known>()

  async function read(file: string): Promise<Known['lists'] | undefined> {
    const content = await readFile(file).catch(() => undefined)
    if (content === undefined) return undefined
    const digest = await inTurns(digestSteps(content), turn)
    const before = known.get(file)
    if (before?.digest === digest) return before.lists
    const lists = inTurns(listSteps(content), turn)
    known.set(file, { digest, lists })
    return lists
  }

  return {
    async load(files) {
      const results = new Map<string, PromiseSettledResult<readonly Crl[] | undefined>>()
      for (const file of files) {
        const [result] = await Promise.allSettled([read(file)])
        results.set(file, result)
      }
      return (file) => {
        const result = results.get(file)
        if (result?.status === 'rejected') throw result.reason
        return result?.value
      }
    },
  }
}

function* digestSteps(content: Buffer): Steps<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < content.length; at += hashed) {
    hash.update(content.subarray(at, at + hashed))
    yield
  }
  return hash.digest('hex')
}

function* listSteps(content: Buffer): Steps<readonly Crl[]> {
  const lists = yield* parseSteps(content)
  for (const list of lists) yield* list.serialSteps()
  return lists
}
