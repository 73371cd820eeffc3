import t from 'tap'
import type { Config } from '../../src/config/schema.ts'
import { createChooser } from '../../src/config/upstream-names.ts'
import { UsageError } from '../../src/errors.ts'
import {
  destinationOf,
  formatImage,
  parseDestination,
  parseImage,
} from '../../src/transfer/image-name.ts'

const naming = {
  upstreams: ['docker.io', 'registry.local:5000', 'quay.io'],
  defaultUpstream: 'docker.io',
}
const digest = `sha256:${'a'.repeat(64)}`

t.test('images of a command line', async (t) => {
  const cases: Record<string, string> = {
    alpine: 'docker.io/library/alpine:latest',
    'alpine:3': 'docker.io/library/alpine:3',
    'team/app:1': 'docker.io/team/app:1',
    'docker.io/alpine:3': 'docker.io/library/alpine:3',
    'index.docker.io/library/alpine:3': 'docker.io/library/alpine:3',
    'registry.local/foo:1': 'registry.local:5000/foo:1',
    'QUAY.io:443/app:1': 'quay.io/app:1',
    'registry.local:5000/a/b/c': 'registry.local:5000/a/b/c:latest',
    [`quay.io/app@${digest}`]: `quay.io/app@${digest}`,
    [`quay.io/app:1@${digest}`]: `quay.io/app:1@${digest}`,
  }
  for (const [text, expected] of Object.entries(cases)) {
    t.equal(formatImage(parseImage(text, naming)), expected, text)
    t.equal(formatImage(parseImage(expected, naming)), expected, 'and again')
  }
})

t.test('wrong images say what is wrong', async (t) => {
  const cases: Record<string, RegExp> = {
    'ghcr.io/org/app': /ghcr\.io is no upstream; there are docker\.io, registry\.local:5000, quay/,
    'registry.local:443/app': /registry\.local:443 is no upstream/,
    'localhost/app': /localhost is no upstream/,
    'Team/App': /Team\/App is no repository name/,
    'app:-bad': /-bad is no valid tag/,
    'app@sha256:12': /must end in @sha256: and 64 hex digits/,
    '': /is no repository name/,
  }
  for (const [text, message] of Object.entries(cases)) {
    t.throws(() => parseImage(text, naming), { name: 'UsageError', message }, text)
  }
  const without = { upstreams: [], defaultUpstream: undefined }
  t.throws(() => parseImage('app', without), { message: /the config has no upstreams/ })
})

t.test('capitals, where the upstream says that names may have them', async (t) => {
  const models = { ...naming, isCaseSensitive: (upstream: string) => upstream === 'quay.io' }
  const image = 'quay.io/Team/Model:Q4'
  t.equal(formatImage(parseImage(image, models)), image)
  t.match(parseDestination('quay.io/Team/Model', models), { repository: 'Team/Model' })
  const named = { repository: 'Team/Model', tag: 'Q4' }
  t.match(destinationOf(named, { upstream: 'quay.io' }, models), named)
  for (const wrong of ['docker.io/Team/Model', 'Team/Model']) {
    t.throws(() => parseImage(wrong, models), { message: /Team\/Model is no repository name/ })
  }
})

t.test('--as: as much of a destination as is given', async (t) => {
  t.same(parseDestination('quay.io', naming), { upstream: 'quay.io' })
  t.same(parseDestination('registry.local:5000', naming), { upstream: 'registry.local:5000' })
  t.same(parseDestination('registry.local:5000/a/b', naming), {
    upstream: 'registry.local:5000',
    repository: 'a/b',
  })
  t.same(parseDestination('docker.io/alpine:3', naming), {
    upstream: 'docker.io',
    repository: 'library/alpine',
    tag: '3',
  })
  t.same(parseDestination('registry.local', naming), { upstream: 'registry.local:5000' })
  t.same(parseDestination('index.docker.io/alpine', naming), {
    upstream: 'docker.io',
    repository: 'library/alpine',
  })
  t.throws(() => parseDestination('nope/app', naming), UsageError)
  t.throws(() => parseDestination('nope/app', naming), {
    message: '--as: nope is no upstream; there are docker.io, registry.local:5000, quay.io',
  })
  t.throws(() => parseDestination('quay.io/UPPER', naming), { message: /no repository name/ })
  t.throws(() => parseDestination('quay.io/app:', naming), { message: /no valid tag/ })
})

t.test('what --as leaves open comes from the archive', async (t) => {
  const where = (
    given: { repository?: string; tag?: string },
    as?: { upstream: string; repository?: string; tag?: string },
  ) => {
    const found = destinationOf(given, as, naming)
    return typeof found === 'string' ? found : formatImage(found)
  }
  const quay = { upstream: 'quay.io' }
  t.equal(where({ repository: 'alpine', tag: '3' }), 'docker.io/library/alpine:3')
  t.equal(where({ repository: 'quay.io/a/b', tag: '3' }), 'quay.io/a/b:3')
  t.equal(where({ repository: 'alpine', tag: '3' }, quay), 'quay.io/alpine:3')
  t.equal(where({ repository: 'ghcr.io/org/app', tag: '3' }, quay), 'quay.io/org/app:3')
  t.equal(where({ repository: 'a/b', tag: '3' }, { ...quay, repository: 'c' }), 'quay.io/c:3')
  t.equal(where({ tag: '3' }, { ...quay, repository: 'c' }), 'quay.io/c:3')
  t.equal(where({}, { ...quay, repository: 'c', tag: '4' }), 'quay.io/c:4')
  t.equal(where({}, { ...quay, repository: 'c' }), 'quay.io/c')
  t.match(where({ tag: '3' }, quay), /has no name/)
  t.match(where({ repository: 'ghcr.io/org/app' }), /ghcr\.io is no upstream/)
  t.match(where({ repository: 'a', tag: 'not a tag' }), /no valid tag/)
  t.match(where({ repository: 'quay.io/UPPER' }, quay), /no repository name/)
})

t.test('a command means the place that a request of the same name means', async (t) => {
  const configs = [
    { upstreams: ['docker.io', 'registry.local:5000', 'quay.io'], defaultUpstream: 'quay.io' },
    { upstreams: ['index.docker.io', 'registry.local:443'], defaultUpstream: 'index.docker.io' },
    {
      upstreams: ['docker.io:443', 'registry.local', 'registry.local:5000'],
      defaultUpstream: 'docker.io:443',
    },
  ]
  const heads = ['', 'docker.io/', 'index.docker.io/', 'registry-1.docker.io/', 'registry.local/']
  for (const names of configs) {
    const upstreams = Object.fromEntries(
      names.upstreams.map((name) => [name, {} as Config['upstreams'][string]] as const),
    )
    const choose = createChooser({ ...names, upstreams })
    for (const head of heads) {
      for (const name of [`${head}foo`, `${head}team/foo`]) {
        const what = `${name} of ${names.upstreams.join(' ')}`
        const asked = choose({ name })
        const { tag: _, ...place } = parseImage(`${name}:1`, names)
        t.same(place, asked, what)
        if (head === '') continue
        t.same(parseDestination(name, names), asked, `--as ${what}`)
        t.same(destinationOf({ repository: name }, undefined, names), asked, `archive: ${what}`)
      }
    }
  }
})
