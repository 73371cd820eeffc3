// A download that is under way: a growing file, and the readers that follow it from any offset.
import { GatewayError } from '../../errors.ts'
import { hexOf, type Digest } from '../../oci/digest.ts'
import type { OpenUpstream } from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import type { Large } from '../cache.ts'
import { BadAnswer } from '../ask.ts'
import { startDownload } from './download.ts'
import { createFarReads } from './far-reads.ts'
import { createReaders } from './readers.ts'
import { createGrowingFile, type GrowingFile } from './growing-file.ts'
import type { BlobDraft, Stored } from '../store.ts'

export interface Fill {
  /** Whose request started it. */
  place: Place
  /** Resolves once the upstream has said that it has the blob; rejects where that fails. */
  started: Promise<void>
  /** Resolves, never rejects, once it is stored or failed. */
  ended: Promise<void>
  /** Whether a new reader can have all of it. */
  isJoinable: () => boolean
  /** Whether it waits for no other replica. */
  isOwn: () => boolean
  /** A reader, one for each client; its size is known once the fill has started. */
  follow: (place: Place) => Large
  /** Bytes: how many have come, and how many there are, as far as the upstream says it. */
  progress: () => { bytes: number; size: number | undefined; readers: number }
  /** Ends it for all readers, unless all is there already. */
  abort: (error: GatewayError) => void
}

export interface FillOptions {
  openUpstream: OpenUpstream
  place: Place
  digest: Digest
  retryDelay: number
  /** May throw what the file system says, or give none: then the content is passed on without being kept. */
  draft: () => BlobDraft | undefined
  /** The digest is right; `bytes` where all of it is in memory. */
  onVerified: (bytes: Buffer | undefined) => void
  onStored: (stored: Stored) => void
  onStoringFailed: (error: unknown) => void
  /** What came is not what was asked for. */
  onBadAnswer?: (error: BadAnswer) => void
  /** Whether it may go on although nobody reads it any more. */
  mayGoOnUnread: () => boolean
  /** Where nothing can be stored: readers have lost their places, because others waited for them. */
  onLeftBehind: (readers: number) => void
  /** A part was asked for that is far ahead. */
  onFarRead: () => void
  /** The draft is closed: nobody reads what was written to it any more. */
  onClosed?: () => void
  /** How long they wait, ms. */
  patience?: number
}

const patienceMs = 3000

/**
 * Starts it. States: asked (no file yet), growing, verified or failed (no more bytes), ended (stored,
 * or not to be). The digest is checked here and nowhere else, in `end`; until then `readers` withhold
 * the last byte.
 */
export function startFill(options: FillOptions): Fill {
  const { place, digest, patience = patienceMs } = options
  const started = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<void>()
  started.promise.catch(() => undefined)
  let file: GrowingFile | undefined
  let size: number | undefined
  let isVerified = false
  let failure: GatewayError | undefined
  let hasEnded = false
  const alarm = createAlarm(patience, () => options.onLeftBehind(readers.leaveBehind()))

  const growth = () => ({ file, size, isVerified, failure })
  const readers = createReaders(digest, growth, createFarReads(options, growth), () => {
    if (readers.count() > 0) return
    if (hasEnded) file?.close()
    else if (options.mayGoOnUnread()) abortUnread()
    else abort(new GatewayError('UNAVAILABLE', 'nobody waits for this download any more'))
  })

  function abortUnread(): void {
    if (readers.count() > 0 || file?.tail.isStoring() !== false) return
    abort(new GatewayError('UNAVAILABLE', 'nobody reads what cannot be stored'))
  }

  function begin(announced: number | undefined): void {
    size = announced
    const onRoom = alarm.endedBy(() => download.resume())
    const onStoringFailed = (error: unknown) => {
      options.onStoringFailed(error)
      abortUnread()
    }
    const { wake: onFlush, neededFrom } = readers
    file = createGrowingFile({ ...options, size, neededFrom, onFlush, onRoom, onStoringFailed })
    started.resolve()
  }

  function data(chunk: Buffer): void {
    file?.append(chunk)
    if (file?.tail.isCrowded() !== true) return
    download.pause()
    if (!file.tail.isStoring()) alarm.start()
  }

  function end(): boolean {
    if (file?.hashSoFar() !== hexOf(digest)) return false
    isVerified = true
    size = file.tail.end()
    options.onVerified(file.tail.whole())
    void finish()
    return true
  }

  function fail(error: GatewayError): void {
    if (isVerified || failure !== undefined) return
    failure = error
    if (error instanceof BadAnswer) options.onBadAnswer?.(error)
    started.reject(error)
    void finish()
  }

  function abort(error: GatewayError): void {
    if (!isVerified) download.abort()
    fail(error)
  }

  async function finish(): Promise<void> {
    readers.wake()
    alarm.stop()
    const stored = await file?.settle(isVerified)
    if (stored !== undefined) options.onStored(stored)
    hasEnded = true
    ended.resolve()
    if (readers.count() === 0) file?.close()
  }

  const target = { begin, data, hashSoFar: () => file?.hashSoFar() ?? '', end, fail }
  const download = startDownload({ ...options, target, readers })
  return {
    place,
    started: started.promise,
    ended: ended.promise,
    isJoinable: () => !hasEnded && failure === undefined && file?.tail.hasGap() !== true,
    isOwn: () => isVerified || download.isOwn(),
    follow: readers.follow,
    progress: () => ({ bytes: file?.tail.end() ?? 0, size, readers: readers.count() }),
    abort,
  }
}

/** Rings again and again, while somebody holds the window of a download that cannot be stored. */
function createAlarm(ms: number, ring: () => void) {
  let timer: NodeJS.Timeout | undefined
  function stop(): void {
    clearInterval(timer)
    timer = undefined
  }

  return {
    start: () => void (timer ??= setInterval(ring, ms)),
    stop,
    endedBy: (work: () => void) => () => {
      stop()
      work()
    },
  }
}
