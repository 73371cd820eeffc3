// What `doctor` finds out: the right cause for each fault, the modes, and no secret given away.
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import {
  diagnoseConfig,
  diagnoseUpstream,
  failureIn,
  makeFiles,
  modesIn,
  outcomesOf,
  sample,
  serverOf,
} from '../../helpers/diagnosis.ts'
import { startProxy } from '../../helpers/proxy.ts'
import { testPki } from '../../helpers/tls.ts'
import { tokenAuth } from '../../helpers/token-auth.ts'
import { htmlPage, ignoreRange, on, status, type Fault } from '../../helpers/upstream.ts'

const pki = await testPki()
const files = await makeFiles(t)
const { ca, otherCa, client } = files
const right = serverOf(pki.server)
const twoWay = { ...right, ca: pki.ca.certificatePem, requestCert: true, rejectUnauthorized: true }
const image = { repository: 'app', reference: '1.0' }
const digest = sample.tags.get('1.0') ?? ''

t.test('two-way TLS as it should be', async (t) => {
  const { diagnosis, upstream } = await diagnoseUpstream(t, {
    server: twoWay,
    config: { tls: { ca, ...client } },
  })
  t.match(diagnosis, { upstream: 'up', mode: 'two-way secure', ok: true, warnings: [] })
  t.match(diagnosis.steps, [
    { step: 'dns', outcome: 'ok', detail: /127\.0\.0\.1|::1/ },
    { step: 'tcp', outcome: 'ok', detail: `port ${upstream.port}` },
    { step: 'tls', outcome: 'ok', detail: /^TLSv1\.3 TLS_\w+, verified$/ },
    { step: 'http', outcome: 'ok' },
    { step: 'auth', outcome: 'skipped' },
    { step: 'manifest', outcome: 'ok', detail: `app:1.0: ${digest}` },
    { step: 'range', outcome: 'ok', detail: /^sha256:\w+: bytes 1-/ },
  ])
  const measured = diagnosis.steps.filter(({ outcome }) => outcome === 'ok')
  t.ok(measured.every(({ ms = -1 }) => ms >= 0))
  t.match(diagnosis.certificates, [
    {
      subject: 'CN=localhost',
      issuer: 'CN=Test CA',
      names: ['localhost', '127.0.0.1'],
      fingerprint: /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/,
    },
    { subject: 'CN=Test CA' },
  ])
  const [leaf] = diagnosis.certificates
  const { validToDate } = new X509Certificate(pki.server.certificatePem)
  t.equal(leaf?.validTo, validToDate.toISOString())
  t.equal(leaf?.daysLeft, Math.floor((validToDate.getTime() - Date.now()) / 86_400_000))
  t.same(modesIn(diagnosis), {
    'one-way insecure': 'client_certificate_required',
    'one-way secure': 'client_certificate_required',
    'two-way insecure': 'works',
    'two-way secure': 'works',
  })
})

t.test('one-way TLS: what the config has no certificate for is not tried', async (t) => {
  const { diagnosis } = await diagnoseUpstream(t, { server: right, config: { tls: { ca } } })
  t.match(diagnosis, { mode: 'one-way secure', ok: true })
  t.same(modesIn(diagnosis), {
    'one-way insecure': 'works',
    'one-way secure': 'works',
    'two-way insecure': 'untried',
    'two-way secure': 'untried',
  })
})

t.test('certificates of the upstream that fail the check', async (t) => {
  for (const [server, tls, reason, message] of [
    [right, { ca: otherCa }, 'unknown_ca', 'check upstreams.up.tls.ca'],
    [right, {}, 'unknown_ca', 'check upstreams.up.tls.ca'],
    [serverOf(pki.wrongNameServer), { ca }, 'wrong_name', 'upstreams.up.tls.serverName'],
    [serverOf(pki.expiredServer), { ca }, 'expired', 'must be renewed there'],
  ] as const) {
    const { diagnosis } = await diagnoseUpstream(t, { server, config: { tls } })
    t.equal(diagnosis.ok, false)
    t.match(failureIn(diagnosis), { step: 'tls', reason, message })
    t.equal(diagnosis.certificates[0]?.subject, 'CN=localhost', 'it is shown nevertheless')
    t.match(modesIn(diagnosis), { 'one-way insecure': 'works', 'one-way secure': reason })
    t.match(outcomesOf(diagnosis).slice(3), ['http skipped', 'auth skipped'])
  }
  const { diagnosis } = await diagnoseUpstream(t, {
    server: serverOf(pki.wrongNameServer),
    config: { tls: { ca } },
  })
  t.match(failureIn(diagnosis)?.detail, 'it is for elsewhere.example')
})

t.test('a client certificate that is missing, by either version', async (t) => {
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const server = { ...twoWay, maxVersion }
    const { diagnosis } = await diagnoseUpstream(t, { server, config: { tls: { ca } } })
    t.match(failureIn(diagnosis), {
      step: maxVersion === 'TLSv1.2' ? 'tls' : 'http',
      reason: 'client_certificate_required',
      message: 'upstreams.up.tls.cert',
    })
  }
})

t.test('a client certificate that is refused', async (t) => {
  const page = '<html><title>400 The SSL certificate error</title></html>'
  const { diagnosis } = await diagnoseUpstream(t, {
    server: right,
    faults: [status(400, { 'content-type': 'text/html' }, page)],
    config: { tls: { ca, ...client } },
  })
  t.match(failureIn(diagnosis), {
    step: 'http',
    reason: 'client_certificate_refused',
    message: 'upstreams.up.tls.cert',
  })
})

t.test('no connection', async (t) => {
  const refused = await diagnoseConfig({ url: 'https://127.0.0.1:1' })
  t.match(failureIn(refused), { step: 'tcp', reason: 'refused', message: 'check upstreams.up.url' })
  t.same(outcomesOf(refused).slice(0, 3), ['dns skipped', 'tcp failed', 'tls skipped'])
  t.same(refused.modes, [])
  const nameless = await diagnoseConfig({ url: 'https://no..name' })
  t.match(failureIn(nameless), { step: 'dns', reason: 'dns', message: 'does not resolve' })

  const silent = createServer(() => {})
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => silent.close())
  const { port } = silent.address() as AddressInfo
  const stuck = await diagnoseConfig({ url: `https://127.0.0.1:${port}`, connectTimeout: 100 })
  t.match(failureIn(stuck), { step: 'tls', reason: 'timeout' })
  t.match(modesIn(stuck), { 'one-way insecure': 'timeout' })
})

t.test('what is no registry', async (t) => {
  for (const fault of [
    htmlPage(),
    status(404),
    status(401),
    status(302, { location: '/login' }),
    status(307, { location: 'https://other.example/v2/' }),
  ]) {
    const { diagnosis } = await diagnoseUpstream(t, { faults: [fault] })
    t.equal(diagnosis.mode, 'plain')
    t.match(failureIn(diagnosis), {
      step: 'http',
      reason: 'bad_response',
      message: 'not as a registry does; check upstreams.up.url',
    })
  }
})

t.test('plain HTTP where the URL says https, and the reverse', async (t) => {
  const { upstream, diagnosis } = await diagnoseUpstream(t, {})
  t.equal(diagnosis.ok, true)
  t.match(outcomesOf(diagnosis).slice(2, 4), ['tls skipped', 'http ok'])
  const overTls = await diagnoseConfig({ url: `https://localhost:${upstream.port}` })
  t.match(failureIn(overTls), { step: 'tls', reason: 'not_tls', message: 'upstreams.up.url' })
})

t.test('token authentication', async (t) => {
  const credentials = { username: 'robot', password: 'correct horse' }
  const auth = { username: 'robot', passwordFile: files.password }
  const config = { tls: { ca }, auth }
  for (const given of [undefined, image]) {
    const { diagnosis } = await diagnoseUpstream(t, {
      server: right,
      faults: [tokenAuth({ credentials }).fault],
      config,
      ...(given === undefined ? {} : { image: given }),
    })
    t.equal(diagnosis.ok, true)
    t.match(diagnosis.steps[4], { step: 'auth', outcome: 'ok', detail: /^token of .* with cred/ })
    t.notMatch(JSON.stringify(diagnosis), /correct horse|token-\d/)
  }
  const wrong = await diagnoseUpstream(t, {
    server: right,
    faults: [tokenAuth({ credentials: { ...credentials, password: 'battery staple' } }).fault],
    config,
  })
  t.match(failureIn(wrong.diagnosis), {
    step: 'auth',
    reason: 'credentials_refused',
    message: /token service of the upstream up .*check upstreams\.up\.auth/,
  })
  const nobody = await diagnoseUpstream(t, {
    server: right,
    faults: [tokenAuth({ credentials }).fault],
    config: { tls: { ca } },
  })
  t.match(nobody.diagnosis.steps[4], { step: 'auth', outcome: 'skipped', detail: '--image' })
})

t.test('a password that is asked for', async (t) => {
  const expected = `Basic ${Buffer.from('robot:correct horse').toString('base64')}`
  const wantsPassword = (password: string): Fault =>
    function fault(req, res) {
      if (req.headers.authorization === password) return false
      // It repeats what it was sent, as debugging pages do.
      const headers = { 'www-authenticate': 'Basic realm="here"' }
      return status(401, headers, `what is ${req.headers.authorization}?`)(req, res)
    }
  const auth = { username: 'robot', passwordFile: files.password }
  const config = { tls: { ca }, auth }
  const good = await diagnoseUpstream(t, {
    server: right,
    faults: [wantsPassword(expected)],
    config,
  })
  t.equal(good.diagnosis.ok, true)
  t.match(good.diagnosis.steps[4], { outcome: 'ok', detail: 'password, with credentials' })
  const bad = await diagnoseUpstream(t, { server: right, faults: [wantsPassword('x')], config })
  t.match(failureIn(bad.diagnosis), {
    step: 'auth',
    reason: 'denied',
    message: 'upstreams.up.auth',
    detail: 'what is Basic [redacted]?',
  })
  t.notMatch(JSON.stringify(bad.diagnosis), expected.slice('Basic '.length))
  const none = await diagnoseUpstream(t, {
    server: right,
    faults: [wantsPassword('x')],
    config: { tls: { ca } },
    image,
  })
  t.match(failureIn(none.diagnosis), { step: 'auth', reason: 'denied', detail: 'wants a password' })
})

t.test('no credentials leave before the certificate has passed the check', async (t) => {
  const auth = { username: 'robot', passwordFile: files.password }
  const faults = [
    tokenAuth({ credentials: { username: 'robot', password: 'correct horse' } }).fault,
  ]
  const wrong = await diagnoseUpstream(t, {
    server: right,
    faults,
    config: { tls: { ca: otherCa }, auth },
  })
  t.match(modesIn(wrong.diagnosis), { 'one-way insecure': 'works' })
  t.same(
    wrong.upstream.requests.map(({ method, url, headers }) => [method, url, headers.authorization]),
    [['GET', '/v2/', undefined]],
    'the insecure mode asks for no more than this',
  )
  const insecure = await diagnoseUpstream(t, {
    server: right,
    faults,
    config: { tls: { ca: otherCa, verify: false }, auth },
  })
  t.equal(insecure.diagnosis.ok, true)
  t.match(insecure.diagnosis, { mode: 'one-way insecure' })
  t.ok(insecure.upstream.requests.some(({ headers }) => headers.authorization !== undefined))
  t.match(insecure.diagnosis.steps[2]?.detail, 'not verified (')
})

t.test('verify: false without need is told', async (t) => {
  const { diagnosis } = await diagnoseUpstream(t, {
    server: right,
    config: { tls: { ca, verify: false } },
  })
  t.match(diagnosis.warnings, [/^upstreams\.up\.tls\.verify can be true/])
})

t.test('images: given, found, missing, altered', async (t) => {
  const noCatalog = on(/_catalog/, status(404))
  const none = await diagnoseUpstream(t, { faults: [noCatalog] })
  t.ok(
    outcomesOf(none.diagnosis)
      .slice(5)
      .every((step) => step.endsWith(' skipped')),
  )
  t.equal(none.diagnosis.ok, true)
  const given = await diagnoseUpstream(t, { faults: [noCatalog], image })
  t.same(outcomesOf(given.diagnosis).slice(5), [
    'manifest ok',
    'range ok',
    'head ok',
    'tags ok',
    'referrers ok',
  ])
  const byDigest = await diagnoseUpstream(t, { image: { ...image, reference: digest } })
  t.match(byDigest.diagnosis.steps[5], { outcome: 'ok', detail: `app@${digest}` })

  const missing = await diagnoseUpstream(t, { image: { ...image, reference: 'none' } })
  t.match(failureIn(missing.diagnosis), {
    step: 'manifest',
    reason: 'http_4xx',
    message: /has no app:none, .*check --image/,
  })
  const altered = await diagnoseUpstream(t, {
    faults: [on(/manifests/, status(200, { 'docker-content-digest': digest }, '{}'))],
    image,
  })
  t.match(failureIn(altered.diagnosis), {
    step: 'manifest',
    reason: 'bad_response',
    detail: `and should to ${digest}`,
  })
  const body = JSON.stringify({ repositories: ['../../secret', 'a b', 7] })
  const hostile = await diagnoseUpstream(t, { faults: [on(/_catalog/, status(200, {}, body))] })
  t.match(hostile.diagnosis.steps[5], { step: 'manifest', outcome: 'skipped' })
  t.equal(hostile.upstream.count(/secret/), 0)
})

t.test('Range: ignored, or of a blob that is not there', async (t) => {
  const ignored = await diagnoseUpstream(t, { faults: [on(/blobs/, ignoreRange())] })
  t.match(ignored.diagnosis.steps[6], {
    step: 'range',
    outcome: 'warning',
    detail: 'ignores Range',
  })
  t.equal(ignored.diagnosis.ok, true)
  const gone = await diagnoseUpstream(t, { faults: [on(/blobs/, status(404))] })
  t.match(failureIn(gone.diagnosis), {
    step: 'range',
    reason: 'bad_response',
    detail: 'status 404',
  })
  const location = 'https://cdn.example/blob'
  const elsewhere = await diagnoseUpstream(t, { faults: [on(/blobs/, status(307, { location }))] })
  t.match(failureIn(elsewhere.diagnosis), {
    step: 'range',
    reason: 'bad_response',
    detail: /cdn\.example.*redirects/,
  })
})

t.test('what a pull needs besides: HEAD, tags in pages, referrers', async (t) => {
  const verdictOf = async (fault: Fault, step: string) => {
    const { diagnosis } = await diagnoseUpstream(t, { faults: [fault], image })
    t.equal(diagnosis.ok, true, 'nothing of it fails')
    return diagnosis.steps.find((given) => given.step === step)
  }
  for (const [fault, detail] of [
    [status(405), /answered 405 .* by GET/],
    [status(404), /answered 404/],
    [status(400), /HEAD fails/],
    [status(200), /no Docker-Content-Digest/],
    [status(200, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }), /and GET brought/],
    [status(200, { 'docker-content-digest': digest }), /no Content-Length/],
  ] as const) {
    const head = await verdictOf(on(/^HEAD .*manifests/, fault), 'head')
    t.match(head, { outcome: 'warning', detail })
  }
  const link = { link: '</v2/app/tags/list?next_page=x>; rel="next"' }
  const paged: Fault = (req, res) =>
    req.url?.includes('next_page=x') === true
      ? status(200, {}, '{"tags":["b"]}')(req, res)
      : status(200, link, '{"tags":["a"]}')(req, res)
  t.match(await verdictOf(on(/tags.list/, paged), 'tags'), { outcome: 'ok', detail: 'in pages' })
  const cut = on(/tags.list.next_page/, status(404))
  const first = on(/tags.list.n=1/, status(200, link, '{"tags":["a"]}'))
  t.match(await verdictOf((req, res) => cut(req, res) || first(req, res), 'tags'), {
    outcome: 'warning',
    detail: /second page .* 404/,
  })
  t.match(await verdictOf(on(/tags.list/, htmlPage()), 'tags'), { outcome: 'warning' })
  for (const fault of [status(404), status(406), htmlPage()]) {
    t.match(await verdictOf(on(/referrers/, fault), 'referrers'), {
      outcome: 'ok',
      detail: 'the fallback tag',
    })
  }
})

t.test('by way of a proxy', async (t) => {
  const proxy = await startProxy(t)
  const config = { tls: { ca }, proxy: proxy.url }
  const { diagnosis, upstream } = await diagnoseUpstream(t, { server: right, config })
  t.match(diagnosis, { ok: true, proxy: proxy.url })
  t.match(outcomesOf(diagnosis).slice(0, 4), ['dns ok', 'tcp ok', 'proxy ok', 'tls ok'])
  t.match(diagnosis.steps[1]?.detail, new URL(proxy.url).port)
  t.same(new Set(proxy.targets), new Set([`localhost:${upstream.port}`]))
  t.match(modesIn(diagnosis), { 'one-way secure': 'works' })

  const refusing = await startProxy(t, { status: 403 })
  const refused = await diagnoseUpstream(t, {
    server: right,
    config: { tls: { ca }, proxy: refusing.url },
  })
  t.match(failureIn(refused.diagnosis), {
    step: 'proxy',
    reason: 'proxy',
    message: 'check upstreams.up.proxy',
    detail: /answers 403 to CONNECT/,
  })
  t.equal(refused.upstream.requests.length, 0)
  const away = await diagnoseConfig({ url: 'https://localhost:1', proxy: 'http://127.0.0.1:1' })
  t.match(failureIn(away), { step: 'tcp', reason: 'proxy' })
})

t.test('a client certificate that has expired is told', async (t) => {
  const { diagnosis } = await diagnoseUpstream(t, {
    server: right,
    config: { tls: { ca, ...files.expiredClient } },
  })
  t.match(diagnosis.warnings, [/^upstreams\.up\.tls\.cert has expired on /])
})
