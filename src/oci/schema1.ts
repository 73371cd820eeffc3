// Signed manifests of schema 1: their digest is that of the payload, which has no signatures.
import { algorithmOf, digestOf, type Digest } from './digest.ts'

/** The digest that a registry gives these bytes. */
export function manifestDigestOf(bytes: Buffer): Digest {
  return digestOf(signedPayload(bytes) ?? bytes)
}

/** Whether the bytes, or the payload that is signed in them, hash to the digest. */
export function isManifestOf(bytes: Buffer, digest: Digest): boolean {
  const algorithm = algorithmOf(digest)
  if (digestOf(bytes, algorithm) === digest) return true
  const payload = signedPayload(bytes)
  return payload !== undefined && digestOf(payload, algorithm) === digest
}

/**
 * What is signed (image manifest version 2, schema 1, "Signed Manifests"): the first `formatLength`
 * bytes and `formatTail`. undefined where the document is no such manifest, or says anything beside
 * its payload but the signatures.
 */
function signedPayload(bytes: Buffer): Buffer | undefined {
  if (!bytes.includes('"signatures"')) return undefined
  try {
    const { signatures, ...rest } = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>
    if (rest['schemaVersion'] !== 1 || !Array.isArray(signatures)) return undefined
    const [format, ...others] = new Set(signatures.map(formatOf))
    if (format === undefined || others.length > 0) return undefined
    const [length, tail] = JSON.parse(format) as [number, string]
    const payload = Buffer.concat([bytes.subarray(0, length), Buffer.from(tail, 'base64url')])
    const isAll = JSON.stringify(JSON.parse(payload.toString('utf8'))) === JSON.stringify(rest)
    return isAll ? payload : undefined
  } catch {
    return undefined
  }
}

/** `[formatLength, formatTail]` of one signature, as a text that can be compared. Throws where it has none. */
function formatOf(signature: unknown): string {
  const { protected: header } = signature as { protected: string }
  const { formatLength, formatTail } = JSON.parse(
    Buffer.from(header, 'base64url').toString('utf8'),
  ) as { formatLength: unknown; formatTail: unknown }
  if (!Number.isSafeInteger(formatLength) || typeof formatTail !== 'string') throw new Error('none')
  return JSON.stringify([formatLength, formatTail])
}
