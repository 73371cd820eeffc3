// The status page in Chromium: what a person sees, clicks and reads, in both schemes and both widths.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import axe from 'axe-core'
import type { Browser, Page } from 'puppeteer-core'
import t, { type Test } from 'tap'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import { issueCertificate } from '../../src/pki/authority.ts'
import { startBrowser } from '../helpers/browser.ts'
import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { on, stallAfter, startUpstream, status } from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'

const image = await buildSampleImage({ layerBytes: 3_000_000 })
const other = await buildSampleImage({ layerBytes: 1000, seed: 'other' })
/** Where pictures for the documentation are to go; none are made unless it is given. */
const pictures = process.env['SCREENSHOTS']

/** How long something may take to be shown on a busy machine, ms. */
const patience = 20_000
const widths = { wide: 1200, narrow: 390 }

async function start(t: Test, port = 0, repositories: Record<string, SampleContent> = {}) {
  const upstream = await startUpstream(t, { repositories: { 'team/app': image, ...repositories } })
  const yaml = `upstreams: { registry.test: { url: '${upstream.url}', tagTtl: 0s } }
defaultUpstream: registry.test
auth: { require: certificate }`
  const gateway = await startTestGateway(t, yaml, { admin: `admin: { port: ${port} }` })
  return { ...gateway, upstream }
}

interface Opened {
  page: Page
  /** What the console said, and what was asked elsewhere. */
  oddities: string[]
  /** Waits until the page shows it. */
  shows: (id: string, text: RegExp) => Promise<string>
}

async function open(t: Test, browser: Browser, url: string): Promise<Opened> {
  const page = await browser.newPage()
  t.teardown(() => page.close())
  const oddities: string[] = []
  page.on('console', (message) => {
    if (['error', 'warn'].includes(message.type())) oddities.push(message.text())
  })
  page.on('pageerror', (error) => oddities.push(String(error)))
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) {
      oddities.push(request.url())
    }
  })
  await page.setViewport({ width: widths.wide, height: 900 })
  await page.goto(url)
  const shows = async (id: string, text: RegExp) => {
    for (const until = Date.now() + patience; ;) {
      const shown = await page.$eval(`#${id}`, ({ textContent }) => textContent ?? '')
      if (text.test(shown)) return shown
      if (Date.now() > until) throw new Error(`#${id} shows ${shown}, and never ${text}`)
      await setTimeout(50)
    }
  }
  return { page, oddities, shows }
}

const urlOf = ({ adminPort }: Pick<TestGateway, 'adminPort'>) => `http://localhost:${adminPort}/`

/** Looks for what keeps people out, at both widths and in both schemes; and takes pictures. */
async function inspect(t: Test, page: Page, name: string): Promise<void> {
  await page.evaluate(axe.source)
  for (const scheme of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
    for (const [size, width] of Object.entries(widths)) {
      await page.setViewport({ width, height: 900 })
      const found = (await page.evaluate('axe.run().then(({ violations }) => violations)')) as {
        id: string
        nodes: { html: string; failureSummary: string }[]
      }[]
      const told = found.map(({ id, nodes }) => ({ id, first: nodes[0] }))
      t.same(told, [], `${name}, ${scheme}, ${size}`)
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )
      t.equal(overflow, 0, `${name}, ${size}: nothing sticks out`)
      if (pictures === undefined) continue
      const path = join(pictures, `status-${name}-${scheme}-${size}.png`)
      await page.screenshot({ path, fullPage: true })
    }
  }
  await page.setViewport({ width: widths.wide, height: 900 })
}

async function press(page: Page, label: string): Promise<void> {
  const button = await page.waitForSelector(`button[aria-label="${label}"]`)
  await button?.click()
}

t.test('in Chromium', optionsFor('status-page'), async (t) => {
  const pki = await testPki()
  const browser = await startBrowser(t, { caPem: pki.ca.certificatePem, client: pki.client })

  t.test('nothing is going on', async (t) => {
    const gateway = await start(t)
    const { page, oddities, shows } = await open(t, browser, urlOf(gateway))
    await shows('summary', /^All is well$/)
    await shows('connection', /^live$/)
    await shows('images', /holds no image yet/)
    await shows('downloads', /Nothing is being fetched/)
    await shows('upstreams', /registry\.test.*is asked/)
    await shows('certificates', /listen\.tls\.cert/)
    await inspect(t, page, 'idle')
    t.same(oddities, [])
  })

  t.test('a download, from its beginning to an image that is pinned and taken out', async (t) => {
    const gateway = await start(t, 0, { 'team/other': other })
    const { page, oddities, shows } = await open(t, browser, urlOf(gateway))
    const { send, upstream } = gateway
    await send('/v2/team/other/manifests/1.0')
    const manifest = await send('/v2/team/app/manifests/1.0')
    const [platform] = (JSON.parse(manifest.body.toString()) as { manifests: [{ digest: string }] })
      .manifests
    const child = await send(`/v2/team/app/manifests/${platform.digest}`)
    const { layers } = JSON.parse(child.body.toString()) as {
      layers: { digest: string; size: number }[]
    }
    const [largest] = layers.toSorted((a, b) => b.size - a.size)
    upstream.fail(on(/blobs/, stallAfter(1_000_000)))
    const pulling = await gateway.open(`/v2/team/app/blobs/${largest?.digest}`)
    pulling.on('error', () => undefined).resume()
    await shows('downloads', /registry\.test\/team\/app.*of 2\.9 MiB, one client waits/)
    await page.waitForSelector('#traffic canvas')
    await inspect(t, page, 'pull')
    pulling.destroy()

    const name = 'registry.test/team/other:1.0'
    await shows('images', /registry\.test\/team\/other:1\.0/)
    await press(page, `Pin ${name}`)
    await shows('message', /is pinned: it stays/)
    await shows('images', /pinned by operator/)
    const focused = await page.evaluate('document.activeElement.getAttribute("aria-label")')
    t.equal(focused, `Unpin ${name}`, 'the focus stays')
    await press(page, `Unpin ${name}`)
    await shows('message', /not pinned any more/)

    await press(page, `Take out ${name}`)
    await shows('confirm-question', /frees/)
    await page.click('#confirm button[value=""]')
    await press(page, `Take out ${name}`)
    await page.click('#confirm-yes')
    await shows('message', /other:1\.0 has gone/)

    await page.click('#prune button')
    await shows('message', /within 30 days/)
    t.same(oddities, [])
  })

  t.test('an upstream that fails, and who is refused', async (t) => {
    const gateway = await start(t)
    const { page, oddities, shows } = await open(t, browser, urlOf(gateway))
    gateway.upstream.fail(status(503))
    for (const name of ['app', 'other']) await gateway.send(`/v2/team/${name}/manifests/1.0`)
    await gateway.send('/v2/team/app/manifests/1.0', { client: null })
    await shows('concerns', /registry\.test cannot be asked.*portcullis doctor registry\.test/s)
    await shows('summary', /to look at$/)
    await shows('refusals', /anonymous, .*pull registry\.test\/team\/app/)
    await inspect(t, page, 'failing')
    t.same(oddities, [])
  })

  t.test('the gateway ends, and begins anew', async (t) => {
    const first = await start(t)
    const { oddities, shows } = await open(t, browser, urlOf(first))
    await shows('connection', /^live$/)
    const before = await shows('version', /started/)
    await first.close(0)
    await shows('connection', /does not answer/)
    const second = await start(t, first.adminPort, { 'team/other': image })
    await second.send('/v2/team/other/manifests/1.0')
    await shows('connection', /^live$/)
    t.equal(await shows('version', /started/), before)
    await shows('images', /team\/other:1\.0/)
    await second.send('/v2/team/other/manifests/1.0', { client: null })
    await shows('refusals', /anonymous/)
    t.same(
      oddities.filter(
        (text) => !/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY/.test(text),
      ),
      [],
    )
  })

  t.test('a certificate that ends soon', async (t) => {
    const gateway = await start(t)
    const { page, oddities, shows } = await open(t, browser, urlOf(gateway))
    await shows('summary', /^All is well$/)
    const soon = await issueCertificate(pki.ca, {
      profile: 'server',
      commonName: 'localhost',
      dnsNames: ['localhost'],
      notAfter: new Date(Date.now() + 5.5 * 86_400_000),
    })
    writeFileSync(join(gateway.folder, 'server.key'), soon.keyPem)
    writeFileSync(join(gateway.folder, 'server.crt'), soon.certificatePem)
    t.ok(await gateway.reload())
    await shows('concerns', /CN=localhost: 5 days left.*Renew .*server\.crt \(listen\.tls\.cert\)/s)
    await shows('connection', /^live$/)
    await inspect(t, page, 'expiring')
    t.same(oddities, [])
  })
})
