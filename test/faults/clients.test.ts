// What clients do to each other: many at once, one that leaves, one that is slow.
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import { connect } from 'node:tls'
import { digestOf } from '../../src/oci/digest.ts'
import { until } from '../helpers/cache.ts'
import { testPki } from '../helpers/tls.ts'
import * as faults from '../helpers/upstream.ts'
import { fault, layer, layerPath } from './site.ts'

const whole = { status: 200, bytes: layer.bytes.length, isWhole: true, digest: layer.digest }
const half = layer.bytes.length / 2
const isBlobGet = /^GET .*blobs/

fault('50 clients at once on one cold digest', async (t, { pull, upstream }) => {
  const gate = faults.gate()
  upstream.fail(faults.on(isBlobGet, gate.fault))
  const pulls = Array.from({ length: 50 }, async () => pull(layerPath))
  await gate.held(1)
  gate.open()
  for (const one of await Promise.all(pulls)) t.same(one, whole)
  t.equal(upstream.count(isBlobGet), 1, 'one request upstream')
})

fault('the first client leaves', async (t, { open, pull, upstream }) => {
  const valve = faults.valveAfter(half)
  upstream.fail(faults.on(isBlobGet, valve.fault))
  const first = await open(layerPath)
  await once(first, 'data')
  const others = Array.from({ length: 5 }, async () => pull(layerPath))
  first.destroy()
  valve.open()
  for (const one of await Promise.all(others)) t.same(one, whole)
  t.equal(upstream.count(isBlobGet), 1, 'one request upstream')
})

fault('everybody leaves', async (t, { open, upstream }) => {
  const valve = faults.valveAfter(half)
  upstream.fail(faults.on(isBlobGet, valve.fault))
  for (const client of await Promise.all([open(layerPath), open(layerPath)])) client.destroy()
  valve.open()
  t.ok(upstream.count(isBlobGet) <= 2)
})

fault('a client that does not read from its connection for a while', async (t, site) => {
  // More than the kernel takes for somebody who does not read.
  const large = 'x'.repeat(24 * 2 ** 20)
  const path = `/v2/app/blobs/${digestOf(large)}`
  site.upstream.fail(faults.on(isBlobGet, faults.status(200, {}, large)))
  const socket = connect({
    port: site.port,
    servername: 'localhost',
    ca: (await testPki()).ca.certificatePem,
  })
  await once(socket, 'secureConnect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
  const all = Array.from({ length: 3 }, async () => site.pull(path))
  for (const { digest } of await Promise.all(all)) {
    t.equal(digest, digestOf(large), 'holds nobody up')
  }
  const answer = await buffer(socket)
  const body = answer.subarray(answer.indexOf('\r\n\r\n') + 4)
  t.equal(digestOf(body), digestOf(large), 'and gets all of it')
})

fault('a client that is slow', async (t, { open, pull }) => {
  const slow = await open(layerPath)
  slow.pause()
  t.same(await pull(layerPath), whole, 'holds nobody up')
  let bytes = 0
  slow.on('data', (chunk: Buffer) => (bytes += chunk.length)).resume()
  await until(() => slow.complete)
  t.equal(bytes, layer.bytes.length, 'and gets all of it')
})
