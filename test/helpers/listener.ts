// A listener of the product on a free port, and TLS clients that know its CA.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { Writable } from 'node:stream'
import { pino, type Logger } from 'pino'
import type { RequestListener } from 'node:http'
import type { Test } from 'tap'
import type { Config, ListenerTlsConfig, ListenLimits } from '../../src/config/schema.ts'
import { createServer, listen, type ListenerServer } from '../../src/listener/server.ts'
import { makeCertificate, type TestCertificate } from './certificates.ts'

/** What `tls` is where the config has none. */
export const noTls: ListenerTlsConfig = {
  minVersion: 'TLSv1.2',
  clientAuth: 'none',
  clientCa: [],
  crl: [],
  crlMaxStale: 0,
  crlRollback: false,
}

/** Those of a config that says nothing of them. */
export const defaultLimits: ListenLimits = {
  connections: 20_000,
  connectionsPerAddress: 5000,
  connectionsPerIdentity: 5000,
  handshakes: 2000,
  requestsPerConnection: 100,
  minRate: 1024,
  minRateWindow: 300_000,
  requestsPerIdentity: 5000,
  upstreamRequests: 128,
  upstreamRequestsPerIdentity: 1000,
}

export interface Site {
  folder: string
  ca: TestCertificate
  server: TestCertificate
  /** A client certificate that is right, from `ca`. */
  client: TestCertificate
  tls: ListenerTlsConfig
}

/** A folder with `ca.crt`, `server.crt` and `server.key`, and the config that names them. */
export async function makeSite(t: Test, overrides: Partial<ListenerTlsConfig> = {}): Promise<Site> {
  const folder = t.testdir({})
  const ca = await makeCertificate({ subject: 'CN=Test CA', ca: true })
  const server = await makeCertificate({
    subject: 'CN=localhost',
    issuer: ca,
    purposes: ['server'],
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
  })
  const client = await makeCertificate({ subject: 'CN=edge-1', issuer: ca, purposes: ['client'] })
  writeFileSync(join(folder, 'ca.crt'), ca.certificatePem)
  writeFileSync(join(folder, 'server.crt'), server.certificatePem)
  writeFileSync(join(folder, 'server.key'), server.keyPem, { mode: 0o600 })
  const tls: ListenerTlsConfig = {
    cert: join(folder, 'server.crt'),
    key: join(folder, 'server.key'),
    minVersion: 'TLSv1.2',
    clientAuth: 'none',
    clientCa: [join(folder, 'ca.crt')],
    crl: [],
    crlMaxStale: 0,
    crlRollback: false,
    ...overrides,
  }
  return { folder, ca, server, client, tls }
}

export interface RunningListener {
  server: ListenerServer
  port: number
  log: Logger
  /** Reasons told to `onHandshakeFailure`, in order. */
  failures: string[]
  /** Reasons told to `onRefusedCaller`, in order. */
  refused: string[]
  /** Log lines so far. */
  lines: Record<string, unknown>[]
  /** The next reason of a failed handshake. */
  nextFailure(): Promise<string>
}

/** Listens with `handler`; closed again, connections and all, when the test ends. */
export async function startListener(
  t: Test,
  { limits, ...config }: Partial<Config['listen']> & { tls: ListenerTlsConfig },
  handler: RequestListener,
): Promise<RunningListener> {
  const { log, lines } = recordingLog()
  const failures: string[] = []
  const refused: string[] = []
  const waiting: ((reason: string) => void)[] = []
  const server = createServer(
    { host: '127.0.0.1', port: 0, insecureHttp: false, ...config },
    {
      handler,
      log,
      limits: () => limits ?? defaultLimits,
      onHandshakeFailure(reason) {
        failures.push(reason)
        waiting.shift()?.(reason)
      },
      onRefusedCaller: (reason) => void refused.push(reason),
    },
  )
  const port = await listen(server, '127.0.0.1', 0)
  t.teardown(async () => {
    server.closeAllConnections()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  })
  const nextFailure = () => new Promise<string>((resolve) => void waiting.push(resolve))
  return { server, port, log, failures, refused, lines, nextFailure }
}

export function recordingLog(): { log: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>)
      done()
    },
  })
  return { log: pino({ level: 'trace' }, sink), lines }
}

/** What a client got: `error` is the code of the failure, if the connection failed. */
export interface Exchange {
  text: string
  error?: string
  socket: TLSSocket
}

/** Connects by TLS, sends `request` as it is, and collects what comes until the end. */
export function exchange(options: ConnectionOptions, request: string): Promise<Exchange> {
  return new Promise((resolve) => {
    let text = ''
    let failure: string | undefined
    const socket = connect({ host: '127.0.0.1', servername: 'localhost', ...options })
    socket.on('secureConnect', () => socket.write(request))
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('error', (error: NodeJS.ErrnoException) => (failure ??= error.code ?? error.message))
    socket.on('close', () =>
      resolve({ text, socket, ...(failure === undefined ? {} : { error: failure }) }),
    )
  })
}
