// What the gateway reads in a manifest: enough to know what it is and what it refers to.
import { GatewayError } from '../errors.ts'
import { isDigest, type Digest } from './digest.ts'
import { bareMediaType, mediaTypes } from './media-type.ts'

export interface ManifestFacts {
  mediaType: string
  /** Digests of the manifests, config and layers it refers to. */
  children: Digest[]
  subject?: Digest
}

/** The largest manifest that is accepted, in bytes: what registries accept on push. */
export const manifestLimit = 4 * 2 ** 20

/**
 * Reads a manifest's facts.
 * @param contentType the Content-Type it came with; wins where the document names no type itself
 * @throws GatewayError MANIFEST_INVALID: no JSON object, a media type that contradicts the
 *   Content-Type, or both `manifests` and `layers` (image-spec: ambiguous, must be refused)
 */
export function readManifest(bytes: Buffer, contentType: string | undefined): ManifestFacts {
  const document = parseObject(bytes)
  const declared = typeof document['mediaType'] === 'string' ? document['mediaType'] : undefined
  const served = bareMediaType(contentType)
  const mediaType = declared ?? (isManifestType(served) ? served : guessType(document))
  if (declared !== undefined && isManifestType(served) && declared !== served) {
    throw invalid(`calls itself ${declared} but was sent as ${served}`)
  }
  if ('manifests' in document && ('layers' in document || 'config' in document)) {
    throw invalid('has both manifests and layers')
  }
  const subject = digestOfDescriptor(document['subject'])
  return {
    mediaType,
    children: childrenOf(document),
    ...(subject === undefined ? {} : { subject }),
  }
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw invalid('is no JSON', cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid('is no JSON object')
  }
  return value as Record<string, unknown>
}

function childrenOf(document: Record<string, unknown>): Digest[] {
  const listed = [document['manifests'], document['layers'], document['fsLayers']]
    .filter((list) => Array.isArray(list))
    .flat()
  return [document['config'], ...listed]
    .map(digestOfDescriptor)
    .filter((digest) => digest !== undefined)
}

function digestOfDescriptor(descriptor: unknown): Digest | undefined {
  if (typeof descriptor !== 'object' || descriptor === null) return undefined
  const { digest, blobSum } = descriptor as { digest?: unknown; blobSum?: unknown }
  const text = digest ?? blobSum
  return typeof text === 'string' && isDigest(text) ? text : undefined
}

function isManifestType(mediaType: string): boolean {
  return /^application\/vnd\.(oci\.image|docker\.distribution)\./.test(mediaType)
}

function guessType(document: Record<string, unknown>): string {
  if ('manifests' in document) return mediaTypes.ociIndex
  if ('layers' in document || 'config' in document) return mediaTypes.ociManifest
  if ('fsLayers' in document) return 'application/vnd.docker.distribution.manifest.v1+prettyjws'
  throw invalid('is no manifest: it has no manifests, no layers and no media type')
}

function invalid(what: string, cause?: unknown): GatewayError {
  return new GatewayError('MANIFEST_INVALID', `the manifest ${what}`, { cause })
}
