import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { digestOf } from '../../src/oci/digest.ts'
import { optionsFor } from '../requirements.ts'
import { certificateFolder } from './lab/certificates.ts'
import { makeFolder } from './lab/folder.ts'
import { configFor, startGateway, upstreamName } from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'
import { pullThreeTimes } from './lab/rounds.ts'
import { makeSkopeo } from './lab/skopeo.ts'

t.test('skopeo', optionsFor('skopeo'), async (t) => {
  const lab = await startLab(t)
  const gateway = await startGateway(t, configFor(lab))
  const { ca, client } = lab.certificates
  const certs = certificateFolder(join(lab.folder, 'certs'), ca.edge, client)
  const name = `docker://${gateway.address}/${upstreamName}/${repository}`
  const skopeo = makeSkopeo(t)

  /** Copies every platform of `image`, and checks what lies there against its names. */
  async function copy(t: Test, image: string): Promise<void> {
    const folder = makeFolder(t)
    const copied = await skopeo('copy', '--all', `--src-cert-dir=${certs}`, image, `dir:${folder}`)
    t.match(copied, { code: 0 })
    const files = readdirSync(folder).map((file) => [file, digestIn(folder, file)] as const)
    const digests = new Set(files.map(([, digest]) => digest))
    t.equal(Object.fromEntries(files)['manifest.json'], lab.index)
    for (const [file, digest] of files) {
      const hex = /^[0-9a-f]{64}/.exec(file)?.[0]
      if (hex !== undefined) t.equal(digest, `sha256:${hex}`)
    }
    t.ok(digests.has(lab.large.digest), 'the large layer is among them')
  }

  await pullThreeTimes(t, lab, async (t) => {
    await copy(t, `${name}:1.0`)
    await copy(t, `${name}@${lab.index}`)
  })

  const inspect = async (t: Test) => {
    const { code, stdout, stderr } = await skopeo('inspect', `--cert-dir=${certs}`, `${name}:1.0`)
    t.equal(code, 0, stderr)
    return JSON.parse(stdout) as Record<string, unknown>
  }

  await t.test('inspect shows the digest and the tags', async (t) => {
    const { Digest: digest, RepoTags: tags } = await inspect(t)
    t.equal(digest, lab.index)
    // docker-registry keeps the referrers of an image under a tag of its own.
    t.same(tags, ['1.0', 'latest', lab.index.replace(':', '-')])
  })

  await t.test('inspect with nginx stopped shows the tags that were pulled', async (t) => {
    await lab.nginx.stop()
    const { Digest: digest, RepoTags: tags } = await inspect(t)
    t.equal(digest, lab.index)
    t.match(tags, /1\.0/)
  })
})

function digestIn(folder: string, file: string): string {
  return digestOf(readFileSync(join(folder, file)))
}
