// Writes tar archives in the POSIX ustar format, the same bytes for the same entries.

export interface TarEntry {
  /** Relative path, at most 100 characters. */
  path: string
  bytes: Buffer
  /** Permission bits; 0o644 when absent. */
  mode?: number
}

const block = 512

/** An archive of regular files owned by root and dated 1970, closed by the two empty blocks. */
export function tarOf(entries: readonly TarEntry[]): Buffer {
  const parts = entries.flatMap((entry) => [
    header(entry),
    entry.bytes,
    Buffer.alloc((block - (entry.bytes.length % block)) % block),
  ])
  return Buffer.concat([...parts, Buffer.alloc(2 * block)])
}

/** One header block as POSIX.1-1988 lays it out: text fields, octal numbers, a byte checksum. */
function header({ path, bytes, mode = 0o644 }: TarEntry): Buffer {
  const head = Buffer.alloc(block)
  const octal = (value: number, offset: number, length: number) =>
    head.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1')
  if (head.write(path, 0, 100, 'utf8') < Buffer.byteLength(path)) {
    throw new RangeError(`${path} is too long for a tar header`)
  }
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(bytes.length, 124, 12)
  octal(0, 136, 12)
  head.write(' '.repeat(8), 148, 'latin1')
  head.write('0', 156, 'latin1')
  head.write('ustar\u000000', 257, 'latin1')
  head.write('root', 265, 'latin1')
  head.write('root', 297, 'latin1')
  const checksum = head.reduce((sum, byte) => sum + byte, 0)
  head.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return head
}
