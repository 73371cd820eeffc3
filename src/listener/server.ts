// The servers of the gateway: TLS by the config, every limit and time limit set on purpose.
import type {
  IncomingMessage,
  RequestListener,
  Server as HttpServer,
  ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Logger } from 'pino'
import type { Config, ListenLimits } from '../config/schema.ts'
import { GatewayError, UsageError } from '../errors.ts'
import { createServer as createHttpServer } from '../rules/rare/node-http.ts'
import { readTlsFiles, type TlsCredentials } from './tls-files.ts'
import { createClientGuard, type ClientGuard } from './trust/client-guard.ts'
import { closeSpentConnections } from './trust/farewell.ts'
import { keepPeerCertificates } from './trust/peer-chain.ts'
import { createConnectionReporter, type ConnectionReporter } from './handshake-log.ts'
import {
  frameProblem,
  isOurTurn,
  refuse,
  refuseRaw,
  refuseUnparsable,
  responseOn,
} from './bad-request.ts'
import { connectionsOf, trackConnections, transportOf } from './connections.ts'
import { inTurn } from './pipeline.ts'
import { takeProxyHeaders } from './proxy-protocol.ts'
import { endSlowReaders } from './slow-readers.ts'
import { growYoungGeneration } from './young-generation.ts'

export type ListenerServer = HttpServer | HttpsServer

const secured = Symbol('secured')

/** What a TLS server of `createServer` works with, to be replaced while it runs. */
export interface Secured {
  server: HttpsServer
  guard: ClientGuard
  credentials: TlsCredentials
  options: ServerOptions
}

/** Undefined for a server without TLS. */
export function securedBy(server: ListenerServer & { [secured]?: Secured }): Secured | undefined {
  return server[secured]
}

/** Of a section of the config, what makes its server. */
export type ListenerConfig =
  | (Pick<Config['listen'], 'host' | 'port' | 'insecureHttp' | 'tls'> &
      Partial<Pick<Config['listen'], 'proxyProtocol'>>)
  | Pick<Config['admin'], 'host' | 'port' | 'tls'>

export interface ServerOptions {
  /** Gets every request whose frame is sound. */
  handler: RequestListener
  log: Logger
  /** Asked each time: a reload may change them. */
  limits: () => ListenLimits
  /** Called for each TLS handshake that went well. */
  onHandshake?(): void
  /** Called for each failed TLS handshake, with a word of a small set such as `expired`. */
  onHandshakeFailure(reason: string): void
  /** Called as often as the log tells of it: once a minute for each reason and address. */
  onConnectionRefused?(reason: string, source: string): void
  /** Called for each connection that is closed because its client is refused now; a word again. */
  onRefusedCaller?(reason: string): void
  /** The section of the config, for the field paths of problems; `listen` unless told. */
  section?: 'listen' | 'admin'
}

/** What one connection may have, in bytes and milliseconds. */
const bounds = {
  /** Room for a large bearer token. */
  maxHeaderSize: 32 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  connectionsCheckingInterval: 2000,
  /** Between requests; above the 60 s after which most proxies and load balancers let go. */
  keepAliveTimeout: 75_000,
  /** Without a byte in either direction while it is the client's turn, as when it stops reading. */
  idleTimeout: 60_000,
  keepAliveInitialDelay: 30_000,
} as const

/**
 * A server for `config`, not listening yet: node:https, or node:http where the config has no TLS.
 * Throws UsageError for unreadable, damaged, expired or mismatching files.
 */
export function createServer(config: ListenerConfig, options: ServerOptions): ListenerServer {
  const plain = isPlain(config)
  const reporter = createConnectionReporter(options)
  const grow = growYoungGeneration(() => connectionsOf(server).ready.size)
  const handler: RequestListener = (req, res) => {
    grow()
    options.handler(req, res)
  }
  const own = { ...options, handler }
  const server = plain ? createPlain(own, reporter) : createSecure(config, own, reporter)
  server.on('drop', reporter.dropped)
  trackConnections(server, { secure: !plain, limits: options.limits, onEnded: reporter.ended })
  const { ready, handshakes } = connectionsOf(server)
  const { limits } = options
  server.on('close', endSlowReaders({ connections: ready, limits, onEnded: reporter.ended }))
  server.maxConnections = options.limits().connections
  // One connection may carry any number of requests: identity and revocation are checked on each.
  server.maxRequestsPerSocket = 0
  server.setTimeout(bounds.idleTimeout)
  server.on('timeout', (socket: Socket) => {
    // An upstream is waited for, within time limits of its own.
    if (isOurTurn(socket)) socket.setTimeout(bounds.idleTimeout)
    else socket.destroy()
  })
  server.on('clientError', (error, socket) => {
    // A handshake that failed is told here, too: there is nobody yet to whom to answer.
    if (!ready.has(socket as Socket)) socket.destroy()
    else if (!isAboutCertificate(error, socket)) refuseUnparsable(error, socket)
  })
  const trusted = 'proxyProtocol' in config ? (config.proxyProtocol ?? []) : []
  takeProxyHeaders(server, { trusted, waiting: handshakes, onEnded: reporter.ended })
  server.on('connect', (_req, socket) => refuseRaw(socket, noTunnel()))
  server.on('checkExpectation', (_req, res) => refuse(res, unknownExpectation()))
  return server
}

/**
 * Listens and returns the port. UsageError names `<section>.port` or `.host` if that fails.
 * `reusePort`: beside other processes that do so, each of which gets a part of the connections.
 */
export async function listen(
  server: NetServer,
  host: string,
  port: number,
  section: 'listen' | 'admin' = 'listen',
  reusePort = false,
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => reject(listenProblem(error, section, port))
    server.once('error', failed)
    server.listen({ host, port, backlog: 4096, reusePort }, () => {
      server.off('error', failed)
      resolve()
    })
  })
  return (server.address() as AddressInfo).port
}

function isPlain(config: ListenerConfig): boolean {
  return 'insecureHttp' in config ? config.insecureHttp : config.tls.cert === undefined
}

function httpOptions() {
  return {
    maxHeaderSize: bounds.maxHeaderSize,
    headersTimeout: bounds.headersTimeout,
    requestTimeout: bounds.requestTimeout,
    connectionsCheckingInterval: bounds.connectionsCheckingInterval,
    keepAliveTimeout: bounds.keepAliveTimeout,
    keepAlive: true,
    keepAliveInitialDelay: bounds.keepAliveInitialDelay,
    noDelay: true,
    insecureHTTPParser: false,
    joinDuplicateHeaders: false,
    // Checked by `frameProblem`, which answers with a body.
    requireHostHeader: false,
  }
}

function createPlain(
  { handler, log, limits, section = 'listen' }: ServerOptions,
  reporter: ConnectionReporter,
): HttpServer {
  if (section === 'listen') {
    log.warn(
      { insecureHttp: true },
      'serving plain HTTP: nothing is encrypted and nobody is identified; set listen.tls',
    )
  }
  return createHttpServer(httpOptions(), guarded(handler, limits, reporter))
}

function createSecure(
  config: ListenerConfig,
  options: ServerOptions,
  reporter: ConnectionReporter,
): HttpsServer {
  const { tls } = config
  const { handler, log, limits, section = 'listen' } = options
  const credentials = readTlsFiles(tls, `${section}.tls`)
  for (const warning of credentials.warnings) log.warn(warning)
  const guard = createClientGuard(credentials.trust)
  const server: HttpsServer & { [secured]?: Secured } = createHttpsServer(
    {
      ...httpOptions(),
      ...credentials.context,
      // `trackConnections` ends handshakes: Node only tells of them.
      handshakeTimeout: 0,
      requestCert: tls.clientAuth !== 'none',
      // In `optional` a bad certificate is answered with 403 by whoever asks for the caller.
      rejectUnauthorized: tls.clientAuth === 'required',
      // A client that offers neither has the handshake refused; one that offers none speaks HTTP.
      ALPNProtocols: ['http/1.1', 'http/1.0'],
    },
    guarded(
      (req, res) => {
        const socket = req.socket as TLSSocket
        guard.check(socket)
        if (guard.isSpent(socket)) res.setHeader('connection', 'close')
        handler(req, res)
      },
      limits,
      reporter,
    ),
  )
  if (tls.clientAuth !== 'none') keepPeerCertificates(server)
  const connections = connectionsOf(server).ready
  server.on('close', closeSpentConnections({ connections, guard, responseOn }))
  server[secured] = { server, guard, credentials, options }
  server.on('secureConnection', () => options.onHandshake?.())
  server.on('tlsClientError', (error, socket) => {
    // What was ended by us has been told.
    if (connectionsOf(server).ended.has(transportOf(socket))) return
    guard.explain(socket)
    reporter.handshakeFailed(error, socket)
  })
  return server
}

function guarded(
  handler: RequestListener,
  limits: ServerOptions['limits'],
  reporter: ConnectionReporter,
): RequestListener {
  const sound = (req: IncomingMessage, res: ServerResponse) => {
    // What came with an offer to change the protocol is lost: Node takes it for the other protocol.
    if (req.headers.upgrade !== undefined) res.setHeader('connection', 'close')
    const problem = frameProblem(req)
    if (problem === undefined) handler(req, res)
    else refuse(res, problem)
  }
  return inTurn(sound, {
    limit: () => limits().requestsPerConnection,
    onExcess: (source) => reporter.ended('too_many_requests', source),
  })
}

/**
 * OpenSSL tells of a signature that does not fit once more, behind a handshake that does not insist
 * on the certificate. The request is still to come, and is refused for what is wrong.
 */
function isAboutCertificate(error: NodeJS.ErrnoException, socket: Duplex): boolean {
  const { authorizationError } = socket as Partial<TLSSocket>
  return Boolean(authorizationError) && error.code?.startsWith('ERR_SSL_') === true
}

function noTunnel(): GatewayError {
  return new GatewayError('UNSUPPORTED', 'the gateway is no proxy: CONNECT is not supported')
}

function unknownExpectation(): GatewayError {
  return new GatewayError('REQUEST_INVALID', 'the only expectation that is met is 100-continue')
}

function listenProblem(error: NodeJS.ErrnoException, section: string, port: number): Error {
  const reasons: Record<string, [key: string, message: string]> = {
    EADDRINUSE: ['port', `${port} is taken by another program: stop it or choose another port`],
    EACCES: ['port', `${port} needs privileges: choose one above 1023 or grant the capability`],
    EADDRNOTAVAIL: ['host', 'is no address of this machine'],
    ENOTFOUND: ['host', 'is a name that cannot be resolved'],
    EAI_AGAIN: ['host', 'is a name that cannot be resolved now'],
  }
  const [key, message] = reasons[error.code ?? ''] ?? [
    'host',
    `cannot be listened on: ${error.code}`,
  ]
  return new UsageError([{ path: `${section}.${key}`, message }])
}
