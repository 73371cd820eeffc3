// Users and their passwords, from a file of `user:bcrypt` lines as `htpasswd -B` writes them.
import { createHash, createHmac, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { bcryptjs } from '../../rules/rare/packages.ts'
import { LRUCache } from 'lru-cache'
import { GatewayError, systemCode, UsageError, type Problem } from '../../errors.ts'

export interface Passwords {
  /** Whether this is the user's password, where it was checked before; costs nothing. */
  known: (user: string, password: string) => boolean
  /** Whether it is; takes the same time for users that there are and that there are not. */
  check: (user: string, password: string) => Promise<boolean>
  /** Changes with the user's password; nothing where there is no such user. Not secret. */
  fingerprint: (user: string) => string | undefined
}

const bcrypt = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/
/** A check at this cost takes seconds. */
const highestCost = 14
/** Checks waiting for their turn; they run one after the other, so that pulls go on beside them. */
const longestQueue = 16
/** Right passwords remembered, so that not every token costs a check. */
const remembered = 1024

/** One check of bcrypt: whether `hash` is that of `password`. */
export type Compare = (password: string, hash: string) => Promise<boolean>

/** Throws UsageError with every line that is wrong. */
export function readPasswords(file: string, compare: Compare = bcryptjs().compare): Passwords {
  const hashes = parse(read(file))
  const highest = Math.max(10, ...[...hashes.values()].map(costOf))
  const secret = randomBytes(32)
  const right = new LRUCache<string, true>({ max: remembered })
  let queue: Promise<unknown> = Promise.resolve()
  let waiting = 0

  const keyOf = (user: string, password: string) =>
    createHmac('sha256', secret).update(`${user}\0${password}`).digest('base64url')

  async function checkNow(user: string, password: string): Promise<boolean> {
    const own = hashes.get(user)
    const matches = await compare(password, own ?? dummy(highest))
    // Work doubles with each step of the cost: these make up for a lower one.
    for (let cost = own === undefined ? highest : costOf(own); cost < highest; cost += 1) {
      await compare(password, dummy(cost))
    }
    // bcrypt looks at 72 bytes only: a longer password is another one.
    return own !== undefined && matches && !bcryptjs().truncates(password)
  }

  return {
    known: (user, password) => right.has(keyOf(user, password)),
    async check(user, password) {
      if (waiting >= longestQueue) {
        throw new GatewayError('TOOMANYREQUESTS', 'too many are logging in: try again', {
          headers: { 'retry-after': '2' },
        })
      }
      waiting += 1
      const turn = queue.then(async () => checkNow(user, password))
      queue = turn.catch(() => undefined)
      try {
        const matches = await turn
        if (matches) right.set(keyOf(user, password), true)
        return matches
      } finally {
        waiting -= 1
      }
    },
    fingerprint(user) {
      const own = hashes.get(user)
      if (own === undefined) return undefined
      return createHash('sha256').update(own).digest('base64url').slice(0, 16)
    },
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = systemCode(error)
    throw new UsageError([problem(`cannot read ${file}: ${code}`)])
  }
}

function parse(text: string): Map<string, string> {
  const hashes = new Map<string, string>()
  const problems: Problem[] = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const user = line.slice(0, Math.max(colon, 0))
    const hash = line.slice(colon + 1)
    const tell = (message: string) => problems.push(problem(`line ${index + 1} ${message}`))
    if (user === '') tell('is not of the form user:hash')
    else if (hashes.has(user)) tell('names a user who has a line already')
    else if (!bcrypt.test(hash)) tell('has no bcrypt hash: make it with htpasswd -B')
    else if (costOf(hash) > highestCost) tell(`costs too much: ${highestCost} is the highest`)
    else hashes.set(user, hash)
  }
  if (problems.length > 0) throw new UsageError(problems)
  return hashes
}

function costOf(hash: string): number {
  return Number(bcrypt.exec(hash)?.[1])
}

/** A hash of no known password. */
function dummy(cost: number): string {
  return `$2b$${String(cost).padStart(2, '0')}$${'.'.repeat(53)}`
}

function problem(message: string): Problem {
  return { path: 'auth.tokenService.htpasswd', message }
}
