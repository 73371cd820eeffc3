// A small read-only registry that serves content from memory: the upstream of the demo and the tests.
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { answerTo, type RegistryAnswer } from './answer.ts'
import type { SampleContent } from './sample-image.ts'

export interface RecordedRequest {
  method: string
  /** Raw request target. */
  url: string
  headers: IncomingHttpHeaders
  /** Subject of the client certificate, such as `CN=gateway`; absent without one. */
  peerSubject?: string
}

export interface Registry {
  /** `http(s)://host:port`, without a slash at the end. */
  url: string
  port: number
  /** Every request so far, in order of arrival. */
  requests: RecordedRequest[]
  /** Stops listening and destroys every connection. */
  close(): Promise<void>
}

export interface RegistryOptions {
  /** Content by repository name; may be changed while the registry runs. */
  repositories: Record<string, SampleContent>
  /** Serve HTTPS; with `requestCert`, `rejectUnauthorized` and `ca` for two-way TLS. */
  tls?: ServerOptions
  host?: string
  /** Sees each request first; `true` means that it has answered, or sabotaged, it itself. */
  onRequest?: (req: IncomingMessage, res: ServerResponse) => boolean
}

const chunkBytes = 64 * 1024

/** Starts the registry on a free port. Serves the pull half of the distribution specification. */
export async function startRegistry(options: RegistryOptions): Promise<Registry> {
  const { repositories, tls, host = '127.0.0.1', onRequest } = options
  const requests: RecordedRequest[] = []
  const handle = (req: IncomingMessage, res: ServerResponse): void => {
    requests.push(record(req))
    if (onRequest?.(req, res) === true) return
    send(req, res, answerTo(req, repositories))
  }
  const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle)
  const disconnect = trackConnections(server)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, host, resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${host}:${port}`,
    port,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        disconnect()
      }),
  }
}

/** Returns what destroys every open connection, those in the middle of a handshake too. */
function trackConnections(server: Server): () => void {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

function record(req: IncomingMessage): RecordedRequest {
  const certificate =
    req.socket instanceof TLSSocket ? req.socket.getPeerX509Certificate() : undefined
  return {
    method: req.method ?? '',
    url: req.url ?? '',
    headers: { ...req.headers },
    ...(certificate === undefined
      ? {}
      : { peerSubject: certificate.subject.replaceAll('\n', ',') }),
  }
}

/** Sends in chunks, each when the one before has drained, so that a slow reader costs no memory. */
function send(
  req: IncomingMessage,
  res: ServerResponse,
  { status, headers, body }: RegistryAnswer,
): void {
  res.writeHead(status, {
    'docker-distribution-api-version': 'registry/2.0',
    ...headers,
    'content-length': body.length,
  })
  if (req.method === 'HEAD') {
    res.end()
    return
  }
  let sent = 0
  const more = (): void => {
    while (sent < body.length) {
      const chunk = body.subarray(sent, sent + chunkBytes)
      sent += chunk.length
      if (!res.write(chunk)) {
        res.once('drain', more)
        return
      }
    }
    res.end()
  }
  more()
}
