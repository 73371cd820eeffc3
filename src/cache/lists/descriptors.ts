// Reads the descriptors of a list of referrers as registries send them.
import { isDigest } from '../../oci/digest.ts'
import type { Descriptor } from '../cache.ts'

/** undefined where it lacks what a descriptor must have (image-spec "OCI Content Descriptors"). */
export function descriptorOf(value: unknown): Descriptor | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { mediaType, digest, size, artifactType, annotations } = value as Record<string, unknown>
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest)) {
    return undefined
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined
  const noted = annotationsIn(annotations)
  return {
    mediaType,
    digest,
    size,
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
    ...(noted === undefined ? {} : { annotations: noted }),
  }
}

function annotationsIn(value: unknown): Record<string, string> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const texts = Object.entries(value).filter(([, text]) => typeof text === 'string')
  return Object.fromEntries(texts) as Record<string, string>
}
