// What the gateway reads in a manifest: enough to know what it is and what it refers to.
import { GatewayError } from '../errors.ts'
import { isDigest, type Digest } from './digest.ts'
import { readStrictObject } from './strict-json.ts'
import { isMediaType, isRunByBrowsers, mediaTypes, schema1Types } from './media-type.ts'

export interface ManifestFacts {
  /** By the document itself, whatever it was sent as. */
  mediaType: string
  /** Digests of the manifests, config and layers it refers to. */
  children: Digest[]
  subject?: Digest
}

/** The largest manifest that is accepted, in bytes: what registries accept on push. */
export const manifestLimit = 4 * 2 ** 20
/** No layer has so many bytes: 1 TiB. */
export const blobLimit = 2 ** 40

/**
 * Reads a manifest's facts from its bytes alone.
 * @throws GatewayError MANIFEST_INVALID: no JSON object, fields that readers may take for each other,
 *   a media type that is none or that a browser runs, or lists that contradict it or each other
 *   (image-spec: ambiguous, must be refused)
 */
export function readManifest(bytes: Buffer): ManifestFacts {
  const document = readDocument(bytes)
  const mediaType = mediaTypeOf(document)
  const hasManifests = isGiven(document['manifests'])
  const hasLayers = ['layers', 'config', 'fsLayers'].some((field) => isGiven(document[field]))
  if (hasManifests && hasLayers) throw invalid('has both manifests and layers')
  if (hasManifests && imageTypes.has(mediaType)) throw invalid(`is a list, but ${mediaType}`)
  if (hasLayers && indexTypes.has(mediaType)) throw invalid(`has layers, but is ${mediaType}`)
  const subject = digestOfDescriptor(document['subject'])
  return {
    mediaType,
    children: childrenOf(document),
    ...(subject === undefined ? {} : { subject }),
  }
}

/**
 * The sizes, in bytes, of what a manifest refers to, as far as it says them.
 * @throws GatewayError as `readManifest` does
 */
export function childSizes(bytes: Buffer): Map<Digest, number> {
  const sizes = new Map<Digest, number>()
  for (const descriptor of descriptorsIn(readDocument(bytes))) {
    const digest = digestOfDescriptor(descriptor)
    const { size } = (descriptor ?? {}) as { size?: unknown }
    if (digest === undefined || typeof size !== 'number') continue
    if (Number.isSafeInteger(size) && size >= 0) sizes.set(digest, size)
  }
  return sizes
}

/** Addresses that are read of one layer, at most. */
const mostAddresses = 8

/**
 * Where else a layer may be had, according to a manifest that names it (image-spec "descriptor",
 * `urls`): foreign layers, which registries need not hold.
 * @throws GatewayError as `readManifest` does
 */
export function layerAddresses(bytes: Buffer, digest: Digest): string[] {
  const { layers } = readDocument(bytes)
  const named = (Array.isArray(layers) ? layers : []).find(
    (layer) => digestOfDescriptor(layer) === digest,
  ) as { urls?: unknown } | undefined
  const urls: unknown[] = Array.isArray(named?.urls) ? named.urls : []
  return urls.filter((url) => typeof url === 'string').slice(0, mostAddresses)
}

const imageTypes: ReadonlySet<string> = new Set([mediaTypes.ociManifest, mediaTypes.dockerManifest])
const indexTypes: ReadonlySet<string> = new Set([mediaTypes.ociIndex, mediaTypes.dockerList])

function readDocument(bytes: Buffer): Record<string, unknown> {
  try {
    return readStrictObject(bytes)
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : 'is no JSON'
    // A parser's own message would quote the document.
    throw invalid(cause instanceof SyntaxError ? 'is no JSON' : message)
  }
}

/** Registries write `null` for a list that is not there. */
function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

function mediaTypeOf(document: Record<string, unknown>): string {
  const declared = document['mediaType']
  if (!isGiven(declared) || declared === '') return guessType(document)
  if (typeof declared !== 'string' || !isMediaType(declared)) {
    throw invalid('has a media type that is none')
  }
  if (isRunByBrowsers(declared)) throw invalid('has a media type that browsers run')
  return declared
}

/** Each is an entry of the index: more would hold everybody up. */
const mostChildren = 10_000

function childrenOf(document: Record<string, unknown>): Digest[] {
  return descriptorsIn(document)
    .map(digestOfDescriptor)
    .filter((digest) => digest !== undefined)
}

function descriptorsIn(document: Record<string, unknown>): unknown[] {
  const listed = ['manifests', 'layers', 'fsLayers', 'blobs']
    .map((field) => document[field])
    .filter((list) => Array.isArray(list))
    .flat()
  if (listed.length > mostChildren) throw invalid(`refers to more than ${mostChildren} things`)
  return [document['config'], ...listed]
}

function digestOfDescriptor(descriptor: unknown): Digest | undefined {
  if (typeof descriptor !== 'object' || descriptor === null) return undefined
  const { digest, blobSum } = descriptor as { digest?: unknown; blobSum?: unknown }
  const text = digest ?? blobSum
  return typeof text === 'string' && isDigest(text) ? text : undefined
}

function guessType(document: Record<string, unknown>): string {
  if (isGiven(document['manifests'])) return mediaTypes.ociIndex
  if (isGiven(document['fsLayers'])) {
    return isGiven(document['signatures']) ? schema1Types.signed : schema1Types.plain
  }
  if (isGiven(document['layers']) || isGiven(document['config'])) {
    return isDockerConfig(document['config']) ? mediaTypes.dockerManifest : mediaTypes.ociManifest
  }
  throw invalid('is no manifest: it has no manifests, no layers and no media type')
}

function isDockerConfig(config: unknown): boolean {
  const { mediaType } = (config ?? {}) as { mediaType?: unknown }
  return typeof mediaType === 'string' && mediaType.startsWith('application/vnd.docker.container.')
}

function invalid(what: string): GatewayError {
  return new GatewayError('MANIFEST_INVALID', `the manifest ${what}`)
}
