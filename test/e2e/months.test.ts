// A month without a link, by the clock of the gateway: restarts, a lost index, and the link again.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { optionsFor } from '../requirements.ts'
import { certificateFolder } from './lab/certificates.ts'
import { subfolder } from './lab/folder.ts'
import {
  configFor,
  startConfigured,
  upstreamFor,
  upstreamName,
  writeConfig,
} from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'
import { run, succeed, until } from './lab/program.ts'

t.test('a month without a link', optionsFor('months'), async (t) => {
  const lab = await startLab(t, { layerBytes: 300_000 })
  const file = writeConfig(t, {
    ...configFor(lab),
    upstreams: { [upstreamName]: { ...upstreamFor(lab), tagTtl: '2s' } },
    defaultUpstream: upstreamName,
  })
  const folder = join(file, '..')
  const clock = join(folder, 'clock')
  const setDay = (day: number): void => writeFileSync(clock, `+${day}d\n`)
  setDay(0)
  const library = await succeed('faketime', ['-f', '+0d', 'printenv', 'LD_PRELOAD'])
  // What waits goes by the monotonic clock, and files have their real times.
  const options = ['DONT_FAKE_MONOTONIC=1', 'CACHE_DURATION=1', `TIMESTAMP_FILE=${clock}`]
  const by = [
    'env',
    `LD_PRELOAD=${library.trim()}`,
    ...options.map((option) => `FAKETIME_${option}`),
    'NO_FAKE_STAT=1',
  ]
  const start = () => startConfigured(t, file, by)
  let gateway = await start()

  const certificates = join(folder, 'certificates')
  certificateFolder(certificates, lab.certificates.ca.edge, lab.certificates.client)
  const image = () => `docker://${gateway.address}/${repository}:1.0`
  let copies = 0
  /** All of the image, verified; not from what was copied before. */
  const copy = async () => {
    const target = `oci:${subfolder(folder, `copy-${(copies += 1)}`)}`
    return run('skopeo', ['copy', '--all', '--src-cert-dir', certificates, image(), target])
  }
  const inspect = async () => {
    const { stdout } = await run('skopeo', [
      'inspect',
      '--raw',
      '--cert-dir',
      certificates,
      image(),
    ])
    return stdout
  }

  t.match(await copy(), { code: 0 })
  const before = await inspect()
  await lab.nginx.stop()
  for (const day of [3, 16, 29]) {
    setDay(day)
    await gateway.program.stop()
    if (day === 16) rmSync(join(folder, 'cache/index.db'))
    gateway = await start()
    t.match(await copy(), { code: 0 }, `day ${day}`)
    const now = new Date(String(gateway.log().at(-1)?.['time'])).getTime()
    t.ok(now - Date.now() > (day - 1) * 86_400_000, 'the gateway believes it')
  }

  await lab.registry.push(repository, await buildSampleImage({ layerBytes: 300_000, seed: 'next' }))
  await lab.nginx.start()
  await until('the tag means what it has come to mean', async () => {
    const now = await inspect()
    return now !== '' && now !== before
  })
  t.match(await copy(), { code: 0 })
})
