// Swagger UI in Chromium: both documents are shown, and the gateway can be tried out from there.
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import type { Browser, Page } from 'puppeteer-core'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { startBrowser } from '../helpers/browser.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'

/** Where a picture for the documentation is to go; none is made unless it is given. */
const pictures = process.env['SCREENSHOTS']
const image = await buildSampleImage({ layerBytes: 1000 })
const digest = image.tags.get('1.0') ?? ''

async function start(t: Test, auth: string, clientAuth: string) {
  const upstream = await startUpstream(t, { repositories: { 'team/app': image } })
  const files = { users: `alice:${hashSync('secret', 4)}` }
  const yaml = `upstreams: { registry.test: { url: '${upstream.url}' } }
defaultUpstream: registry.test
auth: ${auth}`
  const gateway = await startTestGateway(t, yaml, { clientAuth, files })
  return { ...gateway, docs: `http://localhost:${gateway.adminPort}/docs` }
}

async function open(t: Test, browser: Browser, url: string) {
  const page = await browser.newPage()
  t.teardown(() => page.close())
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  await page.goto(url)
  await page.waitForSelector('.opblock')
  return { page, asked }
}

const operation = '#operations-manifests-getManifest'

/** Opens the operation and says which manifest it is about, as a person does it. */
async function prepare(page: Page): Promise<void> {
  await page.click(`${operation} .opblock-summary-control`)
  const button = await page.waitForSelector(`${operation} .try-out__btn`)
  await button?.click()
  for (const [name, value] of [
    ['name', 'team/app'],
    ['reference', '1.0'],
  ] as const) {
    const row = `${operation} tr[data-param-name="${name}"][data-param-in="path"]`
    const field = await page.waitForSelector(`${row} input`)
    await field?.click({ count: 3 })
    await field?.type(value)
  }
}

/** The answer as the page shows it: its status, its headers and its body. */
async function execute(page: Page): Promise<{ status: string; text: string }> {
  const answer = `${operation} .live-responses-table tbody`
  const again = await page.$(`${operation} .btn-clear`)
  await again?.click()
  await page.waitForSelector(answer, { hidden: true })
  await page.click(`${operation} .execute`)
  await page.waitForSelector(answer)
  const textOf = (column: string) =>
    page.$eval(`${answer} .response-col_${column}`, ({ textContent }) => textContent ?? '')
  return { status: (await textOf('status')).slice(0, 3), text: await textOf('description') }
}

async function authorize(page: Page, token: string): Promise<void> {
  await page.click('.btn.authorize')
  const field = await page.waitForSelector('.auth-container input')
  await field?.type(token)
  await page.click('.auth-btn-wrapper .authorize')
  await page.click('.auth-btn-wrapper .btn-done')
}

t.test('in Chromium', optionsFor('docs'), async (t) => {
  const pki = await testPki()
  const browser = await startBrowser(t, { caPem: pki.ca.certificatePem, client: pki.client })

  t.test('both documents are shown, from the admin listener alone', async (t) => {
    const { docs, adminPort } = await start(t, '{ require: none }', 'none')
    const { page, asked } = await open(t, browser, docs)
    const title = () => page.$eval('.info .title', ({ textContent }) => textContent ?? '')
    t.match(await title(), /the registry API/)
    await page.select('.topbar select', '/docs/admin.json')
    await page.waitForSelector('#operations-probes-getReadiness')
    t.match(await title(), /the admin API/)
    const own = `http://localhost:${adminPort}/`
    const elsewhere = asked.filter((url) => !url.startsWith(own) && !url.startsWith('data:'))
    t.same(elsewhere, [])
  })

  t.test('a pull with the client certificate', async (t) => {
    const { docs, lastRequest } = await start(t, '{ require: certificate }', 'required')
    const { page } = await open(t, browser, docs)
    await prepare(page)
    const { status, text } = await execute(page)
    t.equal(status, '200')
    t.match(text, `docker-content-digest: ${digest}`)
    if (pictures !== undefined) {
      await page.setViewport({ width: 1200, height: 2400, deviceScaleFactor: 0.8 })
      await page.evaluate('scrollTo(0, 0)')
      await page.screenshot({ path: join(pictures, 'api-docs.png') })
    }
    t.match(await lastRequest(), { identity: 'CN=client', repository: 'team/app', status: 200 })
  })

  t.test('a pull with a token', async (t) => {
    const auth = '{ require: token, tokenService: { key: token.key, htpasswd: users } }'
    const { docs, send, lastRequest } = await start(t, auth, 'none')
    const { page } = await open(t, browser, docs)
    await prepare(page)
    const refused = await execute(page)
    t.equal(refused.status, '401')
    t.match(refused.text, 'www-authenticate: Bearer realm=', 'the page may read the challenge')

    const authorization = `Basic ${Buffer.from('alice:secret').toString('base64')}`
    const query = 'scope=repository:team/app:pull'
    const given = await send(`/token?${query}`, { headers: { authorization }, client: null })
    const { token } = JSON.parse(given.body.toString()) as { token: string }
    await authorize(page, token)
    t.equal((await execute(page)).status, '200')
    t.match(await lastRequest(), { identity: /^token alice of /, status: 200 })
  })
})
