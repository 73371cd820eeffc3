// Goes on with a download where a stored file cannot be read after all.
import type { Large } from '../cache.ts'

/** Only where nothing of it was given yet: what was given may be wrong, and would be half of the whole. */
export function withRefill(stored: Large, refill: () => Promise<{ content: Large }>): Large {
  const { digest, mediaType, size } = stored
  let current = stored
  let isClosed = false
  /** Something was given, or the download has been tried. */
  let isSettled = false
  let onBroken: Parameters<NonNullable<Large['onBroken']>>[0] | undefined

  async function instead(error: unknown, ...wanted: Parameters<Large['read']>): Promise<number> {
    if (isSettled) throw error
    isSettled = true
    current.close()
    const { content: next } = await refill()
    if (isClosed) {
      next.close()
      throw error
    }
    current = next
    if (onBroken !== undefined) next.onBroken?.(onBroken)
    return next.read(...wanted)
  }

  function settled(bytes: number): number {
    isSettled = true
    return bytes
  }

  return {
    kind: 'large',
    digest,
    mediaType,
    size,
    read(buffer, position, end) {
      if (isSettled) return current.read(buffer, position, end)
      try {
        const read = current.read(buffer, position, end)
        if (typeof read === 'number') return settled(read)
        return read.then(settled, async (error: unknown) => instead(error, buffer, position, end))
      } catch (error) {
        return instead(error, buffer, position, end)
      }
    },
    onBroken: (listener) => void (onBroken = listener),
    isPassedOn: () => current.isPassedOn?.() ?? false,
    close() {
      isClosed = true
      current.close()
    },
  }
}
