// What a download writes: a draft of the store where there can be one, and the tail that readers see.
import { close } from 'node:fs'
import { hasherFor, type Digest } from '../../oci/digest.ts'
import { smallLimit } from '../memory.ts'
import type { BlobDraft, Stored } from '../store.ts'
import { createTail, type Tail, type TailOptions } from './tail.ts'

export interface GrowingFile {
  tail: Tail
  /** `performance.now()` when it was made. */
  beganAt: number
  append: (chunk: Buffer) => void
  /** The hash, in hex, of all that was appended; it can all be read then. */
  hashSoFar: () => string
  /** Waits for the writes, and stores what is right; undefined where that is not to be. */
  settle: (isRight: boolean) => Promise<Stored | undefined>
  /** Nobody reads any more. */
  close: () => void
}

export interface GrowingFileOptions extends Pick<
  TailOptions,
  'size' | 'neededFrom' | 'onFlush' | 'onRoom'
> {
  digest: Digest
  /**
   * May throw what the file system says, or give none where there is no room: then there is no file, and
   * readers have to keep up.
   */
  draft: () => BlobDraft | undefined
  onStoringFailed: (error: unknown) => void
  onClosed?: () => void
}

/** How long bytes may be staged before readers get them, ms. */
const flushAfter = 10

export function createGrowingFile(options: GrowingFileOptions): GrowingFile {
  const { digest, onStoringFailed } = options
  const hash = hasherFor(digest)
  const draft = tried(options)
  const fd = draft?.fd
  const tail = createTail({ ...options, fd, hash, smallLimit })
  let timer: NodeJS.Timeout | undefined

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    tail.flush()
  }

  return {
    tail,
    beganAt: performance.now(),
    append(chunk) {
      const isFirst = tail.end() === 0
      tail.append(chunk)
      // The first bytes are waited for; later ones travel in company.
      if (isFirst) tail.flush()
      else timer ??= setTimeout(flush, flushAfter)
    },
    hashSoFar() {
      flush()
      return hash.copy().digest('hex')
    },
    async settle(isRight) {
      clearTimeout(timer)
      await tail.settled()
      try {
        if (draft !== undefined && isRight && tail.isStoring()) return await draft.publish()
      } catch (error) {
        onStoringFailed(error)
      }
      await draft?.discard().catch(onStoringFailed)
      return undefined
    },
    close() {
      if (fd === undefined) return
      close(fd, () => undefined)
      options.onClosed?.()
    },
  }
}

function tried({ draft, onStoringFailed }: GrowingFileOptions): BlobDraft | undefined {
  try {
    return draft()
  } catch (error) {
    onStoringFailed(error)
    return undefined
  }
}
