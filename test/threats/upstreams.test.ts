// Threats by upstreams and by what stands between: wrong bytes, wrong places, echoes.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { digestOf } from '../../src/oci/digest.ts'
import * as faults from '../helpers/upstream.ts'
import {
  layer,
  layerPath,
  manifestPath,
  nothingLeaked,
  startSite,
  threat,
  type Site,
} from './site.ts'

/** How a pull of the layer ended: the bytes that came, and whether the answer says it was all. */
async function pullLayer(site: Site): Promise<{ status: number; bytes: number; isWhole: boolean }> {
  const response = await site.open(layerPath)
  let bytes = 0
  try {
    for await (const chunk of response) bytes += (chunk as Buffer).length
  } catch {
    return { status: response.statusCode ?? 0, bytes, isWhole: false }
  }
  return { status: response.statusCode ?? 0, bytes, isWhole: response.complete }
}

const empty = faults.status(200, { 'content-type': 'application/octet-stream' })
const other = Buffer.alloc(layer.bytes.length, 1)

const wrongBodies: Record<string, faults.Fault[]> = {
  'an empty body': [empty],
  'an empty body without a length': [
    (_req, res) => {
      res.useChunkedEncodingByDefault = false
      res.shouldKeepAlive = false
      res.writeHead(200).end()
      return true
    },
  ],
  'an empty chunked body': [
    (_req, res) => {
      res.writeHead(200, { 'transfer-encoding': 'chunked' }).end()
      return true
    },
  ],
  'one bit flipped': [faults.flipByte(layer.bytes.length - 1)],
  'one bit flipped, chunked': [faults.flipByte(10), faults.chunked()],
  'a page': [faults.htmlPage()],
  'other bytes of the same length': [faults.status(200, {}, other.toString('latin1'))],
}

threat('an upstream body that does not hash to its digest', async (t) => {
  for (const [name, list] of Object.entries(wrongBodies)) {
    const site = await startSite(t, { faults: [faults.on(/^GET .*blobs\/sha256/, ...list)] })
    const pulled = await pullLayer(site)
    if (pulled.status === 200) t.notOk(pulled.isWhole, `${name}: the answer breaks off`)
    else t.ok(pulled.status >= 500, `${name}: ${pulled.status}`)
    t.ok(pulled.bytes < layer.bytes.length, `${name}: never all of it`)
    site.upstream.fail()
    const again = await site.send(layerPath)
    t.equal(digestOf(again.body), layer.digest, `${name}: nothing of it was kept`)
  }
})

const wrongManifests: Record<string, faults.Fault> = {
  'a page': faults.htmlPage(),
  'an empty body': faults.status(200, { 'content-type': 'application/json' }),
  'both layers and manifests': faults.status(
    200,
    { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
    JSON.stringify({ schemaVersion: 2, config: {}, layers: [], manifests: [] }),
  ),
  'keys that differ in case': faults.status(
    200,
    { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
    '{"schemaVersion":2,"config":{},"layers":[],"Manifests":[]}',
  ),
  'more than a manifest may have': (_req, res) => {
    res.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' })
    res.end(Buffer.alloc(6 * 2 ** 20, ' '))
    return true
  },
}

threat('an upstream manifest that is none', async (t) => {
  for (const [name, fault] of Object.entries(wrongManifests)) {
    const site = await startSite(t, { faults: [faults.on(/^GET .*manifests/, fault)] })
    const answer = await site.send(manifestPath)
    t.equal(answer.status, 502, name)
    t.same(
      JSON.parse((await site.send('/v2/_catalog')).body.toString()),
      { repositories: [] },
      `${name}: nothing is kept`,
    )
    site.upstream.fail()
    t.equal((await site.send(manifestPath)).status, 200, `${name}: and the next pull works`)
  }
})

/** A server that nobody may ever ask: what it was asked is kept. */
async function startTrap(t: Test): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const server = createServer((req, res) => {
    asked.push(`${req.method} ${req.url} ${req.headers.authorization ?? ''}`)
    res.end('{"token":"x"}')
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.2', resolve)
  })
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.2:${(server.address() as AddressInfo).port}`, asked }
}

threat('a hostile realm, redirect or layer URL', async (t) => {
  const trap = await startTrap(t)
  const challenge = { 'www-authenticate': `Bearer realm="${trap.url}/token",service="x"` }
  const secret = 'canary-of-the-upstream'
  const hostile = {
    realm: faults.status(401, challenge),
    redirect: faults.status(307, { location: `${trap.url}/blob` }),
    'redirect with user': faults.status(307, { location: `http://a@${trap.url.slice(7)}/` }),
    'redirect to a file': faults.status(307, { location: 'file:///etc/passwd' }),
  }
  for (const [name, fault] of Object.entries(hostile)) {
    const site = await startSite(t, {
      faults: [faults.on(/blobs|manifests/, fault)],
      upstreamKeys: 'auth: { username: robot, passwordFile: password }',
      files: { password: secret },
    })
    for (const path of [manifestPath, layerPath]) {
      t.equal((await site.send(path)).status, 502, `${name}, ${path.split('/')[3]}`)
    }
    t.notMatch(JSON.stringify(site.lines), secret, `${name}: the password is nowhere`)
  }
  t.same(trap.asked, [], 'nobody was asked')
})

threat('an upstream that tells what it was sent', async (t) => {
  const secret = 'canary-of-the-upstream'
  const echo: faults.Fault = (req, res) => {
    if (req.headers.authorization === undefined) {
      return faults.status(401, { 'www-authenticate': 'Basic realm="x"' })(req, res)
    }
    const sent = JSON.stringify(req.headers)
    res.writeHead(500, { 'content-type': 'text/plain', 'x-echo': sent })
    res.end(`${sent} ${secret}`)
    return true
  }
  const site = await startSite(t, {
    faults: [faults.on(/blobs|manifests/, echo)],
    upstreamKeys: 'auth: { username: robot, passwordFile: password }',
    files: { password: secret },
  })
  const basic = Buffer.from(`robot:${secret}`).toString('base64')
  for (const path of [manifestPath, layerPath]) {
    const answer = await site.send(path)
    t.ok(answer.status >= 500)
    t.notMatch(answer.body.toString(), secret)
    t.notMatch(answer.body.toString(), basic)
    nothingLeaked(t, answer.body)
  }
  t.notMatch(JSON.stringify(site.lines), secret, 'nor is it in the log')
  t.notMatch(JSON.stringify(site.lines), basic)
})
