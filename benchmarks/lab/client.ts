// The load client: a process of its own, told by messages what to ask of which server.
import { readFileSync } from 'node:fs'
import {
  openConnection,
  shakeHands,
  type Answered,
  type Connection,
  type Identity,
  type Prepared,
} from './connection.ts'

/** Paths of PEM files. */
export interface ClientFiles {
  ca: string
  cert: string
  key: string
}

/** `GET` or `HEAD`, a space and the target. */
export type Line = string

export type Call =
  | { kind: 'open'; port: number; connections: number }
  /** Each connection goes through `lines` again and again, until `seconds` are over. */
  | { kind: 'repeat'; lines: readonly Line[]; seconds: number }
  /** Each of `lines` once, by whichever connection is free. */
  | { kind: 'once'; lines: readonly Line[] }
  /**
   * Each client pulls each image, over its share of the connections: manifests one after the other, then blobs by
   * whichever connection is free. Digests are checked.
   */
  | { kind: 'pull'; images: readonly (readonly Line[])[]; clients: number }
  | { kind: 'handshakes'; port: number; seconds: number; atOnce: number }
  | { kind: 'close' }

export interface Result {
  requests: number
  bytes: number
  seconds: number
  /**
   * Milliseconds to the first byte of each answer of `once`; of each `pull` from its begin to the first byte of a
   * layer, which is a blob behind the first one, the config.
   */
  firstBytes: number[]
}

export type Reply = { result: Result } | { error: string }

const accept = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  '*/*',
].join(', ')

function prepare(line: Line): Prepared {
  const text = `${line} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: benchmark\r\nAccept: ${accept}\r\n\r\n`
  return { bytes: Buffer.from(text, 'latin1'), isHead: line.startsWith('HEAD ') }
}

/** @param take the next request of the connection with that number; undefined: no more */
async function drive(
  connections: readonly Connection[],
  take: (connection: number) => Prepared | undefined,
  note?: (answered: Answered, request: Prepared) => void,
): Promise<Omit<Result, 'firstBytes'>> {
  const started = performance.now()
  let requests = 0
  let bytes = 0
  const run = (connection: Connection, number: number) =>
    new Promise<void>((resolve, reject) => {
      const next = () => {
        const request = take(number)
        if (request === undefined) resolve()
        else connection.ask(request, (error, answered) => done(request, error, answered))
      }
      const done = (request: Prepared, error: Error | undefined, answered: Answered) => {
        if (error !== undefined) {
          reject(error)
          return
        }
        requests += 1
        bytes += answered.bytes
        note?.(answered, request)
        next()
      }
      next()
    })
  await Promise.all(connections.map(run))
  return { requests, bytes, seconds: (performance.now() - started) / 1000 }
}

async function pullImage(connections: readonly Connection[], lines: readonly Line[]) {
  const started = performance.now()
  const manifests = lines.filter((line) => !line.includes('/blobs/')).map(prepareChecked)
  const blobs = lines.filter((line) => line.includes('/blobs/')).map(prepareChecked)
  const [config] = blobs
  const named = await drive(connections.slice(0, 1), () => manifests.shift())
  let firstByte = Infinity
  const sent = await drive(
    connections,
    () => blobs.shift(),
    (answered, request) => {
      if (request === config) return
      firstByte = Math.min(firstByte, answered.askedAt + answered.firstByte - started)
    },
  )
  return {
    requests: named.requests + sent.requests,
    bytes: named.bytes + sent.bytes,
    firstByte,
  }
}

/** A GET by digest is checked. */
function prepareChecked(line: Line): Prepared {
  const hex = /^GET .*sha256:([0-9a-f]{64})/.exec(line)?.[1]
  return hex === undefined ? prepare(line) : { ...prepare(line), sha256: hex }
}

function createClient(identity: Identity) {
  let connections: Connection[] = []
  const nothing: Result = { requests: 0, bytes: 0, seconds: 0, firstBytes: [] }

  function close(): Result {
    for (const connection of connections) connection.close()
    connections = []
    return nothing
  }

  async function open(port: number, count: number): Promise<Result> {
    close()
    // Not all at once: the queue of connections to be accepted has an end.
    while (connections.length < count) {
      const many = Math.min(16, count - connections.length)
      const opened = Array.from({ length: many }, async () => openConnection(port, identity))
      connections.push(...(await Promise.all(opened)))
    }
    return nothing
  }

  async function repeat(lines: readonly Line[], seconds: number): Promise<Result> {
    const prepared = lines.map(prepare)
    const next = connections.map((_, number) => number % prepared.length)
    const end = performance.now() + seconds * 1000
    const driven = await drive(connections, (number) => {
      // Whole rounds, so that the mix is the same for everybody.
      const at = next[number] ?? 0
      if (at % prepared.length === number % prepared.length && performance.now() > end) {
        return undefined
      }
      next[number] = at + 1
      return prepared[at % prepared.length]
    })
    return { ...driven, firstBytes: [] }
  }

  async function each(lines: readonly Line[]): Promise<Result> {
    const left = lines.map(prepare)
    const firstBytes: number[] = []
    const driven = await drive(
      connections,
      () => left.shift(),
      ({ firstByte }) => firstBytes.push(firstByte),
    )
    return { ...driven, firstBytes }
  }

  async function pull(images: readonly (readonly Line[])[], clients: number): Promise<Result> {
    const share = Math.floor(connections.length / clients)
    const started = performance.now()
    const results = await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const own = connections.slice(client * share, (client + 1) * share)
        const told = []
        for (const lines of images) told.push(await pullImage(own, lines))
        return told
      }),
    )
    const all = results.flat()
    return {
      requests: all.reduce((sum, { requests }) => sum + requests, 0),
      bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
      seconds: (performance.now() - started) / 1000,
      firstBytes: all.map(({ firstByte }) => firstByte),
    }
  }

  async function handshakes(port: number, seconds: number, atOnce: number): Promise<Result> {
    const started = performance.now()
    const passed = () => (performance.now() - started) / 1000
    let requests = 0
    const one = async () => {
      for (; passed() < seconds; requests += 1) await shakeHands(port, identity)
    }
    await Promise.all(Array.from({ length: atOnce }, one))
    return { ...nothing, requests, seconds: passed() }
  }

  return async (call: Call): Promise<Result> => {
    switch (call.kind) {
      case 'open':
        return open(call.port, call.connections)
      case 'repeat':
        return repeat(call.lines, call.seconds)
      case 'once':
        return each(call.lines)
      case 'pull':
        return pull(call.images, call.clients)
      case 'handshakes':
        return handshakes(call.port, call.seconds, call.atOnce)
      case 'close':
      default:
        return close()
    }
  }
}

if (import.meta.main) {
  const [ca = '', cert = '', key = ''] = process.argv.slice(2)
  const perform = createClient({
    ca: readFileSync(ca, 'utf8'),
    cert: readFileSync(cert, 'utf8'),
    key: readFileSync(key, 'utf8'),
  })
  const send = (reply: Reply) => void process.send?.(reply)
  process.on('message', (call: Call) => {
    perform(call).then(
      (result) => send({ result }),
      (error: unknown) => send({ error: String(error) }),
    )
  })
}
