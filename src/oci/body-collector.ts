// Collects a body that comes in chunks, up to a limit.

export interface BodyCollector {
  /**
   * Keeps a copy of the chunk as far as the limit lets it: its buffer may be used again.
   * @returns bytes in all so far, those that were not kept too
   */
  add: (chunk: Buffer) => number
  /** What was kept, see `joined`. */
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
    bytes: () => joined(chunks),
  }
}

/** The chunks one behind the other, in memory of their own: Node's small buffers keep their neighbours. */
export function joined(chunks: readonly Buffer[]): Buffer {
  const whole = Buffer.allocUnsafeSlow(chunks.reduce((sum, { length }) => sum + length, 0))
  let end = 0
  for (const chunk of chunks) end += chunk.copy(whole, end)
  return whole
}
