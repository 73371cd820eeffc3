// The way to an upstream, part by part: name, connection, the proxy's tunnel, TLS handshake. Nothing
// is sent over it, so it may look at a certificate that is not trusted.
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { request } from 'node:http'
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { chainOf, type ChainCertificate } from './certificate-chain.ts'
import { failureFor, failureOfError, type FailureSubject } from '../failure.ts'
import { failed, passed, skipped, type Stage, type StepVerdict } from './step.ts'
import type { TlsOptions } from '../tls.ts'

export interface LineOptions {
  url: URL
  proxy: URL | undefined
  tls: TlsOptions
  subject: FailureSubject
  /** For each part, ms. */
  timeout: number
  now: () => number
}

export interface Line {
  /** In this order; `proxy` only where there is one. */
  stages: Stage[]
  /** What was presented, leaf first, be it trusted or not. */
  certificates: () => readonly ChainCertificate[]
  close: () => void
}

export function createLine({ url, proxy, tls, subject, timeout, now }: LineOptions): Line {
  const isSecure = url.protocol === 'https:'
  const next = proxy ?? url
  let addresses: LookupAddress[] = []
  let socket: Socket | undefined
  let certificates: ChainCertificate[] = []

  const untilTunnel = (error: unknown): StepVerdict =>
    failed(
      proxy === undefined
        ? failureOfError(subject, error)
        : failureFor(subject, 'proxy', { cause: error }),
    )

  const resolve = async (): Promise<StepVerdict> => {
    const host = hostOf(next)
    if (isIP(host) !== 0) return skipped(`${host} is an address`)
    addresses = await within(timeout, lookup(host, { all: true }))
    return passed(addresses.map(({ address }) => address).join(', '))
  }

  const connect = async (): Promise<StepVerdict> => {
    const given: LookupFunction = (_host, _options, callback) => callback(null, addresses)
    const to = { host: hostOf(next), port: portOf(next) }
    socket = connectTcp({ ...to, lookup: given, autoSelectFamily: true })
    await ready(socket, 'connect', timeout)
    return passed(`${socket.remoteAddress} port ${socket.remotePort}`)
  }

  const tunnel = async (): Promise<StepVerdict> => {
    if (!isSecure) return skipped('plain HTTP needs no tunnel')
    const target = `${url.hostname}:${portOf(url)}`
    socket = await openTunnel(next, socket, target, timeout)
    return passed(`tunnel to ${target}`)
  }

  const handshake = async (): Promise<StepVerdict> => {
    if (!isSecure) return skipped('its URL says http')
    const secured = secure(url, { ...tls, rejectUnauthorized: false }, socket)
    socket = secured
    const { description, error } = await ready(secured, 'secureConnect', timeout, () => {
      certificates = chainOf(secured.getPeerX509Certificate(), now())
      return describe(secured)
    })
    if (error === undefined) return passed(`${description}, verified`)
    if (!tls.rejectUnauthorized) return passed(`${description}, not verified (${error})`)
    return failed(failureOfError(subject, verificationError(error, certificates[0])))
  }

  const guarded = (
    run: () => Promise<StepVerdict>,
    judge: (error: unknown) => StepVerdict,
  ): Stage['run'] => {
    return () => run().catch(judge)
  }

  return {
    stages: [
      { step: 'dns', run: guarded(resolve, untilTunnel) },
      { step: 'tcp', run: guarded(connect, untilTunnel) },
      ...(proxy === undefined
        ? []
        : [{ step: 'proxy', run: guarded(tunnel, untilTunnel) } as const]),
      {
        step: 'tls',
        run: guarded(handshake, (error) => failed(failureOfError(subject, error))),
      },
    ],
    certificates: () => certificates,
    close: () => socket?.destroy(),
  }
}

/** The tunnel that an HTTP proxy opens by CONNECT (RFC 9110 section 9.3.6). */
async function openTunnel(
  proxy: URL,
  socket: Socket | undefined,
  target: string,
  timeout: number,
): Promise<Socket> {
  let connection = socket
  if (proxy.protocol === 'https:') {
    const secured = secure(proxy, { minVersion: 'TLSv1.2' }, socket)
    await ready(secured, 'secureConnect', timeout)
    connection = secured
  }
  return within(
    timeout,
    new Promise((resolve, reject) => {
      const headers = { host: target }
      request({
        ...(connection === undefined ? {} : { createConnection: () => connection }),
        method: 'CONNECT',
        path: target,
        headers,
      })
        .once('connect', ({ statusCode }, tunnel: Socket) => {
          if (statusCode === 200) resolve(tunnel)
          else reject(new Error(`the proxy answers ${statusCode} to CONNECT ${target}`))
        })
        .once('error', reject)
        .end()
    }),
  )
}

function secure(url: URL, options: ConnectionOptions, socket: Socket | undefined): TLSSocket {
  const host = hostOf(url)
  const servername = options.servername ?? (isIP(host) === 0 ? host : '')
  const below = socket === undefined ? {} : { socket }
  return connectTls({ ...options, ...below, host, servername, ALPNProtocols: ['http/1.1'] })
}

/** What `read` sees at the moment when the socket is ready: afterwards it may be closed already. */
function ready<Value = void>(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  timeout: number,
  read?: () => Value,
): Promise<Value> {
  const { promise, resolve, reject } = Promise.withResolvers<Value>()
  socket.once(event, () => resolve(read?.() as Value))
  // Also afterwards: the other side may still refuse a certificate.
  socket.on('error', reject)
  socket.once('close', () => reject(errorOf('ECONNRESET')))
  return within(timeout, promise).catch((error: unknown) => {
    socket.destroy()
    throw error
  })
}

function describe(socket: TLSSocket): { description: string; error: string | undefined } {
  const description = `${socket.getProtocol()} ${socket.getCipher().standardName}`
  // The typings know no code here, and there is never anything else.
  const error = socket.authorized ? undefined : String(socket.authorizationError)
  return { description, error }
}

/** Node's own error is not made where the certificate is not demanded. */
function verificationError(code: string, leaf: ChainCertificate | undefined): Error {
  if (code === 'UNSPECIFIED') return errorOf(code, wordsForWeak(leaf))
  if (code !== 'ERR_TLS_CERT_ALTNAME_INVALID') return errorOf(code)
  const names = leaf?.names.join(', ') ?? ''
  return errorOf(code, `it is for ${names === '' ? 'no name' : names}`)
}

/** OpenSSL's words for what its security level refuses: only they tell, and here they are lost. */
function wordsForWeak(leaf: ChainCertificate | undefined): string {
  const isOld = /sha1|md5/i.test(leaf?.signatureAlgorithm ?? '')
  return isOld ? 'CA signature digest algorithm too weak' : 'certificate key too weak'
}

async function within<Value>(timeout: number, promise: Promise<Value>): Promise<Value> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(errorOf('ETIMEDOUT')), timeout)
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function errorOf(code: string, message = code): Error {
  return Object.assign(new Error(message), { code })
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '')
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port)
}
