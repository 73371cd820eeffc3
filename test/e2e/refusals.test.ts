// What must fail, fails with words that help: wrong upstreams, wrong clients, wrong configs.
import t from 'tap'
import { optionsFor } from '../requirements.ts'
import { expired, here } from './lab/certificates.ts'
import { knock, makeCurl } from './lab/curl.ts'
import { subfolder } from './lab/folder.ts'
import { configFor, startGateway, upstreamFor } from './lab/gateway.ts'
import { repository, startLab, type Lab } from './lab/lab.ts'
import { startNginx } from './lab/nginx.ts'

t.test('an upstream that cannot be used', optionsFor('refusals'), async (t) => {
  const lab = await startLab(t, { layerBytes: 1000 })
  const { certificates, nginx } = lab
  const { cert, key } = await certificates.issue('stranger-gateway', 'stranger', {})
  const outdated = await startNginx(t, {
    folder: subfolder(lab.folder, 'nginx-expired'),
    registry: lab.registry.address,
    server: await certificates.issue('expired', 'upstream', {
      profile: 'server',
      ...here,
      ...expired,
    }),
    clientCa: certificates.ca.upstream,
    client: certificates.gatewayClient,
  })
  const gone = await startedAndStopped(t, lab)

  const cases = [
    {
      name: 'wrong-ca.test',
      upstream: upstreamFor(lab, { ca: certificates.ca.stranger }),
      reason: 'unknown_ca',
      advice: 'tls.ca',
    },
    {
      name: 'wrong-name.test',
      upstream: { ...upstreamFor(lab), url: nginx.url.replace('127.0.0.1', '127.0.0.2') },
      reason: 'wrong_name',
      advice: 'tls.serverName',
    },
    {
      name: 'expired.test',
      upstream: { ...upstreamFor(lab), url: outdated.url },
      reason: 'expired',
      advice: /expired/,
    },
    {
      name: 'no-certificate.test',
      upstream: { url: nginx.url, tls: { ca: certificates.ca.upstream } },
      reason: 'client_certificate_required',
      advice: 'tls.cert',
    },
    {
      name: 'wrong-certificate.test',
      upstream: upstreamFor(lab, { cert, key }),
      reason: 'client_certificate_refused',
      advice: 'tls.cert',
    },
    {
      name: 'gone.test',
      upstream: { ...upstreamFor(lab), url: gone },
      reason: 'refused',
      advice: 'gone.test.url',
    },
  ]
  const upstreams = Object.fromEntries(cases.map(({ name, upstream }) => [name, upstream]))
  const gateway = await startGateway(t, { ...configFor(lab), upstreams })
  const curl = makeCurl(t, gateway, certificates)

  for (const { name, reason, advice } of cases) {
    await t.test(`${name}: the client is told what to check, the log has the reason`, async (t) => {
      const { status, headers, body } = await curl(`/v2/${name}/${repository}/manifests/1.0`)
      t.equal(status, 502)
      t.match(headers.get('content-type'), 'application/json')
      const { errors } = JSON.parse(body.toString()) as { errors: unknown[] }
      t.match(errors, [{ code: 'UPSTREAM_FAILED', message: advice }])
      const isIt = (line: Record<string, unknown>) => line['upstream'] === name
      t.match(await gateway.logged(name, (line) => isIt(line) && line['status'] === 502), {
        msg: 'request',
        reason,
      })
    })
  }
})

/** The URL of an nginx that is no more. */
async function startedAndStopped(t: Parameters<typeof startNginx>[0], lab: Lab): Promise<string> {
  const { url, stop } = await startNginx(t, {
    folder: subfolder(lab.folder, 'nginx-gone'),
    registry: lab.registry.address,
    server: lab.certificates.nginx,
    clientCa: lab.certificates.ca.upstream,
    client: lab.certificates.gatewayClient,
  })
  await stop()
  return url
}

t.test('a client that is not let in', optionsFor('refusals'), async (t) => {
  const lab = await startLab(t, { layerBytes: 1000 })
  const { ca, issue, client } = lab.certificates
  const gateway = await startGateway(t, configFor(lab))
  const cases = [
    { what: 'without a certificate', shown: undefined, reason: 'no_certificate' },
    {
      what: 'with one of another authority',
      shown: await issue('intruder', 'stranger', {}),
      reason: 'unknown_ca',
    },
    {
      what: 'with an expired one',
      shown: await issue('late', 'edge', expired),
      reason: 'expired',
    },
    {
      what: 'with one that is for servers',
      shown: await issue('server', 'edge', { profile: 'server', ...here }),
      reason: 'wrong_purpose',
    },
  ]
  for (const { what, shown, reason } of cases) {
    await t.test(what, async (t) => {
      const { code, stdout } = await knock(gateway, ca.edge, shown)
      t.not(code, 0)
      t.equal(stdout, '')
      await gateway.logged(reason, (line) => line['reason'] === reason)
    })
  }
  t.match(await knock(gateway, ca.edge, client), { code: 0, stdout: '{}' }, 'the right one is')
  t.match(await knock(gateway, ca.upstream, client), { code: 60 }, 'who trusts another CA leaves')
})
