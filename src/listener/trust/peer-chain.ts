// Keeps the chain that a client has sent: Node lets go of it before a server hears of the connection.
import { X509Certificate } from 'node:crypto'
import type { DetailedPeerCertificate, Server, TLSSocket } from 'node:tls'

const chain = Symbol('chain')

type ChainSocket = TLSSocket & { [chain]?: readonly X509Certificate[] }

/** More than any authority needs. */
const longest = 6

/**
 * From now on remembers the chains of those who connect. The first reading of a server's
 * `getPeerX509Certificate` takes the chain out of OpenSSL, and Node's own is the first, when it sees
 * `secure` (nodejs/node#65579); so this one comes before it. `keylog` is the only event that shows a
 * socket that early; the secret that it is about is not looked at.
 */
export function keepPeerChains(server: Server): void {
  server.on('keylog', (_secret: Buffer, socket: ChainSocket) => {
    if (socket[chain] !== undefined) return
    socket[chain] = []
    socket.prependOnceListener('secure', () => (socket[chain] = readChain(socket)))
  })
}

/** The certificate of a client, and what it has sent behind it; empty where it has none. */
export function peerChainOf(socket: ChainSocket): readonly X509Certificate[] {
  return (socket[chain] ??= readChain(socket))
}

/** `getPeerX509Certificate` would take the chain out of OpenSSL, and free none of it. */
function readChain(socket: TLSSocket): X509Certificate[] {
  const read: X509Certificate[] = []
  let next: Partial<DetailedPeerCertificate> | undefined = socket.getPeerCertificate(true)
  while (next?.raw !== undefined && read.length < longest) {
    read.push(new X509Certificate(next.raw))
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate
  }
  return read
}
