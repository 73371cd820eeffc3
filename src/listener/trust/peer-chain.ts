// Reads the certificate of a client once for each connection, and what it has sent behind it where that is needed.
import { X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate, Server, TLSSocket } from 'node:tls'
import { LRUCache } from 'lru-cache'
import { childrenOf, contentOf, elementAt } from './der.ts'

const chain = Symbol('chain')

type ChainSocket = TLSSocket & {
  /** Node's own, of a connection that has not ended; the error is OpenSSL's. */
  _handle: { verifyError: () => Error | null | undefined }
  [chain]?: readonly X509Certificate[]
}

/** More than any authority needs. */
const longest = 6

/** By their bytes: most clients come back, and parsing takes longer than reading. */
const parsed = new LRUCache<string, X509Certificate>({ max: 1000 })

/**
 * From now on `getPeerX509Certificate` of those who connect gives what was read once. Node's own takes the
 * certificates behind it out of OpenSSL's list and frees none of them, so that whoever connects would leave
 * some behind for good; and it asks for itself when it sees `secure` (nodejs/node#65579). `keylog` is the
 * only event that shows a socket before that; the secret that it is about is not looked at.
 */
export function keepPeerCertificates(server: Server): void {
  server.on('keylog', (_secret: Buffer, socket: ChainSocket) => {
    // Of the five of a handshake the first is enough.
    socket.removeAllListeners('keylog')
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
  })
}

/** The certificate of a client, and what it has sent behind it; empty where it has none. */
export function peerChainOf(
  socket: TLSSocket & Pick<ChainSocket, typeof chain>,
): readonly X509Certificate[] {
  return (socket[chain] ??= readChain(socket))
}

/** Out of the session, which takes a tenth of what `getPeerCertificate` does. */
function readCertificate(socket: TLSSocket): X509Certificate | undefined {
  const session = socket.getSession()
  const certificate = session && certificateIn(session)
  // The master secret is in it, too.
  session?.fill(0)
  if (certificate !== undefined) return certificate
  const read: Partial<DetailedPeerCertificate> | null = socket.getPeerCertificate()
  return parse(read?.raw)
}

/** That of the peer, which is `[3]` in what OpenSSL writes of a session. */
export function certificateIn(session: Buffer): X509Certificate | undefined {
  const fields = childrenOf(session, elementAt(session, 0))
  const peer = fields.find(({ tag }) => tag === peerTag)
  return peer && parse(contentOf(session, peer))
}

const peerTag = 0xa3

/** Takes 0.3 ms. */
function readChain(socket: TLSSocket): X509Certificate[] {
  const read: X509Certificate[] = []
  let next: Partial<DetailedPeerCertificate> | null = socket.getPeerCertificate(true)
  while (next !== null && read.length < longest) {
    const certificate = parse(next.raw)
    if (certificate === undefined) break
    read.push(certificate)
    const above: Partial<DetailedPeerCertificate> = next.issuerCertificate ?? {}
    next = above === next ? null : above
  }
  return read
}

/** @param der copied */
function parse(der: Buffer | undefined): X509Certificate | undefined {
  if (der === undefined) return undefined
  const bytes = der.toString('latin1')
  const known = parsed.get(bytes)
  if (known !== undefined) return known
  const certificate = new X509Certificate(der)
  parsed.set(bytes, certificate)
  return certificate
}
