// An upstream registry that misbehaves as told: the demo's registry with faults in front of it.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { startRegistry, type Registry, type RegistryOptions } from '../../src/demo/registry.ts'

/**
 * Sees a request before the registry does. Returns `true` where it has answered itself; otherwise
 * the next fault and at last the registry answer, by way of what the fault did to `req` and `res`.
 */
export type Fault = (req: IncomingMessage, res: ServerResponse) => boolean

export interface Upstream extends Registry {
  /** Replaces the faults; none heals the upstream. What is in flight keeps its fault. */
  fail(...faults: Fault[]): void
  /** How many requests so far match `pattern`, which sees `GET /v2/app/manifests/latest`. */
  count(pattern: RegExp): number
}

/** Starts an upstream on a free port, closed with the test. */
export async function startUpstream(
  t: Pick<Test, 'teardown'>,
  options: Omit<RegistryOptions, 'onRequest'> & { faults?: Fault[] },
): Promise<Upstream> {
  let fault = each(options.faults ?? [])
  const registry = await startRegistry({ ...options, onRequest: (req, res) => fault(req, res) })
  t.teardown(() => registry.close())
  return {
    ...registry,
    fail: (...faults) => {
      fault = each(faults)
    },
    count: (pattern) =>
      registry.requests.filter(({ method, url }) => pattern.test(`${method} ${url}`)).length,
  }
}

// Which requests a fault hits

/** Only requests whose `METHOD target` matches, as in `on(/^GET .*blobs/, resetAfter(100))`. */
export function on(pattern: RegExp, ...faults: Fault[]): Fault {
  const fault = each(faults)
  return (req, res) => pattern.test(`${req.method} ${req.url}`) && fault(req, res)
}

/** Only the first `count` requests that come this far. */
export function times(count: number, ...faults: Fault[]): Fault {
  const fault = each(faults)
  let left = count
  return (req, res) => left > 0 && left-- > 0 && fault(req, res)
}

/** One fault after the other until one answers. */
function each(faults: readonly Fault[]): Fault {
  return (req, res) => faults.some((fault) => fault(req, res))
}

// Answers instead of the registry's

/** `status(503)`, `status(429, { 'retry-after': '1' })`, `status(307, { location })`. */
export function status(code: number, headers: Record<string, string> = {}, body = ''): Fault {
  return (_req, res) => {
    res.writeHead(code, { 'content-length': Buffer.byteLength(body), ...headers })
    res.end(body)
    return true
  }
}

/** A web page with 200, as captive portals and misrouted proxies send it. */
export function htmlPage(): Fault {
  return status(200, { 'content-type': 'text/html' }, '<html><body>Welcome</body></html>')
}

/** Accepts the request and never answers. */
export function stallBeforeHeaders(): Fault {
  return () => true
}

// What happens to the registry's answer; offsets count the bytes of one response's body

/** Ends the connection (FIN) after so many bytes of the body. */
export function closeAfter(bytes: number): Fault {
  return cutAfter(bytes, (socket) => socket.destroySoon())
}

/** Resets the connection (RST) after so many bytes; the client may not see all of them. */
export function resetAfter(bytes: number): Fault {
  return cutAfter(bytes, (socket) => rawOf(socket).resetAndDestroy())
}

/** Sends so many bytes of the body and then nothing, with the connection open. */
export function stallAfter(bytes: number): Fault {
  return cutAfter(bytes, () => {})
}

/** Sends each chunk of the body a little later, and its end later still. */
export function slowly(chunkMs = 30, endMs = 300): Fault {
  return (_req, res) => {
    const write = res.write.bind(res)
    res.write = ((chunk: Buffer, ...rest: []) => {
      setTimeout(() => write(chunk, ...rest), chunkMs)
      return true
    }) as typeof res.write
    const end = res.end.bind(res)
    res.end = ((...rest: []) => {
      setTimeout(() => end(...rest), endMs)
      return res
    }) as typeof res.end
    return false
  }
}

/** Inverts one bit of the byte at `offset`. */
export function flipByte(offset: number): Fault {
  return (_req, res) => {
    let start = 0
    interceptBody(res, (write) => (chunk) => {
      const at = offset - start
      start += chunk.length
      if (at < 0 || at >= chunk.length) return write(chunk)
      const altered = Buffer.from(chunk)
      altered[at] = (altered[at] ?? 0) ^ 1
      return write(altered)
    })
    return false
  }
}

/** Sends other bytes, which belong to no length that was announced. */
export function replaceBody(bytes: Buffer): Fault {
  return (_req, res) => {
    interceptBody(res, () => () => true)
    const end = res.end.bind(res) as (chunk: Buffer) => ServerResponse
    res.end = (() => end(bytes)) as typeof res.end
    return false
  }
}

/** Answers 200 with everything where a part was asked for. */
export function ignoreRange(): Fault {
  return (req) => {
    delete req.headers.range
    return false
  }
}

/** Sends the body chunked, without a Content-Length. */
export function chunked(): Fault {
  return (_req, res) => {
    interceptHead(res, ({ 'content-length': _, ...headers }) => headers)
    return false
  }
}

/** Sends the body until the connection closes; with `closeAfter` the truncation looks like the end. */
export function closeDelimited(): Fault {
  return (_req, res) => {
    res.useChunkedEncodingByDefault = false
    res.shouldKeepAlive = false
    interceptHead(res, ({ 'content-length': _, ...headers }) => headers)
    return false
  }
}

/** Compresses the body and says so, as proxies do that were told to compress everything. */
export function gzipEncoded(): Fault {
  return (_req, res) => {
    const chunks: Buffer[] = []
    interceptHead(res, ({ 'content-length': _, ...headers }) => ({
      ...headers,
      'content-encoding': 'gzip',
    }))
    interceptBody(res, () => (chunk) => chunks.push(chunk) > 0)
    const end = res.end.bind(res) as (chunk: Buffer) => ServerResponse
    res.end = (() => end(gzipSync(Buffer.concat(chunks)))) as typeof res.end
    return false
  }
}

/** Adds or replaces headers of the registry's answer. */
export function withHeaders(extra: Record<string, string>): Fault {
  return (_req, res) => {
    interceptHead(res, (headers) => ({ ...headers, ...extra }))
    return false
  }
}

/** Announces another length than that of the body. */
export function lyingLength(change: (length: number) => number): Fault {
  return (_req, res) => {
    interceptHead(res, (headers) => ({
      ...headers,
      'content-length': change(Number(headers['content-length'])),
    }))
    return false
  }
}

export interface Gate {
  fault: Fault
  /** Lets go of what is held and of all that comes. */
  open(): void
  /** Resolves once so many responses have been held. */
  held(count: number): Promise<void>
}

/** Holds each response, headers and all, until it is opened: for what happens meanwhile. */
export function gate(): Gate {
  const opened = Promise.withResolvers<void>()
  const arrivals: { count: number; resolve: () => void }[] = []
  let isOpen = false
  let count = 0
  return {
    fault: (_req, res) => {
      if (isOpen) return false
      count += 1
      void opened.promise.then(holdBack(res))
      for (const arrival of arrivals) if (count >= arrival.count) arrival.resolve()
      return false
    },
    open: () => {
      isOpen = true
      opened.resolve()
    },
    held: (wanted) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      if (count >= wanted) resolve()
      else arrivals.push({ count: wanted, resolve })
      return promise
    },
  }
}

export interface Valve {
  fault: Fault
  /** Lets the rest of what is held flow, and all that comes. */
  open(): void
}

/** Sends so many bytes of each body and holds the rest, until it is opened. */
export function valveAfter(bytes: number): Valve {
  const opened = Promise.withResolvers<void>()
  let isOpen = false
  return {
    fault: (_req, res) => {
      let left = isOpen ? Infinity : bytes
      interceptBody(res, (write) => (chunk) => {
        if (isOpen || chunk.length < left) {
          left -= chunk.length
          return write(chunk)
        }
        res.flushHeaders()
        if (left > 0) write(chunk.subarray(0, left))
        const rest = chunk.subarray(left)
        left = 0
        void opened.promise.then(() => {
          write(rest)
          res.emit('drain')
        })
        return false
      })
      return false
    },
    open: () => {
      isOpen = true
      opened.resolve()
    },
  }
}

// The mechanics

type Write = (chunk: Buffer, done?: () => void) => boolean
type Headers = Record<string, number | string>

/** Puts a function between the registry's `res.write` and the real one. */
function interceptBody(res: ServerResponse, wrap: (write: Write) => Write): void {
  res.write = wrap(res.write.bind(res) as Write) as typeof res.write
}

function interceptHead(res: ServerResponse, change: (headers: Headers) => Headers): void {
  const writeHead = res.writeHead.bind(res)
  res.writeHead = ((code: number, headers: Headers) =>
    writeHead(code, change(headers))) as typeof res.writeHead
}

function cutAfter(bytes: number, cut: (socket: Socket) => void): Fault {
  return (req, res) => {
    let left = bytes
    let isCut = false
    interceptBody(res, (write) => (chunk) => {
      if (isCut) return false
      const part = chunk.subarray(0, left)
      left -= part.length
      if (left > 0) return write(part)
      isCut = true
      res.flushHeaders()
      if (part.length > 0) write(part, () => cut(req.socket))
      else setImmediate(cut, req.socket)
      return false
    })
    return false
  }
}

/** Queues what is done to `res` until the returned function is called. */
function holdBack(res: ServerResponse): () => void {
  const queue: (() => void)[] = []
  let isHeld = true
  const hold = (method: (...args: unknown[]) => unknown, answer: unknown) =>
    ((...args: unknown[]) => {
      if (!isHeld) return method(...args)
      queue.push(() => method(...args))
      return answer
    }) as never
  res.writeHead = hold(res.writeHead.bind(res) as never, res)
  res.write = hold(res.write.bind(res) as never, true)
  res.end = hold(res.end.bind(res) as never, res)
  return () => {
    isHeld = false
    for (const replay of queue) replay()
  }
}

/** The TCP socket below a TLS socket: only that one can be reset. */
function rawOf(socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket })._parent ?? socket
}
