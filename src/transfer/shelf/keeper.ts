// Keeps the shelf: what a site must hold is pulled when it is missing, by a schedule, and pinned.
import { setTimeout } from 'node:timers/promises'
import { Cron } from 'croner'
import type { Logger } from 'pino'
import type { Cache } from '../../cache/cache.ts'
import { createTurns } from '../../cache/lists/turns.ts'
import type { ShelfEntry } from '../../config/shelf/schema.ts'
import { GatewayError, messageOf } from '../../errors.ts'
import { isDigest } from '../../oci/digest.ts'
import type { Reference } from '../../cache/index/image-queries.ts'
import { formatImage, type ImageName } from '../image-name.ts'
import type { Platforms } from '../platforms.ts'
import type { PreloadedImage } from '../preload.ts'
import { openLedger, type Ledger } from './ledger.ts'
import type { ShelfRow } from './schema.ts'
import { plainName, selectImages, type ShelfNaming } from './selection.ts'

export interface ShelfOptions {
  cache: Cache
  /** The cache folder. */
  dir: string
  log: Logger
  /** How long after a failure that may pass, about, ms. */
  retryAfter?: number
}

export interface ShelfKeeper {
  /** Keeps these from now on, and no others. */
  keep: (entries: readonly ShelfEntry[], naming: ShelfNaming) => void
  rows: () => readonly ShelfRow[]
  /** Begins nothing more; what is under way ends with the cache. */
  stop: () => Promise<void>
}

/** Without a schedule. */
const usualSchedule = '*/15 * * * *'
const retryMs = 15_000
/** A clock may be set, and a machine sleep: the time is looked at so often, ms. */
const lookEvery = 60_000
const notAsked = 'the upstream could not be asked whether it is current'
/** Of one upstream. */
const imagesAtOnce = 2

export function createShelfKeeper(options: ShelfOptions): ShelfKeeper {
  const { cache, dir, log } = options
  const ledger = openLedger(dir, (error) => log.warn({ err: error }, 'shelf.json is not written'))
  const pull = createPull(options, ledger)
  let end = new AbortController()

  const pinAll = (names: Keeping['names']) => pinOnly(options, [...names.values()].flat())

  /** Looks at all of an entry once. Whether it is worth trying again soon. */
  async function round(
    entry: ShelfEntry,
    { naming, names }: Keeping,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      const selection = await selectImages(cache, entry, naming)
      if (signal.aborted) return false
      const known = names.get(entry.image) ?? []
      // What only the cache knows leaves out what is yet to come.
      const meant = selection.isStale && known.length > 0 ? known : selection.names
      names.set(entry.image, meant)
      ledger.replace(entry.image, rowsFor(entry, meant))
      pinAll(names)
      const pulls = meant.map(async (name) => pull(entry, name, signal))
      const again = await Promise.all(pulls)
      return again.includes(true)
    } catch (error) {
      if (signal.aborted) return false
      const problem = messageOf(error)
      for (const { image, missingSince } of rowsOf(entry)) {
        const since = image === entry.image ? (missingSince ?? Date.now()) : missingSince
        ledger.update(entry.image, image, { problem, missingSince: since, checkedAt: Date.now() })
      }
      return isPassing(error)
    }
  }

  function rowsOf(entry: ShelfEntry): ShelfRow[] {
    return ledger.rows().filter((row) => row.entry === entry.image)
  }

  async function follow(entry: ShelfEntry, keeping: Keeping, signal: AbortSignal): Promise<void> {
    const due = createDue(entry)
    for (let at = entry.schedule === undefined ? Date.now() : due(); ; at = due()) {
      await until(at, signal)
      const { retryAfter = retryMs } = options
      // Not less and less often: a link may be up for half a minute, and then not for hours.
      while (await round(entry, keeping, signal)) {
        await setTimeout(retryAfter * (0.75 + Math.random() / 2), undefined, { signal, ref: false })
      }
    }
  }

  return {
    rows: ledger.rows,
    keep(entries, naming) {
      end.abort()
      end = new AbortController()
      const { signal } = end
      const names = new Map<string, readonly ImageName[]>()
      ledger.retain(entries.map(({ image }) => image))
      for (const entry of entries) {
        const plain = plainName(entry, naming)
        if (rowsOf(entry).length === 0) {
          ledger.replace(entry.image, rowsFor(entry, plain === undefined ? [] : [plain]))
        }
        names.set(entry.image, plain === undefined ? knownNames(cache, rowsOf(entry)) : [plain])
      }
      pinAll(names)
      for (const entry of entries) {
        follow(entry, { naming, names }, signal).catch((error: unknown) => {
          if (!signal.aborted) log.error({ err: error, image: entry.image }, 'the shelf broke off')
        })
      }
    },
    async stop() {
      end.abort()
      await ledger.settled()
    },
  }
}

type Pull = (entry: ShelfEntry, name: ImageName, signal: AbortSignal) => Promise<boolean>

/** Returns what pulls one image, and writes down what came of it: whether it is worth trying again soon. */
function createPull({ cache, log }: ShelfOptions, ledger: Ledger): Pull {
  const inTurn = createTurns(imagesAtOnce)
  return async (entry, name, signal) => {
    const image = formatImage(name)
    const before = ledger.rows().find((row) => row.entry === entry.image && row.image === image)
    const place = { ...name, isBackground: true }
    const platforms: Platforms = entry.platforms.includes('all') ? 'all' : entry.platforms
    const options = { cache, platforms, referrers: entry.referrers }
    const checkedAt = Date.now()
    try {
      const pulled = await inTurn(name.upstream, async () => {
        signal.throwIfAborted()
        const { preloadImage } = await import('../preload.ts')
        const next = await nextOf(cache, place, before)
        if (next !== undefined) assertStored(await preloadImage(next, options))
        return preloadImage(place, options)
      })
      if (signal.aborted) return false
      assertStored(pulled)
      const [problem] = [...(pulled.isStale ? [notAsked] : []), ...pulled.doubts]
      const facts = { digest: pulled.digest, missingSince: undefined, problem, checkedAt }
      ledger.update(entry.image, image, facts)
      if (before?.missingSince !== undefined) log.info({ image, bytes: pulled.fetched }, 'shelved')
      return false
    } catch (error) {
      if (signal.aborted) return false
      const missingSince = before?.missingSince ?? checkedAt
      const problem = messageOf(error)
      ledger.update(entry.image, image, { missingSince, problem, checkedAt })
      if (before?.problem !== problem) log.warn({ image, problem }, 'missing on the shelf')
      return isPassing(error)
    }
  }
}

function assertStored({ unstored }: PreloadedImage): void {
  if (unstored > 0) throw new Error(`${unstored} of its blobs are not stored`)
}

/**
 * What a tag that is here has come to mean, by digest: until all of that is here too, the tag stays as
 * it is, so that a link that dies in between leaves the site with the image that it had.
 */
async function nextOf(
  cache: Cache,
  { tag, digest: named, ...place }: ImageName,
  before: ShelfRow | undefined,
): Promise<ImageName | undefined> {
  if (tag === undefined || named !== undefined || before?.digest === undefined) return undefined
  const digest = await cache.resolveTag(place, tag).catch(() => undefined)
  return digest === undefined || digest === before.digest ? undefined : { ...place, digest }
}

interface Keeping {
  naming: ShelfNaming
  /** Of each entry, as far as they are known. */
  names: Map<string, readonly ImageName[]>
}

/** A row for each image; one for the pattern itself where nothing is known of it. */
function rowsFor({ image: entry }: ShelfEntry, names: readonly ImageName[]): ShelfRow[] {
  const missingSince = Date.now()
  const images = names.length === 0 ? [entry] : names.map(formatImage)
  return images.map((image) => ({ entry, image, missingSince }))
}

/** The images that a pattern meant before a restart: they stay pinned. */
function knownNames({ inventory }: Cache, rows: readonly ShelfRow[]): ImageName[] {
  const images = new Set(rows.map(({ image }) => image))
  return inventory
    .pins()
    .filter(({ owner }) => owner === 'shelf')
    .map(nameOf)
    .filter((name) => images.has(formatImage(name)))
}

/** The pins of the shelf are these. */
function pinOnly({ cache: { inventory }, log }: ShelfOptions, names: readonly ImageName[]): void {
  const wanted = new Map(names.map(referenceOf).map((reference) => [keyOf(reference), reference]))
  try {
    for (const pin of inventory.pins().filter(({ owner }) => owner === 'shelf')) {
      if (!wanted.delete(keyOf(pin))) inventory.unpin(pin, 'shelf')
    }
    for (const reference of wanted.values()) inventory.pin(reference, 'shelf')
  } catch (error) {
    log.warn({ err: error }, 'the shelf is not pinned')
  }
}

function referenceOf({ upstream, repository, tag, digest }: ImageName): Reference {
  return { upstream, repository, reference: digest ?? tag ?? 'latest' }
}

function keyOf({ upstream, repository, reference }: Reference): string {
  return `${upstream}/${repository} ${reference}`
}

function nameOf({ upstream, repository, reference }: Reference): ImageName {
  const named = isDigest(reference) ? { digest: reference } : { tag: reference }
  return { upstream, repository, ...named }
}

/** Returns the next time of its schedule after now, late at random. */
function createDue({ schedule = usualSchedule, jitter }: ShelfEntry): () => number {
  const cron = new Cron(schedule, { paused: true })
  return () => (cron.nextRun()?.getTime() ?? Infinity) + Math.random() * jitter
}

async function until(time: number, signal: AbortSignal): Promise<void> {
  for (let left = time - Date.now(); left > 0; left = time - Date.now()) {
    await setTimeout(Math.min(left, lookEvery), undefined, { signal, ref: false })
  }
}

/** The link may be back in a moment; a name that is wrong stays so. */
function isPassing(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (!(cause instanceof GatewayError)) return true
  return ['UPSTREAM_FAILED', 'UPSTREAM_TIMEOUT', 'TOOMANYREQUESTS', 'UNAVAILABLE'].includes(
    cause.code,
  )
}
