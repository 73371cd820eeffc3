// Knows who the replicas are, and which of them this gateway is: by a list, or by DNS again and again.
import { lookup, Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import type { Logger } from 'pino'
import type { ReplicasConfig } from '../../config/upstream/replicas.ts'
import { systemCode } from '../../errors.ts'

/** Where this gateway listens; undefined until it does. */
export type OwnAddress = () => { host: string; port: number } | undefined

export interface Members {
  /** All replicas as `host:port`, as far as they are known; empty: this gateway is alone. */
  all: () => readonly string[]
  /** Which of them this gateway is; undefined: none. */
  self: () => string | undefined
  /** Begins to follow what changes. */
  start: () => void
  close: () => void
}

/** Between two looks, ms. */
const lookAgain = 5000

export function createMembers(
  config: Pick<ReplicasConfig, 'list' | 'dns' | 'resolver' | 'port' | 'self'>,
  { own, log }: { own: OwnAddress; log: Logger },
): Members {
  let all: readonly string[] = config.list
  /** Of each member that is a name: its addresses. */
  let addresses: ReadonlyMap<string, readonly string[]> = new Map()
  let here = addressesHere()
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  let hasFailed = false

  async function look(): Promise<void> {
    here = addressesHere()
    try {
      if (config.dns === undefined) addresses = await addressesOf(config.list, addresses)
      else all = (await resolve(config.dns, config.resolver)).map((ip) => member(ip, config.port))
      hasFailed = false
    } catch (error) {
      // Whoever was there is taken to be there still.
      if (!hasFailed) log.warn({ err: error }, 'cannot find out who the replicas are')
      hasFailed = true
    }
    if (!isClosed) timer = setTimeout(() => void look(), lookAgain).unref()
  }

  return {
    all: () => all,
    self() {
      if (config.self !== undefined) return config.self
      const listening = own()
      if (listening === undefined) return undefined
      return all.find((replica) => {
        const { host, port } = partsOf(replica)
        const known = isIP(host) === 0 ? (addresses.get(replica) ?? []) : [host]
        return port === listening.port && known.some((ip) => isOwn(ip, listening.host, here))
      })
    },
    start: () => void look(),
    close() {
      isClosed = true
      clearTimeout(timer)
    },
  }
}

async function resolve(name: string, server: string | undefined): Promise<string[]> {
  if (server === undefined) {
    return (await lookup(name, { all: true })).map(({ address }) => address)
  }
  const resolver = new Resolver({ timeout: 2000, tries: 2 })
  resolver.setServers([server])
  const answers = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
  const failures = answers.flatMap((one): unknown[] =>
    one.status === 'rejected' ? [one.reason] : [],
  )
  const lost = failures.find((reason) => !isNone(reason))
  // Without half of the answer those in it would seem to have gone.
  if (lost !== undefined) throw new Error(`${name} cannot be looked up`, { cause: lost })
  const found = answers.flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
  if (found.length > 0) return found.sort()
  throw new Error(`${name} has no address`, { cause: failures[0] })
}

/** There is no such address; anything else says nothing of whether there is. */
function isNone(error: unknown): boolean {
  return ['ENODATA', 'ENOTFOUND'].includes(systemCode(error))
}

async function addressesOf(
  list: readonly string[],
  before: ReadonlyMap<string, readonly string[]>,
): Promise<Map<string, readonly string[]>> {
  const found = list.map(async (replica): Promise<[string, readonly string[]]> => {
    const { host } = partsOf(replica)
    if (isIP(host) !== 0) return [replica, [host]]
    try {
      const known = await lookup(host, { all: true })
      return [replica, known.map(({ address }) => address)]
    } catch {
      // One whose name is not there yet is none of the addresses of this machine either.
      return [replica, before.get(replica) ?? []]
    }
  })
  return new Map(await Promise.all(found))
}

function member(ip: string, port: number): string {
  return isIP(ip) === 6 ? `[${ip}]:${port}` : `${ip}:${port}`
}

function partsOf(replica: string): { host: string; port: number } {
  const colon = replica.lastIndexOf(':')
  const host = replica.slice(0, colon).replace(/^\[|\]$/g, '')
  return { host, port: Number(replica.slice(colon + 1)) }
}

/** Of all interfaces. */
function addressesHere(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((some) => some ?? [])
  return new Set(all.map(({ address }) => address))
}

function isOwn(ip: string, listening: string, here: ReadonlySet<string>): boolean {
  if (listening !== '0.0.0.0' && listening !== '::') return ip === listening
  return ip === '::1' || ip.startsWith('127.') || here.has(ip)
}
