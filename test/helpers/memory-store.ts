// An object store in memory, which passes the same tests as a real one: for what has to happen in between.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { mostAtOnce, type ObjectStore } from '../../src/cache/shared/object-store.ts'

export interface MemoryStore extends ObjectStore {
  objects: Map<string, { body: Buffer; modified: number }>
  /** Makes all that is there so much older, ms. */
  age: (ms: number) => void
  /** Is called before each request; what it throws is how that fails. */
  before: (method: string, key: string) => unknown
  /** This machine's clock is so much ahead, ms. */
  skew: number
  /** False: it writes whatever the condition is, as some stores do. */
  knowsConditions: boolean
}

export function createMemoryStore(): MemoryStore {
  const objects: MemoryStore['objects'] = new Map()
  const etagOf = (body: Buffer) => `"${createHash('md5').update(body).digest('hex')}"`
  const write = (key: string, body: Buffer) => {
    objects.set(key, { body: Buffer.from(body), modified: Date.now() - store.skew })
    return etagOf(body)
  }
  const store: MemoryStore = {
    objects,
    skew: 0,
    knowsConditions: true,
    before: () => undefined,
    age: (ms) => objects.forEach((object) => (object.modified -= ms)),
    name: 'memory',
    ahead: () => store.skew,
    async get(key, { from = 0, signal }) {
      await store.before('get', key)
      signal.throwIfAborted()
      const found = objects.get(key)
      if (found === undefined) return undefined
      const { body } = found
      async function* parts() {
        yield body.subarray(from)
      }
      return { size: body.length, etag: etagOf(body), body: parts() }
    },
    async size(key, signal) {
      await store.before('size', key)
      signal.throwIfAborted()
      return objects.get(key)?.body.length
    },
    async put(key, body, { ifAbsent, signal }) {
      await store.before('put', key)
      signal?.throwIfAborted()
      if (ifAbsent && objects.has(key) && store.knowsConditions) return false
      write(key, body)
      return true
    },
    async swap(key, body, etag) {
      await store.before('swap', key)
      const found = objects.get(key)
      const isOther = (found && etagOf(found.body)) !== etag
      if (isOther && store.knowsConditions) return undefined
      return write(key, body)
    },
    async putFile(key, { path }, signal) {
      await store.before('putFile', key)
      signal.throwIfAborted()
      if (!objects.has(key)) write(key, await readFile(path))
    },
    async move(key, target) {
      const found = objects.get(key)
      if (found !== undefined) objects.set(target, found)
      objects.delete(key)
    },
    remove: async (key) => void objects.delete(key),
    async removeAll(keys) {
      if (keys.length > mostAtOnce) throw new Error('MalformedXML')
      const kept = []
      for (const key of keys) {
        try {
          await store.before('remove', key)
          objects.delete(key)
        } catch (error) {
          kept.push({ key, reason: (error as Error).message })
        }
      }
      return kept
    },
    async *list(prefix) {
      await store.before('list', prefix)
      for (const key of [...objects.keys()].sort()) {
        const found = objects.get(key)
        if (!key.startsWith(prefix) || found === undefined) continue
        yield { key, size: found.body.length, modified: found.modified }
      }
    },
    explain: (error) => ({ reason: 'network', path: 'cache.shared', message: String(error) }),
    close: () => undefined,
  }
  return store
}
