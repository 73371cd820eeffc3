// Presents several ranges of a content as one body, `multipart/byteranges` (RFC 9110, section 14.6),
// that is read like any other: also while a download grows, and without holding it in memory.
import { randomUUID } from 'node:crypto'
import type { Large } from '../cache/cache.ts'
import type { ByteRange } from '../oci/range.ts'

export interface Multipart {
  /** The value of Content-Type. */
  type: string
  /** Bytes of the whole body. */
  length: number
  content: Pick<Large, 'read' | 'onBroken' | 'isPassedOn' | 'close'>
}

/** A piece of the body: text of its own, or a range of the content. */
type Piece = { start: number; end: number } & ({ text: Buffer } | { first: number })

/** @param size bytes of the content */
export function multipartOf(
  content: Multipart['content'],
  ranges: readonly ByteRange[],
  size: number,
): Multipart {
  const boundary = randomUUID()
  const pieces: Piece[] = []
  let length = 0
  const addText = (text: string) => {
    const bytes = Buffer.from(text, 'latin1')
    pieces.push({ start: length, end: length + bytes.length, text: bytes })
    length += bytes.length
  }
  for (const { first, last } of ranges) {
    const range = `content-range: bytes ${first}-${last}/${size}`
    addText(`\r\n--${boundary}\r\ncontent-type: application/octet-stream\r\n${range}\r\n\r\n`)
    pieces.push({ start: length, end: length + last + 1 - first, first })
    length += last + 1 - first
  }
  addText(`\r\n--${boundary}--\r\n`)

  let at = 0
  return {
    type: `multipart/byteranges; boundary=${boundary}`,
    length,
    content: {
      read(buffer, position) {
        // It is read from its beginning to its end.
        while ((pieces[at]?.end ?? Infinity) <= position) at += 1
        const piece = pieces[at]
        if (piece === undefined) return 0
        const offset = position - piece.start
        const most = Math.min(buffer.length, piece.end - position)
        if ('text' in piece) return piece.text.copy(buffer, 0, offset, offset + most)
        const end = piece.first + piece.end - piece.start
        return content.read(buffer.subarray(0, most), piece.first + offset, end)
      },
      onBroken: (listener) => content.onBroken?.(listener),
      isPassedOn: () => content.isPassedOn?.() ?? false,
      close: () => content.close(),
    },
  }
}
