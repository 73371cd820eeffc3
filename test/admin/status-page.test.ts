// The status page as it is served: complete, from here alone, and readable for who may not see it.
import { createHash } from 'node:crypto'
import t, { type Test } from 'tap'
import { createMetrics } from '../../src/admin/metrics.ts'
import { createAdmin } from '../../src/admin/server.ts'
import { drain } from '../../src/listener/drain.ts'
import { listen } from '../../src/listener/server.ts'
import { defaultLimits, noTls, recordingLog } from '../helpers/listener.ts'

async function start(t: Test, mayAdminister = true) {
  const admin = createAdmin({
    config: { host: '127.0.0.1', port: 0, names: [], tls: noTls },
    metrics: createMetrics(),
    readiness: async () => ({ ok: true, problems: [], warnings: [] }),
    limits: () => defaultLimits,
    gatewayUrls: () => [],
    mayAdminister: () => mayAdminister,
    log: recordingLog().log,
  })
  await admin.ready()
  const port = await listen(admin.server, '127.0.0.1', 0, 'admin')
  t.teardown(async () => {
    await drain(admin.server, 0)
    await admin.close()
  })
  return `http://127.0.0.1:${port}`
}

t.test('all that it names is here, and nothing else may be run', async (t) => {
  const url = await start(t)
  const answer = await fetch(url)
  const page = await answer.text()
  const policy = answer.headers.get('content-security-policy') ?? ''
  t.match(policy, /^default-src 'none'; /)
  t.notMatch(policy, /unsafe|\*|http/)
  const [, map = ''] = /<script type="importmap">(.*?)<\/script>/s.exec(page) ?? []
  t.match(policy, `'sha256-${createHash('sha256').update(map).digest('base64')}'`)
  t.notMatch(page, /<script(?![^>]*(?:src=|type="importmap"))| style=| on[a-z]+=/)

  const seen = new Set<string>()
  const wanted = [...page.matchAll(/(?:src|href)="(\/page\/[^"]+)"/g)].map(([, path = '']) => path)
  wanted.push(...Object.values((JSON.parse(map) as { imports: Record<string, string> }).imports))
  for (const path of wanted) {
    if (seen.has(path)) continue
    seen.add(path)
    const file = await fetch(`${url}${path}`)
    t.equal(file.status, 200, path)
    if (!path.endsWith('.js')) continue
    t.match(file.headers.get('content-type'), 'text/javascript')
    const source = await file.text()
    const imports = [...source.matchAll(/^import .* from '\.\/([^']+)'$/gm)]
    wanted.push(...imports.map(([, name]) => `/page/${name}`))
  }
  t.ok(seen.size > 10, 'modules are followed')
  t.equal((await fetch(`${url}/page/tsconfig.json`)).status, 404, 'nothing else is served')
})

t.test('who may not see it is told what to do', async (t) => {
  const url = await start(t, false)
  const refused = await fetch(url, { headers: { accept: 'text/html,*/*;q=0.8' } })
  t.equal(refused.status, 403)
  t.match(refused.headers.get('content-type'), 'text/html')
  t.match(await refused.text(), /pki client NAME --for browser.*admin:read/s)
  const program = await fetch(url)
  t.equal(program.status, 403)
  t.match(await program.json(), { errors: [{ code: 'DENIED' }] })
})
