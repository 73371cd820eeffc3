// Reads the descriptors of a list of referrers as registries send them.
import { isDigest } from '../../oci/digest.ts'
import type { Descriptor } from '../cache.ts'

/**
 * undefined where it lacks what a descriptor must have (image-spec "OCI Content Descriptors").
 * @param repeatsSecret what has a credential in it is left out: whoever wrote the list may have been sent that
 */
export function descriptorOf(
  value: unknown,
  repeatsSecret: (text: string) => boolean = () => false,
): Descriptor | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { mediaType, digest, size, artifactType, annotations } = value as Record<string, unknown>
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest)) {
    return undefined
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined
  if (repeatsSecret(mediaType)) return undefined
  const isType = typeof artifactType === 'string' && !repeatsSecret(artifactType)
  const noted = annotationsIn(annotations, repeatsSecret)
  return {
    mediaType,
    digest,
    size,
    ...(isType ? { artifactType } : {}),
    ...(noted === undefined ? {} : { annotations: noted }),
  }
}

function annotationsIn(
  value: unknown,
  repeatsSecret: (text: string) => boolean,
): Record<string, string> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const texts = Object.entries(value).filter(
    ([name, text]) => typeof text === 'string' && !repeatsSecret(name) && !repeatsSecret(text),
  )
  return Object.fromEntries(texts) as Record<string, string>
}
