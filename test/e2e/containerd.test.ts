import t, { type Test } from 'tap'
import { printedLine } from '../../src/demo/sample-image.ts'
import { optionsFor } from '../requirements.ts'
import { startContainerd, type Host } from './lab/containerd.ts'
import { configFor, startGateway, upstreamName } from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'
import { pullThreeTimes } from './lab/rounds.ts'

t.test('containerd', optionsFor('containerd'), async (t) => {
  const lab = await startLab(t)
  const gateway = await startGateway(t, configFor(lab))
  const { ca, client } = lab.certificates
  const host: Host = { url: `https://${gateway.address}`, ca: ca.edge, client }
  const byTag = `${upstreamName}/${repository}:1.0`
  const byDigest = `${upstreamName}/${repository}@${lab.index}`

  async function pullAndRun(t: Test, image: string, host: Host): Promise<void> {
    const containerd = await startContainerd(t)
    t.match(await containerd.pull(image, host), { code: 0 }, image)
    t.match(await containerd.runImage(image), { code: 0, stdout: `${printedLine}\n` })
  }

  // Nothing but `?ns=` names the upstream here.
  await pullThreeTimes(t, lab, async (t) => {
    await pullAndRun(t, byTag, host)
    await pullAndRun(t, byDigest, host)
  })

  await t.test('the header of hosts.toml names the upstream where ns is not sent', async (t) => {
    const image = `${gateway.address}/${repository}:1.0`
    await pullAndRun(t, image, { ...host, headers: { 'X-Registry': upstreamName } })
  })

  await t.test('the client certificate in hosts.toml is what lets it in', async (t) => {
    const containerd = await startContainerd(t)
    const { url } = host
    t.match(await containerd.pull(byTag, { url, ca: ca.edge }), {
      code: 1,
      stderr: /certificate required/,
    })
  })
})
