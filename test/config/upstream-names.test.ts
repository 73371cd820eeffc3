import t from 'tap'
import type { Config } from '../../src/config/schema.ts'
import { GatewayError } from '../../src/errors.ts'
import { createChooser, createUpstreamChooser } from '../../src/config/upstream-names.ts'

function config(names: string[], defaultUpstream?: string) {
  const upstreams = Object.fromEntries(
    names.map((name) => [name, {} as Config['upstreams'][string]] as const),
  )
  return { upstreams, ...(defaultUpstream === undefined ? {} : { defaultUpstream }) }
}

const names = ['docker.io', 'quay.io', 'registry.local:5000', 'twice.local:1', 'twice.local:2']
const choose = createChooser(config(names, 'quay.io'))

function place(asked: Parameters<typeof choose>[0]): string {
  try {
    const { upstream, repository } = choose(asked)
    return `${upstream} ${repository}`
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
}

t.test(
  'ns comes before the header, the header before the path, the path before the default',
  async (t) => {
    const name = 'docker.io/org/app'
    t.equal(place({ ns: 'quay.io', header: 'docker.io', name }), 'quay.io docker.io/org/app')
    t.equal(place({ header: 'quay.io', name }), 'quay.io docker.io/org/app')
    t.equal(place({ name }), 'docker.io org/app')
    t.equal(place({ name: 'org/app' }), 'quay.io org/app')
    t.equal(place({ ns: '', header: '', name: 'org/app' }), 'quay.io org/app')
  },
)

t.test('what is not configured is unknown, whatever it is', async (t) => {
  for (const ns of ['ghcr.io', 'registry.local', 'quay.io:80', '__proto__', 'toString', '*', ' ']) {
    t.equal(place({ ns, name: 'app' }), 'NAME_UNKNOWN', ns)
    t.equal(place({ header: ns, name: 'app' }), 'NAME_UNKNOWN', ns)
  }
  t.throws(() => createChooser(config(['quay.io']))({ name: 'org/app' }), { code: 'NAME_UNKNOWN' })
  try {
    choose({ ns: 'ghcr.io', name: 'app' })
  } catch (error) {
    for (const known of names) t.notMatch(String(error), known, 'names of upstreams stay inside')
  }
})

t.test('names are compared without case and default port', async (t) => {
  t.equal(place({ ns: 'QUAY.io', name: 'app' }), 'quay.io app')
  t.equal(place({ ns: 'quay.io:443', name: 'app' }), 'quay.io app')
  t.equal(place({ ns: 'registry.local:5000', name: 'app' }), 'registry.local:5000 app')
  const secure = createChooser(config(['registry.local:443']))
  t.equal(secure({ ns: 'registry.local', name: 'app' }).upstream, 'registry.local:443')
  const both = createChooser(config(['registry.local', 'registry.local:443']))
  t.equal(both({ ns: 'registry.local', name: 'app' }).upstream, 'registry.local')
  t.equal(both({ ns: 'registry.local:443', name: 'app' }).upstream, 'registry.local')
})

t.test('Docker Hub is one registry by all its names', async (t) => {
  for (const name of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
    t.equal(place({ ns: name, name: 'alpine' }), 'docker.io library/alpine')
    t.equal(place({ name: `${name}/alpine` }), 'docker.io library/alpine')
    t.equal(place({ name: `${name}/org/app` }), 'docker.io org/app')
    const other = createChooser(config([name], name))
    t.same(other({ ns: 'docker.io', name: 'alpine' }), {
      upstream: name,
      repository: 'library/alpine',
    })
    t.same(other({ name: 'docker.io/alpine' }), { upstream: name, repository: 'library/alpine' })
    t.same(other({ name: 'alpine' }), { upstream: name, repository: 'library/alpine' })
  }
  t.equal(place({ ns: 'quay.io', name: 'alpine' }), 'quay.io alpine', 'others have no library/')
})

t.test('a path names an upstream without its port, where that is clear', async (t) => {
  t.equal(place({ name: 'registry.local/org/app' }), 'registry.local:5000 org/app')
  t.equal(place({ name: 'twice.local/app' }), 'quay.io twice.local/app')
  t.equal(place({ name: 'quay.io' }), 'quay.io quay.io', 'a name alone is a repository')
  const exact = createChooser(config(['registry.local', 'registry.local:5000'], 'registry.local'))
  t.equal(exact({ name: 'registry.local/app' }).upstream, 'registry.local')
})

t.test('without a repository only ns and the header count', async (t) => {
  const upstream = createUpstreamChooser(config(names, 'quay.io'))
  t.equal(upstream({ ns: 'index.docker.io' }), 'docker.io')
  t.equal(upstream({ header: 'quay.io' }), 'quay.io')
  t.equal(upstream({}), undefined)
  t.throws(() => upstream({ ns: 'ghcr.io' }), { code: 'NAME_UNKNOWN' })
})
