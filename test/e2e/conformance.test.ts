// The conformance suite of the distribution specification, read only, through the gateway.
import t from 'tap'
import { optionsFor } from '../requirements.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { findGoProgram } from './lab/go-program.ts'
import { makeFolder } from './lab/folder.ts'
import { startGateway, upstreamName } from './lab/gateway.ts'
import { run } from './lab/program.ts'
import { startDockerRegistry } from './lab/registry.ts'

const program = findGoProgram('conformance')
const missing = 'go install github.com/opencontainers/distribution-spec/conformance@latest'

t.test('conformance', program ? optionsFor('lab') : { skip: missing }, async (t) => {
  const registry = await startDockerRegistry(t, makeFolder(t))
  const image = await buildSampleImage({ layerBytes: 2 ** 20 })
  await registry.push('sample/app', image)
  const gateway = await startGateway(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
    upstreams: { [upstreamName]: { url: `http://${registry.address}` } },
  })
  const { stdout } = await run(program ?? '', [], {
    env: {
      OCI_RESULTS_DIR: makeFolder(t),
      OCI_REGISTRY: gateway.address,
      OCI_TLS: 'disabled',
      OCI_REPO1: `${upstreamName}/sample/app`,
      OCI_API_PUSH: 'false',
      OCI_API_BLOBS_DELETE: 'false',
      OCI_API_MANIFESTS_DELETE: 'false',
      OCI_API_TAGS_DELETE: 'false',
      OCI_RO_DATA_TAGS: [...image.tags.keys()].join(' '),
      OCI_RO_DATA_MANIFESTS: [...image.manifests.keys()].join(' '),
      OCI_RO_DATA_BLOBS: [...image.blobs.keys()].join(' '),
      OCI_RO_DATA_REFERRERS: image.tags.get('1.0') ?? '',
    },
  })
  // Its exit code says nothing: it panics when it writes its report of a read-only run.
  const results = [...stdout.matchAll(/^ *OCI Conformance Test(\S.*)?: (\w+)$/gm)]
  const told = (word: string) => results.filter(([, , result]) => result === word)
  t.comment(`${told('Pass').length} pass, ${told('Disabled').length} are disabled`)
  for (const kind of ['head/', 'pull/', 'tag-list', 'referrers', 'missing-manifest/', 'invalid-']) {
    t.ok(
      told('Pass').some(([, name]) => name?.includes(kind)),
      kind,
    )
  }
  const others = results.filter(([, , result]) => !['Pass', 'Disabled'].includes(result ?? ''))
  t.same(
    others.map(([line]) => line.trim()),
    [],
    'nothing fails',
  )
})
