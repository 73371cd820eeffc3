// A disk that holds a third of what is pulled: each image comes, runs, and goes for the next one.
import { statfsSync } from 'node:fs'
import t from 'tap'
import { buildSampleImage, printedLine } from '../../src/demo/sample-image.ts'
import { optionsFor } from '../requirements.ts'
import { startContainerd } from './lab/containerd.ts'
import { makeFolder } from './lab/folder.ts'
import { configFor, startGateway, upstreamName } from './lab/gateway.ts'
import { startLab } from './lab/lab.ts'
import { run, succeed } from './lab/program.ts'

const count = 8
const layerBytes = 3 * 2 ** 20

t.test('a disk smaller than what is pulled', optionsFor('small-disk'), async (t) => {
  const lab = await startLab(t, { layerBytes: 1000 })
  for (let number = 0; number < count; number += 1) {
    const image = await buildSampleImage({ layerBytes, seed: `image ${number}` })
    await lab.registry.push(`app/${number}`, image)
  }
  const dir = makeFolder(t)
  await succeed('mount', ['-t', 'tmpfs', '-o', 'size=10m', 'tmpfs', dir])
  t.teardown(() => run('umount', [dir]))
  const gateway = await startGateway(t, { ...configFor(lab), cache: { dir } })
  const { ca, client } = lab.certificates
  const host = { url: `https://${gateway.address}`, ca: ca.edge, client }
  const containerd = await startContainerd(t)
  for (let number = 0; number < count; number += 1) {
    const image = `${upstreamName}/app/${number}:1.0`
    t.match(await containerd.pull(image, host), { code: 0 }, image)
    t.match(await containerd.runImage(image), { code: 0, stdout: `${printedLine}\n` })
    const { blocks, bfree } = statfsSync(dir)
    t.ok(bfree >= 0.05 * blocks, 'some of it stays free')
  }
  const warnings = gateway.log().filter(({ level }) => level === 'error' || level === 'warn')
  t.same(warnings, [], 'nobody had to do without the cache')
})
