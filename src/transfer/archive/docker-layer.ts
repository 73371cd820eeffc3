// A layer of a docker archive: held to the config's diff ID, and gzipped where it is a bare tar.
import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip, createZstdDecompress } from 'node:zlib'
import type { Digest } from '../../oci/digest.ts'
import type { Archive } from './archive.ts'
import type { Append, Sink } from './archive-image.ts'
import { BadArchive, expansionGuard } from '../bad-archive.ts'
import type { ImageDescriptor } from '../documents.ts'
import { isZlibError } from './spool.ts'

const layerType = 'application/vnd.oci.image.layer.v1.tar'
const compressed = {
  gzip: { magic: '1f8b', decompressor: createGunzip },
  zstd: { magic: '28b52ffd', decompressor: createZstdDecompress },
} as const
type Compression = keyof typeof compressed

const chunkSize = 256 * 1024
/** The operating system in a gzip header: 255 is "unknown" (RFC 1952); zlib writes its own. */
const systemByte = { at: 9, value: 255 }

/**
 * Keeps the layer in `entry` as a registry serves it: compressed as it is, or gzipped always in the
 * same way. Throws BadArchive where its content does not hash to `diffId`, or is a bomb.
 */
export async function keepLayer(
  sink: Sink,
  archive: Archive,
  entry: string,
  diffId: Digest,
): Promise<ImageDescriptor> {
  const compression = await compressionOf(archive, entry)
  const kept =
    compression === undefined
      ? await sink.keep(entry, undefined, (append) => compress(archive, entry, diffId, append))
      : await sink.keep(entry, claimedDigest(entry), (append) =>
          copyChecked(archive, entry, diffId, compression, append),
        )
  return { mediaType: `${layerType}+${compression ?? 'gzip'}`, ...kept }
}

/**
 * The digest that the name of an entry claims: `<hex>.tar.gz` of crane, `<hex>.json` and
 * `sha256:<hex>` of configs, `blobs/sha256/<hex>`.
 */
export function claimedDigest(entry: string): Digest | undefined {
  const hex = /^(?:blobs\/sha256\/|sha256:)?([0-9a-f]{64})(?:\.json|\.tar\.gz)?$/.exec(entry)?.[1]
  return hex === undefined ? undefined : `sha256:${hex}`
}

async function compressionOf(archive: Archive, entry: string): Promise<Compression | undefined> {
  for await (const chunk of archive.read(entry)) {
    const start = chunk.subarray(0, 4).toString('hex')
    return (['gzip', 'zstd'] as const).find((name) => start.startsWith(compressed[name].magic))
  }
  return undefined
}

async function compress(archive: Archive, entry: string, diffId: Digest, append: Append) {
  const hash = createHash('sha256')
  await pipeline(
    archive.read(entry),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk)
        yield chunk
      }
    },
    createGzip({ level: 6, memLevel: 8, windowBits: 15, chunkSize }),
    async (chunks: AsyncIterable<Buffer>) => {
      let position = 0
      for await (const chunk of chunks) {
        const at = systemByte.at - position
        if (at >= 0 && at < chunk.length) chunk[at] = systemByte.value
        position += chunk.length
        await append(chunk)
      }
    },
  )
  checkDiffId(entry, diffId, `sha256:${hash.digest('hex')}`)
}

async function copyChecked(
  archive: Archive,
  entry: string,
  diffId: Digest,
  compression: Compression,
  append: Append,
) {
  const hash = createHash('sha256')
  const guard = expansionGuard(entry, archive.sizeOf(entry) ?? 0)
  try {
    await pipeline(
      archive.read(entry),
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          await append(chunk)
          yield chunk
        }
      },
      compressed[compression].decompressor({ chunkSize }),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          guard(chunk.length)
          hash.update(chunk)
        }
      },
    )
  } catch (error) {
    if (!isZlibError(error)) throw error
    throw new BadArchive(entry, `is no whole ${compression} file`, error)
  }
  checkDiffId(entry, diffId, `sha256:${hash.digest('hex')}`)
}

function checkDiffId(entry: string, expected: Digest, actual: Digest): void {
  if (actual === expected) return
  throw new BadArchive(entry, `has content of ${actual}, but the config says ${expected}`)
}
