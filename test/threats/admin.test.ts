// Threats to what the admin listener and the socket in the cache folder can do.
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { text } from 'node:stream/consumers'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { askInFolder } from '../../src/admin/control-socket.ts'
import { asNobody } from '../helpers/nobody.ts'
import { manifestPath, startSite, threat } from './site.ts'

threat('a page of somebody else that asks the admin listener', async (t) => {
  const site = await startSite(t)
  t.equal((await site.send(manifestPath)).status, 200)
  const ask = async (method: string, path: string, headers: Record<string, string>, body = '') => {
    // A browser's fetch would set some of these by itself.
    const asked = request({ host: '127.0.0.1', port: site.adminPort, method, path, headers })
    asked.end(body)
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    return { status: response.statusCode, headers: response.headers, body: await text(response) }
  }
  const held = async () => (await ask('GET', '/api/v1/images', {})).body
  while (!(await held()).includes('app:1.0')) await sleep(10)
  const evict = '{"image":"app:1.0","force":true}'
  const json = { 'content-type': 'application/json' }
  const attempts = [
    { host: 'evil.example', ...json },
    { host: `evil.example:${site.adminPort}`, origin: 'http://evil.example', ...json },
    { host: `localhost:${site.adminPort}`, origin: 'https://evil.example', ...json },
    { host: `localhost:${site.adminPort}`, origin: 'http://localhost:1', ...json },
    { host: `localhost:${site.adminPort}`, origin: 'null', ...json },
    { host: `localhost:${site.adminPort}`, 'sec-fetch-site': 'cross-site', ...json },
    { host: `localhost:${site.adminPort}`, 'sec-fetch-site': 'same-site', ...json },
    { host: `localhost:${site.adminPort}`, 'content-type': 'text/plain' },
    { host: `localhost:${site.adminPort}`, 'content-type': 'application/x-www-form-urlencoded' },
  ]
  for (const headers of attempts) {
    const { status } = await ask('POST', '/api/v1/evict', headers, evict)
    t.ok(status === 403 || status === 415, `${JSON.stringify(headers)}: ${status}`)
  }
  const question = await ask('OPTIONS', '/api/v1/evict', {
    host: `localhost:${site.adminPort}`,
    origin: 'https://evil.example',
    'access-control-request-method': 'POST',
  })
  t.equal(question.headers['access-control-allow-origin'], undefined, 'nor is it told that it may')
  t.match(await held(), 'app:1.0', 'it is there still')
})

threat('another user of the machine at the control socket', async (t) => {
  const site = await startSite(t)
  const dir = join(site.folder, 'cache')
  const health = { method: 'GET', path: '/healthz' }
  t.match(await askInFolder(dir, health), { status: 200 }, 'its owner is answered')
  await asNobody([], async () => {
    await t.rejects(askInFolder(dir, health), { code: 'EACCES' })
  })
})
