// admin.yaml says what the admin listener answers; and the pages that show both documents.
import t, { type Test } from 'tap'
import { createMetrics } from '../../src/admin/metrics.ts'
import type { Readiness } from '../../src/admin/readiness.ts'
import { createAdmin } from '../../src/admin/server.ts'
import { drain } from '../../src/listener/drain.ts'
import { listen } from '../../src/listener/server.ts'
import { readDocument } from '../helpers/api-document.ts'
import { makeCertificate } from '../helpers/certificates.ts'
import { checkContract, fetchAnswer, parseAnswer, type Case } from '../helpers/contract.ts'
import { defaultLimits, exchange, makeSite, recordingLog } from '../helpers/listener.ts'

async function start(t: Test, readiness: () => Promise<Readiness>) {
  const site = await makeSite(t, { clientAuth: 'optional' })
  const wrongCa = await makeCertificate({ subject: 'CN=Other', ca: true })
  const wrong = await makeCertificate({ subject: 'CN=x', issuer: wrongCa, purposes: ['client'] })
  const serve = async (tls: typeof site.tls) => {
    const config = { host: '127.0.0.1', port: 0, names: [], tls }
    const limits = () => defaultLimits
    const { log } = recordingLog()
    const metrics = createMetrics()
    const gatewayUrls = () => ['https://gateway.local:5443', 'https://127.0.0.1:5443']
    const admin = createAdmin({ config, metrics, readiness, limits, gatewayUrls, log })
    await admin.ready()
    t.teardown(async () => {
      await drain(admin.server, 0)
      await admin.close()
    })
    return listen(admin.server, config.host, 0, 'admin')
  }
  const { cert: _cert, key: _key, ...plain } = site.tls
  const port = await serve(site.tls)
  return {
    url: `http://127.0.0.1:${await serve({ ...plain, clientAuth: 'none' })}`,
    /** An answer to a caller whose certificate is from an authority that is not known. */
    refused: async (path: string) => {
      const { text } = await exchange(
        { port, ca: site.ca.certificatePem, cert: wrong.certificatePem, key: wrong.keyPem },
        `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      )
      return parseAnswer(text)
    },
  }
}

t.test('every documented response', async (t) => {
  const { operations, ...rest } = readDocument('admin.yaml')
  // Those have a test of their own.
  const document = {
    ...rest,
    operations: operations.filter(({ path }) => !path.startsWith('/api/')),
  }
  const state: Readiness = { ok: true, problems: [], warnings: [] }
  const { url, refused } = await start(t, async () => state)
  const usual = document.operations.flatMap(({ id, path }): Case[] => [
    { operation: id, status: 200, send: () => fetchAnswer(`${url}${path}`) },
    { operation: id, status: 403, code: 'DENIED', send: () => refused(path) },
    { operation: id, status: 404, code: 'NOT_FOUND', send: () => fetchAnswer(`${url}${path}/no`) },
  ])
  const unready = async () => {
    Object.assign(state, { ok: false, problems: ['cache.dir: is not writable'] })
    return fetchAnswer(`${url}/readyz`)
  }
  await checkContract(t, document, [
    ...usual,
    { operation: 'getReadiness', status: 503, send: unready },
  ])
})

t.test('the page loads nothing from elsewhere and may call the gateway only', async (t) => {
  const { url } = await start(t, async () => ({ ok: true, problems: [], warnings: [] }))
  const { body, headers } = await fetchAnswer(`${url}/docs`)
  t.match(headers['content-security-policy'], /(^|; )default-src 'none'; script-src 'self';/)
  t.match(
    headers['content-security-policy'],
    /; connect-src 'self' https:\/\/gateway\.local:5443 https:\/\/127\.0\.0\.1:5443;/,
  )
  const files = [...body.toString().matchAll(/(?:src|href)="([^"]+)"/g)].map(
    ([, file = '']) => file,
  )
  t.ok(files.length > 5)
  for (const file of files) {
    t.match(file, /^\/docs\/static\//)
    t.equal((await fetchAnswer(`${url}${file}`)).status, 200, file)
  }
  const initializer = await fetchAnswer(`${url}/docs/static/swagger-initializer.js`)
  t.match(initializer.body.toString(), /"url":"\/docs\/json".*"url":"\/docs\/admin\.json"/s)
})

t.test('the servers of the registry document are those of the gateway', async (t) => {
  const { url } = await start(t, async () => ({ ok: true, problems: [], warnings: [] }))
  const { body } = await fetchAnswer(`${url}/docs/json`)
  t.match(JSON.parse(body.toString()), {
    servers: [
      {
        url: '{gateway}',
        variables: {
          gateway: {
            description: String,
            enum: ['https://gateway.local:5443', 'https://127.0.0.1:5443'],
            default: 'https://127.0.0.1:5443',
          },
        },
      },
    ],
  })
})
