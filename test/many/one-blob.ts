// Five hundred clients of one cold blob of 256 MiB.
import { once } from 'node:events'
import type { OnReadOpts } from 'node:net'
import { connect } from 'node:tls'
import { testPki } from '../helpers/tls.ts'
import { startSoakSite, type SoakSite } from '../soak/site.ts'
import {
  descriptorsMore,
  descriptorsOf,
  growthOf,
  heldBy,
  inspected,
  type Scenario,
} from './figure.ts'

const clients = 500
const mebibyte = 2 ** 20
/** Beside what the gateway has anyway: what waits in five hundred sockets. */
const peakLimit = 512
/** Sixteen are the buffers that are kept for those who come next. */
const leftLimit = 24

/** One request upstream, memory at its peak and afterwards, descriptors. */
export const oneBlob: Scenario = async (t, scale) => {
  const size = Math.round(256 * scale) * mebibyte
  const count = Math.round(clients * Math.min(1, scale * 2))
  const site = await startSoakSite(t, { by: inspected })
  const digest = site.newBlob(size)
  const before = { held: await heldBy(site), open: descriptorsOf(site) }
  const resident = site.gateway.memory()
  const started = performance.now()
  const content = site.image.blobs.get(digest) ?? Buffer.alloc(0)
  const pulls = Array.from({ length: count }, async () => isRight(site, digest, content))
  const right = (await Promise.all(pulls)).filter(Boolean).length
  const seconds = (performance.now() - started) / 1000
  return [
    { what: `${count} clients of ${size / mebibyte} MiB`, value: seconds, unit: 's' },
    { what: 'wrong bodies', value: count - right, unit: '', limit: 0 },
    { what: 'requests upstream', value: site.upstream.count(/^GET .*blobs/), unit: '', limit: 1 },
    {
      what: 'memory at its peak',
      value: (site.gateway.peakMemory() - resident) / mebibyte,
      unit: 'MiB more',
      limit: peakLimit,
    },
    {
      what: 'descriptors left',
      value: await descriptorsMore(site, before.open, 3),
      unit: '',
      limit: 3,
    },
    {
      what: 'memory left',
      value: await growthOf(site, before.held),
      unit: 'MiB',
      limit: leftLimit,
    },
  ]
}

const nothing = Buffer.alloc(0)
const endOfHead = Buffer.from('\r\n\r\n')
/** One for all clients: what has come is compared before anything else happens. */
const arrival = Buffer.allocUnsafeSlow(256 * 1024)

/**
 * A client with as little as can be between its socket and the comparison of each piece, where it
 * belongs: hashing, and Node's streams and HTTP, would take longer than the gateway takes to send.
 */
async function isRight({ gateway }: SoakSite, digest: string, content: Buffer): Promise<boolean> {
  const { ca, client } = await testPki()
  let head: Buffer | undefined = nothing
  let position = 0
  let isSame = true
  const { promise: ended, resolve: end } = Promise.withResolvers<void>()

  /** What has come of the body once the head is there. */
  function bodyBehind(piece: Buffer): Buffer {
    head = Buffer.concat([head ?? nothing, piece])
    const at = head.indexOf(endOfHead)
    if (at < 0) return nothing
    isSame = head.toString('latin1', 0, at).startsWith('HTTP/1.1 200 ')
    const body = head.subarray(at + endOfHead.length)
    head = undefined
    return body
  }

  function received(piece: Buffer): void {
    isSame &&= piece.equals(content.subarray(position, position + piece.length))
    position += piece.length
    if (!isSame || position === content.length) end()
  }

  const onread: OnReadOpts = {
    buffer: arrival,
    callback(length, buffer) {
      const piece = Buffer.from(buffer.buffer, buffer.byteOffset, length)
      received(head === undefined ? piece : bodyBehind(piece))
      return true
    },
  }
  const options = {
    host: 'localhost',
    port: gateway.port,
    ca: ca.certificatePem,
    cert: client.certificatePem,
    key: client.keyPem,
    ciphers: 'TLS_AES_128_GCM_SHA256',
    // An option of net.connect, which is passed on.
    onread,
  }
  const socket = connect(options)
  socket.on('error', end).on('close', end)
  await once(socket, 'secureConnect')
  socket.write(`GET /v2/app/blobs/${digest} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await ended
  socket.destroy()
  return isSame && position === content.length
}
