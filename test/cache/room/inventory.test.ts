import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Pruned } from '../../../src/cache/room/inventory.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { compileImageGlob } from '../../../src/rules/glob.ts'
import { app, minute, other, readAll, startSite, storedIn, until } from '../../helpers/cache.ts'
import { addImage, addIndex, emptyContent, layerOf, partsIn, pull } from '../../helpers/images.ts'

const base = layerOf('base', 400_000)
const day = 24 * 60 * minute

/** Two images that share a layer, one of two platforms, a signature, and the first once more elsewhere. */
async function stocked(t: Test) {
  const content = emptyContent()
  const one = addImage(content, 'one', [base, layerOf('one', 300_000)])
  const two = addImage(content, 'two', [base, layerOf('two', 200_000)])
  const platforms = ['amd64', 'arm64'].map((name) =>
    addImage(content, name, [base, layerOf(name, 1000)], { tags: [] }),
  )
  const multi = addIndex(content, 'multi', platforms)
  const signature = addImage(content, 'signature', [layerOf('sig', 10)], { tags: [], subject: one })
  const site = await startSite(t, { repositories: { app: content, other: content } })
  const { cache, clock } = site
  const { inventory } = cache
  const step = async (reference: string, place = app) => {
    clock.time += day
    await pull(cache, place, reference)
    await until(() => site.counts.fills === 0, 'the end of every download')
    const parts = partsIn(content, content.tags.get(reference) ?? (reference as Digest))
    await until(() => {
      const { rows } = inventory.blobs({ limit: 1000 })
      const stored = new Set(rows.map(({ digest }) => digest))
      return parts.every((digest) => stored.has(digest))
    }, 'storing')
  }
  for (const reference of ['one', signature, 'two', 'multi']) await step(reference)
  const bytesOf = (digests: Digest[]) =>
    [...new Set(digests)].reduce((sum, digest) => {
      const { bytes = Buffer.alloc(0) } = content.manifests.get(digest) ?? {}
      return sum + (content.blobs.get(digest) ?? bytes).length
    }, 0)
  return { ...site, content, one, two, multi, platforms, signature, step, inventory, bytesOf }
}

const named = (reference: string, place = app) => ({ ...place, reference })

async function all(steps: AsyncIterable<Pruned>): Promise<Pruned[]> {
  const found: Pruned[] = []
  for await (const one of steps) found.push(one)
  return found
}

t.test('images by name, with what they take and share', async (t) => {
  const { inventory, content, one, two, multi, signature, bytesOf, clock } = await stocked(t)
  const { rows, next } = inventory.images()
  t.equal(next, undefined)
  t.match(
    rows.map(({ reference, digest }) => ({ reference, digest })),
    [
      { reference: 'multi', digest: multi },
      { reference: 'one', digest: one },
      { reference: 'two', digest: two },
      { reference: signature, digest: signature },
    ],
  )
  const found = rows[1]
  t.match(found, {
    upstream: app.upstream,
    repository: app.repository,
    mediaType: /manifest/,
    size: bytesOf(partsIn(content, one)),
    ownSize: bytesOf(partsIn(content, one)) - base.length,
    stored: 4,
    missing: 0,
    pinnedBy: [],
    created: clock.time - 3 * day,
  })
  t.equal(
    inventory.holding().bytes,
    bytesOf([...content.blobs.keys(), ...content.manifests.keys()]),
  )

  const pages: string[] = []
  let cursor: string | undefined
  do {
    const page = inventory.images({ limit: 1, cursor })
    pages.push(...page.rows.map(({ reference }) => reference))
    cursor = page.next
  } while (cursor !== undefined)
  t.same(pages, ['multi', 'one', 'two', signature])
  const match = compileImageGlob('registry.test/*:t*')
  t.same(
    inventory.images({ match }).rows.map(({ reference }) => reference),
    ['two'],
  )
  t.throws(() => inventory.images({ cursor: 'x' }), /cursor: must be/)
})

t.test('contents by digest', async (t) => {
  const { inventory, content, one } = await stocked(t)
  const blobs = inventory.blobs({ limit: 1000 }).rows
  t.same(
    blobs.map(({ digest }) => digest),
    [...content.blobs.keys(), ...content.manifests.keys()].sort(),
  )
  t.match(
    blobs.find(({ digest }) => digest === one),
    { standing: 'free', places: [app] },
  )
  t.equal(blobs.filter(({ standing }) => standing === 'below').length, blobs.length - 4)
  const elsewhere = compileImageGlob('registry.test/other')
  t.same(inventory.blobs({ match: elsewhere }).rows, [])
})

t.test('an image is removed at once, and what others share stays', async (t) => {
  const { cache, inventory, content, one, two, signature, bytesOf, dir, upstream, site } =
    await stocked(t)
  // Open, as after a client has read it.
  await readAll(await cache.blob(app, content.blobs.keys().next().value as Digest))
  const before = inventory.holding()
  const result = await inventory.remove(named('one'))
  const freed = bytesOf([...partsIn(content, one), ...partsIn(content, signature)]) - base.length
  t.match(result, { kind: 'removed', bytes: freed })
  t.equal(inventory.holding().bytes, before.bytes - freed)
  t.equal(storedIn(dir).length, inventory.holding().entries)
  const open = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ''
    }
  })
  t.same(
    open.filter((path) => path.startsWith(dir) && path.endsWith('(deleted)')),
    [],
  )
  site.offline = true
  await pull(cache, app, 'two')
  await pull(cache, app, 'multi')
  await t.rejects(pull(cache, app, 'one'), { code: 'UNAVAILABLE' }, 'memory has forgotten it')
  await t.rejects(async () => cache.manifest(app, one), { code: 'UNAVAILABLE' })
  site.offline = false
  const asked = upstream.count(/^GET .*blobs/)
  await pull(cache, app, 'one')
  t.equal(upstream.count(/^GET .*blobs/), asked + 2, 'the shared layer was there')
  t.match(await inventory.remove(named('three')), { kind: 'missing' })
  t.match(await inventory.remove(named(two)), { kind: 'removed' }, 'by digest: its tags, too')
  t.match(await inventory.remove(named('two')), { kind: 'missing' })
})

t.test('one of several names goes, the content stays for the others', async (t) => {
  const { cache, inventory, content, one, step, site } = await stocked(t)
  await step('one', other)
  const { bytes } = inventory.holding()
  t.match(await inventory.remove(named('one')), { kind: 'removed', bytes: 0 })
  t.equal(inventory.holding().bytes, bytes)
  t.notOk(
    inventory
      .images()
      .rows.some(({ repository, digest }) => digest === one && repository === 'app'),
  )
  site.offline = true
  await pull(cache, other, 'one')
  site.offline = false
  t.match(await inventory.remove(named('one', other)), {
    kind: 'removed',
    blobs: partsIn(content, one).length - 1 + 3,
  })
})

t.test('what an index lists and has a tag of its own stays when the other goes', async (t) => {
  const { cache, inventory, content, platforms, step, site } = await stocked(t)
  const [amd64 = digestOf('')] = platforms
  content.tags.set('amd64', amd64)
  await step('amd64')
  t.match(await inventory.remove(named('multi')), { kind: 'removed' })
  site.offline = true
  await pull(cache, app, 'amd64')
  t.notOk(inventory.images().rows.some(({ reference }) => reference === 'multi'))
})

t.test(
  'pins: refused, forced, moved with the tag, and after a new index still there',
  async (t) => {
    const { cache, inventory, one, two, content, clock, dir, open } = await stocked(t)
    inventory.pin(named('one'))
    t.match(inventory.images({ match: compileImageGlob('registry.test/app:one') }).rows, [
      { pinnedBy: ['operator'] },
    ])
    t.match(await inventory.remove(named('one')), { kind: 'pinned', by: ['operator'] })
    t.match(await inventory.remove(named(one)), { kind: 'pinned', by: ['operator'] })
    const everything = await all(inventory.plan({ olderThan: 0 }))
    t.notOk(everything.some(({ digest }) => digest === one))

    content.tags.set('one', two)
    clock.time += 10 * minute
    await pull(cache, app, 'one')
    t.match(await inventory.remove(named('one')), { kind: 'pinned' })
    t.match(await inventory.remove(named(one)), { kind: 'removed' }, 'the tag means another now')
    await cache.close()
    for (const suffix of ['', '-wal', '-shm']) {
      rmSync(join(dir, `index.db${suffix}`), { force: true })
    }
    t.match(
      readFileSync(join(dir, 'journal'), 'utf8'),
      /"pin","registry.test","app","one","operator"/,
    )

    const again = open()
    t.match(again.inventory.pins(), [{ ...named('one'), owner: 'operator' }])
    await until(() => again.inventory.images().rows.some(({ reference }) => reference === 'two'))
    t.match(await again.inventory.remove(named('one')), { kind: 'pinned' })
    t.match(await again.inventory.remove(named('one'), { force: true }), { kind: 'removed' })
    t.same(again.inventory.pins(), [])
  },
)

t.test(
  'pruning: what goes by age, last pull, pattern, names and size, tried dry before',
  async (t) => {
    const { inventory, content, step, one, two, multi, signature } = await stocked(t)
    const planned = async (filter: Parameters<typeof inventory.plan>[0]) =>
      (await all(inventory.plan(filter))).map(({ digest }) => digest)
    await step('one')
    t.same(await planned({ olderThan: 3.5 * day }), [one])
    t.same(await planned({ notPulledFor: 1.5 * day }), [two])
    t.same(await planned({ notPulledFor: 0.5 * day, untagged: true }), [])
    t.same(await planned({ untagged: true }), [signature])
    t.same(await planned({ match: compileImageGlob('**:t*') }), [two])
    t.same(await planned({ match: compileImageGlob('registry.test/other') }), [])
    const { bytes } = inventory.holding()
    t.same(await planned({ to: bytes }), [])
    t.same(await planned({ to: bytes - 1 }), [two])
    const steps = await all(inventory.plan({ olderThan: 0 }))
    t.same(steps.map(({ digest }) => digest).slice(0, 2), [two, multi])
    t.equal(
      steps.reduce((sum, step) => sum + step.bytes, 0),
      bytes,
      'all of it, the shared layer once',
    )
    t.equal(inventory.holding().bytes, bytes, 'nothing has gone so far')
    t.match(await all(inventory.prune({ to: bytes - 1 })), [{ digest: two, names: [named('two')] }])
    const done = await all(inventory.prune({ olderThan: 0 }))
    t.equal(done.length, steps.length - 1)
    t.same(inventory.holding(), { bytes: 0, entries: 0 })
    t.same(inventory.images().rows, [])
    t.ok(content.blobs.size > 0)
  },
)

t.test('what is about a pinned image is not pruned, and is once it is not pinned', async (t) => {
  const { inventory, signature } = await stocked(t)
  const planned = async () =>
    (await all(inventory.plan({ untagged: true }))).map(({ digest }) => digest)
  inventory.pin(named('one'))
  t.same(await planned(), [])
  t.same(await all(inventory.prune({ untagged: true })), [])
  inventory.unpin(named('one'))
  t.same(await planned(), [signature])
})

t.test('what is being read, or fetched, does not go', async (t) => {
  const { cache, inventory, content, clock } = await stocked(t)
  const layer = [...content.blobs].find(([, bytes]) => bytes.equals(layerOf('one', 300_000)))
  const found = await cache.blob(app, layer?.[0] as Digest)
  t.match(await inventory.remove(named('one')), { kind: 'busy' })
  t.notOk((await all(inventory.prune({ olderThan: 0, match: compileImageGlob('**:one') }))).length)
  await readAll(found)
  clock.time += 1
  t.match(await inventory.remove(named('one')), { kind: 'removed' })
})

t.test('a tag that comes to mean something else while others go stays', async (t) => {
  const { inventory, content, one, two, step } = await stocked(t)
  const gone: Digest[] = []
  let three: Digest | undefined
  const match = compileImageGlob('registry.test/app:*')
  for await (const { digest } of inventory.prune({ match })) {
    gone.push(digest)
    if (three !== undefined) continue
    three = addImage(content, 'two', [base, layerOf('three', 1000)])
    await step('two')
  }
  t.equal(gone[0], one, 'the others were chosen already')
  t.notOk(gone.includes(two), 'it has no name of those that were meant')
  t.match(
    inventory.images().rows.filter(({ reference }) => reference === 'two'),
    [{ digest: three }],
  )
})
