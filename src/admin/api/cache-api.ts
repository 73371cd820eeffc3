// What the cache holds, over HTTP: looking in, pruning, pinning, taking out, verifying.
import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Static } from 'typebox'
import type { KeptCache } from '../../cache/open-cache.ts'
import type { HeldBlob, HeldImage, InventoryPage, PageOptions } from '../../cache/room/images.ts'
import type { Pruned, RemovalResult } from '../../cache/room/inventory.ts'
import type { Reference } from '../../cache/index/image-queries.ts'
import { UsageError } from '../../errors.ts'
import {
  downloadView,
  formatReference,
  shelfView,
  isoTime,
  type ShelvedImage,
} from '../status/views.ts'
import { sendProblem } from './problem.ts'
import { EvictBody, PageQuery, PinBody, PruneBody, VerifyBody } from './requests.ts'

export interface CacheApiOptions {
  cache: Pick<KeptCache, 'inventory' | 'verification' | 'downloads'>
  /** What a name means here, such as `alpine:3.20`. Throws UsageError. */
  parseImage: (text: string) => Reference
  /** What the site must hold. */
  shelf?: () => readonly ShelvedImage[]
  log: Logger
}

/** A Fastify plugin, as part of `adminApi`. */
export async function cacheApi(api: FastifyInstance, options: CacheApiOptions): Promise<void> {
  const { cache } = options
  api.get<{ Querystring: Static<typeof PageQuery> }>(
    '/images',
    { schema: { querystring: PageQuery } },
    async ({ query }) => {
      const { rows, next } = await inSteps(cache.inventory.images, query)
      return { images: rows.map(imageView), ...(next === undefined ? {} : { next }) }
    },
  )

  api.get<{ Querystring: Static<typeof PageQuery> }>(
    '/blobs',
    { schema: { querystring: PageQuery } },
    async ({ query }) => {
      const { rows, next } = await inSteps(cache.inventory.blobs, query)
      return { blobs: rows.map(blobView), ...(next === undefined ? {} : { next }) }
    },
  )

  api.get('/downloads', async () => ({
    downloads: cache.downloads().map(downloadView),
  }))

  api.get('/shelf', async () => shelfView(options.shelf?.() ?? []))

  api.get('/verify', async () => verificationView(cache))

  addChanges(api, options)
}

/** Rows that are described in one go, some milliseconds: pulls come between. */
const stepRows = 10

/** A page as `list` gives it; where a step finds nothing, the caller is to go on. */
async function inSteps<Row>(
  list: (options: PageOptions) => InventoryPage<Row>,
  { limit = 100, ...query }: PageOptions,
): Promise<InventoryPage<Row>> {
  const rows: Row[] = []
  let next = query.cursor
  while (rows.length < limit) {
    const step = list({ ...query, cursor: next, limit: Math.min(stepRows, limit - rows.length) })
    rows.push(...step.rows)
    next = step.next
    if (next === undefined || step.rows.length === 0) break
    await setImmediate()
  }
  return { rows, next }
}

/** What changes something: each leaves a line in the log. */
function addChanges(api: FastifyInstance, { cache, parseImage, log }: CacheApiOptions): void {
  const { inventory, verification } = cache
  api.post<{ Body: Static<typeof PruneBody> }>(
    '/prune',
    { schema: { body: PruneBody } },
    async ({ body: { dryRun, ...filter } }) => {
      if (Object.keys(filter).length === 0) {
        const message =
          'says nothing of what is to go: olderThan, notPulledFor, match, to or untagged'
        throw new UsageError([{ path: 'body', message }])
      }
      const pruned: Pruned[] = []
      for await (const step of dryRun ? inventory.plan(filter) : inventory.prune(filter)) {
        pruned.push(step)
      }
      const sum = (key: 'bytes' | 'blobs') => pruned.reduce((total, step) => total + step[key], 0)
      const totals = { bytes: sum('bytes'), blobs: sum('blobs') }
      if (!dryRun) log.info({ images: pruned.length, ...totals }, 'pruned')
      return {
        dryRun,
        removed: pruned.map((step) => ({ ...step, names: step.names.map(formatReference) })),
        ...totals,
        left: inventory.holding(),
      }
    },
  )

  api.post<{ Body: Static<typeof PinBody> }>(
    '/pin',
    { schema: { body: PinBody } },
    async ({ body: { image, pinned } }) => {
      const name = parseImage(image)
      if (pinned) inventory.pin(name)
      else inventory.unpin(name)
      log.info({ image: formatReference(name), pinned }, 'pinned')
      return { image: formatReference(name), pinned }
    },
  )

  api.post<{ Body: Static<typeof EvictBody> }>(
    '/evict',
    { schema: { body: EvictBody } },
    async ({ body: { image, force } }, reply) => {
      const name = parseImage(image)
      const result = await inventory.remove(name, { force })
      const text = formatReference(name)
      if (result.kind !== 'removed') {
        const { status, detail, ...more } = refusalOf(result)
        return sendProblem(reply, status, `${text} ${detail}`, more)
      }
      const { kind: _kind, ...removed } = result
      log.info({ image: text, ...removed }, 'evicted')
      return { image: text, ...removed }
    },
  )

  api.post<{ Body: Static<typeof VerifyBody> }>(
    '/verify',
    { schema: { body: VerifyBody } },
    async ({ body: { rate } }, reply) => {
      verification.begin(rate)
      return reply.code(202).send(verificationView(cache))
    },
  )
}

function refusalOf(result: Exclude<RemovalResult, { kind: 'removed' }>) {
  if (result.kind === 'missing') return { status: 404, detail: 'is not in the cache' }
  if (result.kind === 'busy') return { status: 409, detail: 'is being pulled: try again' }
  const { by } = result
  const remedy = by.includes('shelf') ? 'take it off the shelf' : 'unpin it'
  return {
    status: 409,
    detail: `is pinned by ${by.join(' and ')}: ${remedy}, or force it`,
    pinnedBy: by,
  }
}

function imageView({ upstream, repository, reference, created, accessed, ...facts }: HeldImage) {
  return {
    name: formatReference({ upstream, repository, reference }),
    ...facts,
    created: isoTime(created),
    lastPull: isoTime(accessed),
  }
}

function blobView({ created, accessed, places, standing: _standing, ...facts }: HeldBlob) {
  return {
    ...facts,
    repositories: places.map(({ upstream, repository }) => `${upstream}/${repository}`),
    created: isoTime(created),
    lastPull: isoTime(accessed),
  }
}

function verificationView({ verification, inventory }: CacheApiOptions['cache']) {
  const { isRunning, began, ended, share, files, bytes, flaws, findings } = verification.state()
  return {
    isRunning,
    ...(began === undefined ? {} : { began: isoTime(began) }),
    ...(ended === undefined ? {} : { ended: isoTime(ended) }),
    share,
    files,
    bytes,
    flaws,
    findings,
    held: inventory.holding(),
  }
}
