// All downloads that are under way: one for each digest, whoever wants it.
import { GatewayError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { OpenUpstream } from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import type { Disk } from '../disk/open-files.ts'
import { createAdmission } from './admission.ts'
import { startFill, type Fill } from './fill.ts'
import type { Reservation } from '../room/room.ts'
import type { CacheEvent, Small } from '../cache.ts'
import { placeKey, type Memory } from '../memory.ts'
import type { SmallStore } from '../disk/small-store.ts'
import type { Store } from '../store.ts'
import type { StorageProblems } from '../storage-problems.ts'

export interface Fills {
  /** One that a reader of all of it can join; the one of that repository, where one is named. */
  running: (digest: Digest, place?: Place) => Fill | undefined
  start: (place: Place, digest: Digest) => Fill
  /** It is under way, or somebody still reads what it has written. */
  isBusy: (digest: Digest) => boolean
  /** All that is under way, in the order of their starts. */
  list: () => BlobDownload[]
  /** Ends them all, and waits until what was complete is stored. */
  close: () => Promise<void>
}

/** A blob that is being fetched. */
export interface BlobDownload {
  digest: Digest
  /** The repository for which it was started. */
  place: Place
  /** Those that have come, and those that there are, as far as the upstream says it. */
  bytes: number
  size: number | undefined
  /** Who follows it. */
  readers: number
}

export interface FillsOptions {
  openUpstream: OpenUpstream
  store: Store
  memory: Memory
  disk: Disk
  smallStore: SmallStore
  storageProblems: StorageProblems
  /** See `Room`; the size is undefined where neither the upstream nor a manifest says it. */
  reserve: (
    digest: Digest,
    size: number | undefined,
    come: () => number,
  ) => Reservation | undefined | Promise<Reservation | undefined>
  /** The number of downloads under way changed. */
  onChange: (change: number) => void
  onEvent: (event: CacheEvent) => void
  retryDelay: number
  /** See `createOutages`. */
  report: (upstream: string, error: GatewayError) => void
}

/** Downloads that go on for the next client although theirs have left. */
const maxUnread = 16

const mediaType = 'application/octet-stream'

export function createFills(options: FillsOptions): Fills {
  const { openUpstream, store, memory, disk, smallStore, storageProblems, onChange, retryDelay } =
    options
  /** In the order of their starts: several where an upstream has to prove that it has what others have. */
  const underWay = new Map<Digest, Fill[]>()
  const all = new Set<Fill>()
  const drafts = createOpenDrafts()

  function start(place: Place, digest: Digest): Fill {
    let unstored: Small | undefined
    const admission = createAdmission(openUpstream, (size, come) =>
      options.reserve(digest, size, come),
    )
    const fill = startFill({
      openUpstream: admission.open,
      place,
      digest,
      retryDelay,
      draft() {
        if (!admission.isGranted()) return undefined
        const draft = store.draft(digest)
        drafts.count(digest, 1)
        return draft
      },
      onVerified(bytes) {
        // Not before: whoever begins to send something has not proven that it has this.
        memory.link(place, digest, 'blob')
        if (bytes === undefined) return
        unstored = { kind: 'small', digest, mediaType, bytes }
        memory.keep(unstored)
      },
      onStored(stored) {
        memory.stored(digest, { mediaType, ...stored })
        // What memory has is not read from there.
        if (unstored === undefined) disk.warm(digest)
        unstored = undefined
      },
      mayGoOnUnread: () =>
        [...all].filter((one) => one.progress().readers === 0).length <= maxUnread,
      onStoringFailed: (error) => storageProblems.note(error, 'storing a blob'),
      onClosed: () => drafts.count(digest, -1),
      onBadAnswer: (error) => options.report(place.upstream, error),
      onFarRead: () => options.onEvent('far_read'),
      onLeftBehind(readers) {
        for (let count = 0; count < readers; count += 1) options.onEvent('slow_reader')
      },
    })
    underWay.set(digest, [...(underWay.get(digest) ?? []), fill])
    all.add(fill)
    onChange(1)
    void fill.ended.then(() => {
      leave(digest, fill)
      all.delete(fill)
      admission.release()
      if (unstored !== undefined) smallStore.keep(unstored)
      onChange(-1)
    })
    return fill
  }

  function leave(digest: Digest, fill: Fill): void {
    const others = (underWay.get(digest) ?? []).filter((other) => other !== fill)
    if (others.length > 0) underWay.set(digest, others)
    else underWay.delete(digest)
  }

  return {
    start,
    list: () =>
      [...underWay].flatMap(([digest, fills]) =>
        fills.map(({ place, progress }) => ({ digest, place, ...progress() })),
      ),
    isBusy: (digest) => underWay.has(digest) || drafts.has(digest),
    running(digest, place) {
      const started = underWay.get(digest) ?? []
      return started.findLast(
        (fill) =>
          fill.isJoinable() && (place === undefined || placeKey(place) === placeKey(fill.place)),
      )
    },
    async close() {
      for (const fill of all) fill.abort(new GatewayError('UNAVAILABLE', 'the gateway is stopping'))
      await Promise.all([...all].map(async ({ ended }) => ended))
    },
  }
}

/** Drafts that are open, also of fills that have ended and are still read. */
function createOpenDrafts() {
  const open = new Map<Digest, number>()
  return {
    has: (digest: Digest) => open.has(digest),
    count(digest: Digest, change: number): void {
      const number = (open.get(digest) ?? 0) + change
      if (number > 0) open.set(digest, number)
      else open.delete(digest)
    },
  }
}
