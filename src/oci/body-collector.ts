// Collects a body that comes in chunks, up to a limit.

export interface BodyCollector {
  /**
   * Keeps a copy of the chunk as far as the limit lets it: its buffer may be used again.
   * @returns bytes in all so far, those that were not kept too
   */
  add: (chunk: Buffer) => number
  /** What was kept. */
  bytes: () => Buffer
}

/** @param limit bytes that are kept */
export function collectBody(limit: number): BodyCollector {
  const chunks: Buffer[] = []
  let length = 0
  return {
    add(chunk) {
      if (length < limit) chunks.push(Buffer.from(chunk.subarray(0, limit - length)))
      length += chunk.length
      return length
    },
    bytes: () => Buffer.concat(chunks),
  }
}
