import { join } from 'node:path'
import t from 'tap'
import { printedLine } from '../../src/demo/sample-image.ts'
import { optionsFor } from '../requirements.ts'
import { certificateFolder } from './lab/certificates.ts'
import { configFor, startGateway, upstreamName } from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'
import { makePodman } from './lab/podman.ts'
import { pullThreeTimes } from './lab/rounds.ts'

t.test('podman', optionsFor('podman'), async (t) => {
  const lab = await startLab(t)
  const gateway = await startGateway(t, configFor(lab))
  const { ca, client } = lab.certificates
  const certs = certificateFolder(join(lab.folder, 'certs'), ca.edge, client)
  const name = `${gateway.address}/${upstreamName}/${repository}`

  await pullThreeTimes(t, lab, async (t) => {
    for (const image of [`${name}:1.0`, `${name}@${lab.index}`]) {
      const podman = makePodman(t)
      t.match(await podman('pull', `--cert-dir=${certs}`, image), { code: 0 })
      const ran = await podman('run', '--rm', '--network=none', image)
      t.match(ran, { code: 0, stdout: `${printedLine}\n` })
    }
  })

  await t.test('the certificate in --cert-dir is what lets it in', async (t) => {
    const bare = certificateFolder(join(lab.folder, 'bare'), ca.edge)
    const refused = await makePodman(t)('pull', `--cert-dir=${bare}`, `${name}:1.0`)
    t.match(refused, { code: 125, stderr: /certificate required/ })
  })
})
