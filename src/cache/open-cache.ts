// Opens the cache: puts its parts together.
import type { Logger } from 'pino'
import type { GatewayError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { childSizes } from '../oci/manifest.ts'
import { createFailedFlow, type OpenUpstream, type OriginResponse } from '../oci/origin.ts'
import { BadAnswer } from './ask.ts'
import { createBlobs } from './blobs.ts'
import type { Cache, Small } from './cache.ts'
import { createConfirmation } from './confirmation.ts'
import { keepIndex } from './index/kept-index.ts'
import { onceMade } from './index/once-made.ts'
import { reportDescriptorLimit } from './disk/descriptor-limit.ts'
import { createDisk } from './disk/open-files.ts'
import { createForeignLayers } from './foreign-layers.ts'
import { createLook } from './fill/at-hand.ts'
import { createFills, type BlobDownload } from './fill/fills.ts'
import { createHeads } from './heads.ts'
import { createManifestSource, createManifests, type Manifests } from './manifests.ts'
import { createMemory } from './memory.ts'
import { createNegativeAnswers } from './freshness/negative-answers.ts'
import { createTagTtls } from './freshness/tag-ttl.ts'
import { createOutages, type Freshness } from './outage.ts'
import type { CacheMetrics, Context } from './context.ts'
import { listRepositories } from './lists/catalog.ts'
import { createUpstreamCatalog } from './lists/upstream-catalog.ts'
import { createPagedList } from './lists/paged-list.ts'
import { createReferrers } from './lists/referrers.ts'
import { createSmallStore } from './disk/small-store.ts'
import type { ObjectStore } from './shared/object-store.ts'
import { createSharedTier, type SharedTier } from './shared/tier.ts'
import { openStore } from './store.ts'
import { createHousekeeping } from './room/housekeeping.ts'
import { roomLimits } from './room/limits.ts'
import { cacheCondition, cacheProblems } from './room/condition.ts'
import { createTagList } from './lists/tag-list.ts'
import { createTagResolver, createTags } from './tags.ts'
import { createVerification, type Verification } from './verification/verification.ts'
import { createStorageProblems } from './storage-problems.ts'

export interface CacheOptions {
  dir: string
  /** For small content. */
  memoryBytes: number
  /** What all content may take, bytes; 80 % of the file system unless told. */
  maxBytes?: number | undefined
  /** What stays free of the file system, bytes; 2 GiB or 5 %, the smaller, unless told. */
  minFree?: number | undefined
  /** How often a stored file is hashed again as it is sent, ms; 30 days unless told. */
  verifyEvery?: number
  openUpstream: OpenUpstream
  /** What replicas share. */
  remote?: ObjectStore | undefined
  freshnessOf: (upstream: string) => Freshness
  /** See `createOutages`. */
  offline: (upstream: string) => boolean
  /** Whether an upstream allows so few more requests that only what is not cached is worth one. */
  isQuotaShort?: (upstream: string) => boolean
  /** See `createOutages`; `answer`: what it is about, as far as that is known. */
  report: (upstream: string, error: GatewayError, answer?: OriginResponse) => void
  log: Logger
  metrics: CacheMetrics
  /** Milliseconds since 1970. */
  now?: () => number
  /** After the second failure in a row of a download, ms; grows. */
  retryDelay?: number
  /** See `createOutages`, ms. */
  patience?: number
  /** False where another process of this gateway keeps index, journal and room in order. */
  isKeeper?: boolean
}

/** The cache, and what is done with it beside pulls. */
export interface KeptCache extends Cache {
  /** The blobs that are being fetched. */
  downloads: () => BlobDownload[]
  /** Hashes all that is stored. */
  verification: Verification
  /** How many objects wait to be written to the shared store; absent without one. */
  sharedWaiting: (() => number) | undefined
}

const flushEvery = 30_000
const lookEvery = 1000

/** Opens the cache in `dir`, which is created. Throws UsageError `cache.dir`. */
export function openCache(options: CacheOptions): KeptCache {
  const { log, metrics, freshnessOf, now = Date.now } = options
  const report = (upstream: string, error: GatewayError): void =>
    options.report(upstream, error, error instanceof BadAnswer ? error.answer : undefined)
  const storage = openStorage(options, now, (digest) => fills.isBusy(digest))
  const { parts, inventory, limits, kept } = storage
  const { room } = parts
  const { outages, openUpstream } = createAsking({ ...options, report }, parts.shared, now)
  const heads = createHeads(now)
  const negatives = createNegativeAnswers(freshnessOf, now)
  const pending = new Set<Promise<void>>()
  const background = (work: Promise<void>): void => {
    pending.add(work)
    void work.finally(() => pending.delete(work))
  }
  const isQuotaShort = options.isQuotaShort ?? (() => false)
  const freshness = { freshnessOf, isQuotaShort, tagTtls: createTagTtls(), negatives }
  const shared = { ...freshness, typed: new WeakSet<Small>(), openUpstream, report, background }
  const context: Context = { ...parts, outages, heads, ...shared, log, metrics, now }

  const source = createManifestSource(context)
  const manifests = createManifests(context, source)
  const foreignLayers = createForeignLayers(context, manifests)
  const fills = createFills({
    ...context,
    openUpstream: foreignLayers.open,
    reserve: (digest, size, come) => room.reserve(size ?? sizeToCome(context, digest), come),
    onChange: metrics.fills,
    onEvent: metrics.event,
    retryDelay: options.retryDelay ?? 200,
  })
  const verification = createVerification({ ...parts, log, now, onEvent: metrics.event })
  const stopTimers = startTimers(context, options.isKeeper !== false)
  const blobs = createBlobs(context, fills, createConfirmation(context, foreignLayers))
  const lists = listsOf(context, manifests)
  const [tags, referrers] = [onceMade(kept, lists.tags), onceMade(kept, lists.referrers)]

  return {
    manifest: onceMade(kept, manifests.manifest),
    tag: onceMade(kept, createTags(context, manifests, source)),
    resolveTag: createTagResolver(context, source),
    isStored: blobs.isStored,
    atHand: createLook(context, fills, source),
    blob: onceMade(kept, blobs.blob),
    blobSize: onceMade(kept, blobs.blobSize),
    ...lists,
    tags: async (place) => tags(place),
    referrers: async (...of) => referrers(...of),
    circuit: outages.circuit,
    inventory,
    problems: async () => cacheProblems(context),
    condition: async () => cacheCondition(context, limits),
    verification,
    downloads: fills.list,
    sharedWaiting: parts.shared?.waiting,
    async close() {
      stopTimers()
      await verification.close()
      await fills.close()
      await room.close()
      await Promise.all(pending)
      await storage.close()
    },
  }
}

/** How upstreams are asked: where there is a shared store, after that, which is asked offline, too. */
function createAsking(options: CacheOptions, shared: SharedTier | undefined, now: () => number) {
  const { openUpstream, patience = 2000 } = options
  const outages = createOutages({ ...options, now, patience })
  if (shared === undefined) return { outages, openUpstream }
  const unlessOffline: OpenUpstream = (request, receiver) => {
    try {
      outages.assertOnline(request)
    } catch (error) {
      return createFailedFlow(error as GatewayError, receiver)
    }
    return openUpstream(request, receiver)
  }
  return {
    outages: { ...outages, assertOnline: () => undefined },
    openUpstream: shared.before(unlessOffline),
  }
}

/** The folder, and the index of what is in it. */
function openFolder({ dir, log, metrics, isKeeper = true, ...given }: CacheOptions) {
  const store = openStore(dir)
  try {
    const limits = roomLimits(dir, given, log)
    const storageProblems = createStorageProblems(log, metrics.storageFailure)
    const { event: onEvent } = metrics
    const kept = keepIndex({ dir, store, storageProblems, log, isKeeper, onEvent })
    return { store, limits, storageProblems, kept }
  } catch (error) {
    // Others would take the folder for one that is in use.
    store.close()
    throw error
  }
}

/** What lies on the disk and what is known of it. */
function openStorage(
  options: CacheOptions,
  now: () => number,
  isFilling: (digest: Digest) => boolean,
) {
  const { dir, log, metrics } = options
  const { store, limits, storageProblems, kept } = openFolder(options)
  const { index } = kept
  const { remote } = options
  const common = { dir, store, index, storageProblems, log, now }
  const shared = remote && createSharedTier({ ...common, remote, onRequest: metrics.sharedRequest })
  const ownMemory = createMemory({ index, bytes: options.memoryBytes, now })
  const memory = shared?.watch(ownMemory) ?? ownMemory
  const base = { store, index, memory, storageProblems, log, now }
  const disk = createDisk({
    ...base,
    maxOpenFiles: reportDescriptorLimit(log),
    verifyEvery: options.verifyEvery ?? 30 * 86_400_000,
    onEvent: metrics.event,
  })
  const { room, inventory } = createHousekeeping({
    ...base,
    dir,
    disk,
    metrics,
    limits,
    isFilling,
    isArriving: (digest) => smallStore.isArriving(digest),
  })
  const smallStore = createSmallStore({ ...base, room })
  return {
    parts: { store, index, memory, disk, smallStore, shared, room, storageProblems },
    inventory,
    limits,
    kept,
    async close() {
      await kept.stop()
      await smallStore.retry()
      await shared?.close()
      await disk.close()
      memory.flush()
      await index.settle()
      index.close()
      store.close()
    },
  }
}

function listsOf(
  context: Context,
  manifests: Manifests,
): Pick<Cache, 'tags' | 'referrers' | 'repositories' | 'catalog'> {
  const askPages = createPagedList(context)
  const repositories: Cache['repositories'] = (after) => listRepositories(context.index, after)
  return {
    tags: createTagList(context, askPages),
    referrers: createReferrers(context, manifests, askPages),
    repositories,
    catalog: createUpstreamCatalog(context, askPages, repositories),
  }
}

function startTimers({ memory, index, smallStore, room }: Context, isKeeper: boolean): () => void {
  const timers = [
    setInterval(() => {
      memory.flush()
      void smallStore.retry()
    }, flushEvery),
    setInterval(() => {
      if (index.hasChanged()) memory.reload()
      if (isKeeper) room.trim()
      void index.settle()
    }, lookEvery),
  ]
  for (const timer of timers) timer.unref()
  return () => timers.forEach(clearInterval)
}

/** By a manifest in memory, where the upstream does not say it. */
function sizeToCome({ index, memory }: Context, digest: Digest): number {
  for (const parent of index.parentsOf(digest)) {
    const manifest = memory.small(parent)
    const size = manifest && childSizes(manifest.bytes).get(digest)
    if (size !== undefined) return size
  }
  return 0
}
