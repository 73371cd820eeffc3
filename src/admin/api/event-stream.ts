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
  /** What decides who may look: where it is another, all streams end, and their clients ask anew. */
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
  const clients = new Set<ServerResponse>()
  /** Each topic as it was sent last. */
  const last = new Map<string, string>()
  const quiet = createQuietLog()
  let looking: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let silent = 0
  let judgedBy: unknown

  async function look(): Promise<void> {
    const changed: string[] = []
    for (const [topic, ask] of Object.entries(topics)) {
      const event = await eventOf(topic, ask)
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
    for (const client of clients) {
      if (client.writableLength > mostWaiting) client.destroy()
      else client.write(text)
    }
  }

  function lookLater(): void {
    if (timer !== undefined || clients.size === 0) return
    timer = setTimeout(() => {
      timer = undefined
      if (inForce() !== judgedBy) endAll()
      else void looked().then(lookLater)
    }, lookEvery).unref()
  }

  function endAll(): void {
    for (const client of clients) client.end()
    clients.clear()
  }

  return {
    async open(reply) {
      if (clients.size >= mostClients) {
        throw new GatewayError('UNAVAILABLE', `${mostClients} listen already: close some of them`)
      }
      if (clients.size === 0) judgedBy = inForce()
      await looked()
      const { raw: res } = reply.hijack()
      if (res.destroyed) return
      res.writeHead(200, {
        ...(reply.getHeaders() as OutgoingHttpHeaders),
        'content-type': 'text/event-stream',
      })
      res.write([...last.values()].join(''))
      clients.add(res)
      res.once('close', () => clients.delete(res))
      lookLater()
    },
    close() {
      clearTimeout(timer)
      endAll()
    },
  }
}
