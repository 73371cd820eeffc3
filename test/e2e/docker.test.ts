import t from 'tap'
import { printedLine } from '../../src/demo/sample-image.ts'
import { optionsFor } from '../requirements.ts'
import { dockerHost, startDocker } from './lab/docker.ts'
import { configFor, startGateway, upstreamName } from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'
import { pullThreeTimes } from './lab/rounds.ts'

t.test('docker', optionsFor('docker'), async (t) => {
  const lab = await startLab(t)
  const gateway = await startGateway(t, configFor(lab))
  const { ca, client } = lab.certificates
  const registry = `${dockerHost}:${gateway.port}`
  const name = `${registry}/${upstreamName}/${repository}`

  await pullThreeTimes(t, lab, async (t) => {
    for (const image of [`${name}:1.0`, `${name}@${lab.index}`]) {
      const { docker, trust } = await startDocker(t)
      trust(registry, ca.edge, client)
      t.match(await docker('pull', image), { code: 0, stdout: `Digest: ${lab.index}` })
      const ran = await docker('run', '--rm', '--network=none', image)
      t.match(ran, { code: 0, stdout: `${printedLine}\n` })
    }
  })

  await t.test('the certificate in certs.d is what lets it in', async (t) => {
    const { docker, trust } = await startDocker(t)
    const pulled = () => docker('pull', `${name}:1.0`)
    t.match(await pulled(), { code: 1, stderr: /signed by unknown authority/ })
    trust(registry, ca.edge)
    t.match(await pulled(), { code: 1, stderr: /certificate required/ })
    trust(registry, ca.edge, client)
    t.match(await pulled(), { code: 0 })
  })
})
