// Reads the certificate of a client once for each connection, and what it has sent behind it where that is needed.
import { X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate, Server, TLSSocket } from 'node:tls'
import { LRUCache } from 'lru-cache'

const isKept = Symbol('is kept')
const chain = Symbol('chain')

type ChainSocket = TLSSocket & {
  /** Node's own, of a connection that has not ended; the error is OpenSSL's. */
  _handle: { verifyError: () => Error | null | undefined }
  [isKept]?: true
  [chain]?: readonly X509Certificate[]
}

/** More than any authority needs. */
const longest = 6

/** By their SHA-256: most clients come back, and parsing takes as long as reading. */
const parsed = new LRUCache<string, X509Certificate>({ max: 1000 })

/**
 * From now on `getPeerX509Certificate` of those who connect gives what was read once. Node's own takes the
 * certificates behind it out of OpenSSL's list and frees none of them, so that whoever connects would leave
 * some behind for good; and it asks for itself when it sees `secure` (nodejs/node#65579). `keylog` is the
 * only event that shows a socket before that; the secret that it is about is not looked at.
 */
export function keepPeerCertificates(server: Server): void {
  server.on('keylog', (_secret: Buffer, socket: ChainSocket) => {
    if (socket[isKept] === true) return
    socket[isKept] = true
    const { _handle: handle } = socket
    socket.prependOnceListener('secure', () => {
      const certificate = readCertificate(socket)
      // Why it is refused is told when it is gone.
      if (certificate !== undefined && handle.verifyError()) socket[chain] = readChain(socket)
      const answer = { getPeerX509Certificate: () => certificate }
      Object.assign(socket, answer)
      // Node asks this one whether there is any.
      Object.assign(handle, answer)
    })
    socket.once('secure', () => Reflect.deleteProperty(handle, 'getPeerX509Certificate'))
  })
}

/** The certificate of a client, and what it has sent behind it; empty where it has none. */
export function peerChainOf(
  socket: TLSSocket & Pick<ChainSocket, typeof chain>,
): readonly X509Certificate[] {
  return (socket[chain] ??= readChain(socket))
}

/** Takes 0.1 ms, and the whole chain 0.3. */
function readCertificate(socket: TLSSocket): X509Certificate | undefined {
  const read: Partial<DetailedPeerCertificate> | null = socket.getPeerCertificate()
  return read === null ? undefined : parse(read)
}

function readChain(socket: TLSSocket): X509Certificate[] {
  const read: X509Certificate[] = []
  let next: Partial<DetailedPeerCertificate> | null = socket.getPeerCertificate(true)
  while (next !== null && read.length < longest) {
    const certificate = parse(next)
    if (certificate === undefined) break
    read.push(certificate)
    const above: Partial<DetailedPeerCertificate> = next.issuerCertificate ?? {}
    next = above === next ? null : above
  }
  return read
}

function parse({ raw, fingerprint256 }: Partial<DetailedPeerCertificate>) {
  if (raw === undefined || fingerprint256 === undefined) return undefined
  const known = parsed.get(fingerprint256)
  if (known !== undefined) return known
  const certificate = new X509Certificate(raw)
  parsed.set(fingerprint256, certificate)
  return certificate
}
