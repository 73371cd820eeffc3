// What there is to see, as it changes: server-sent events, each of them the whole of its topic.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import type { Logger } from 'pino'
import { GatewayError } from '../../errors.ts'
import { createQuietLog } from '../../rules/quiet-log.ts'

/** What there is to see, by the name of its event; must not be long. */
export type Topics = Readonly<Record<string, () => unknown>>

export interface EventStreamOptions {
  topics: Topics
  /** What decides who may look: a stream that began under another ends, and its client asks anew. */
  inForce: () => unknown
  log: Logger
}

export interface EventStream {
  /** Sends everything, and then what changes. Rejects with GatewayError UNAVAILABLE beyond the limit. */
  open: (reply: FastifyReply) => Promise<void>
  close: () => void
}

/** Between two looks at what has changed, ms; nobody looks while nobody listens. */
const lookEvery = 1000
/** Looks without a change after which a stream gives a sign of life. */
const quietLooks = 15
const mostClients = 50
/** A client that is behind by more is let go, bytes: it comes again, and is told everything. */
const mostWaiting = 2 ** 20

export function createEventStream({ topics, inForce, log }: EventStreamOptions): EventStream {
  /** Each with what has decided that it may look. */
  const clients = new Map<ServerResponse, unknown>()
  /** Each topic as it was sent last. */
  const last = new Map<string, string>()
  const quiet = createQuietLog()
  let looking: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let silent = 0

  async function look(): Promise<void> {
    const changed: string[] = []
    const asked = Object.entries(topics).map(
      async ([topic, ask]) => [topic, await eventOf(topic, ask)] as const,
    )
    for (const [topic, event] of await Promise.all(asked)) {
      if (event === undefined || event === last.get(topic)) continue
      last.set(topic, event)
      changed.push(event)
    }
    silent = changed.length > 0 ? 0 : silent + 1
    if (changed.length > 0) send(changed.join(''))
    else if (silent % quietLooks === 0) send(': nothing new\n\n')
  }

  async function eventOf(topic: string, ask: () => unknown): Promise<string | undefined> {
    try {
      return `event: ${topic}\ndata: ${JSON.stringify(await ask())}\n\n`
    } catch (error) {
      if (quiet(topic) !== undefined) log.error({ err: error, topic }, 'an event cannot be told')
      return undefined
    }
  }

  /** One at a time, whoever asks. */
  async function looked(): Promise<void> {
    looking ??= look().finally(() => (looking = undefined))
    return looking
  }

  function send(text: string): void {
    for (const client of clients.keys()) {
      if (client.writableLength > mostWaiting) client.destroy()
      else client.write(text)
    }
  }

  function lookLater(): void {
    if (timer !== undefined || clients.size === 0) return
    timer = setTimeout(() => {
      timer = undefined
      const now = inForce()
      endThose((judgedBy) => judgedBy !== now)
      if (clients.size > 0) void looked().then(lookLater)
    }, lookEvery).unref()
  }

  function endThose(isMeant: (judgedBy: unknown) => boolean): void {
    for (const [client, judgedBy] of clients) {
      if (!isMeant(judgedBy)) continue
      clients.delete(client)
      client.end()
    }
  }

  return {
    async open(reply) {
      const judgedBy = inForce()
      // While somebody listens, what was sent last is new.
      if (timer === undefined) await looked()
      if (clients.size >= mostClients) {
        throw new GatewayError('UNAVAILABLE', `${mostClients} listen already: close some of them`)
      }
      const { raw: res } = reply.hijack()
      if (res.destroyed) return
      res.writeHead(200, {
        ...(reply.getHeaders() as OutgoingHttpHeaders),
        'content-type': 'text/event-stream',
      })
      res.write([...last.values()].join(''))
      clients.set(res, judgedBy)
      res.once('close', () => clients.delete(res))
      lookLater()
    },
    close() {
      clearTimeout(timer)
      endThose(() => true)
    },
  }
}
