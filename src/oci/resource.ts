// What a request target names, by the strict grammar of the distribution specification.
import { GatewayError } from '../errors.ts'
import { isDigest, type Digest } from './digest.ts'

export type Resource =
  | { kind: 'base' }
  | { kind: 'catalog' }
  | { kind: 'tags'; name: string }
  | { kind: 'referrers'; name: string; digest: Digest }
  | { kind: 'blob'; name: string; digest: Digest }
  | { kind: 'manifest'; name: string; tag: string; digest?: never }
  | { kind: 'manifest'; name: string; tag?: never; digest: Digest }
  /** The push half of the API; nothing here serves it. */
  | { kind: 'upload'; name: string }

const namePattern =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const longestName = 255
/** Characters of a name that may have the name of an upstream before it. */
const longestPath = 2 * longestName + 1

/**
 * Parses the raw path of a request, without its query. Works on the undecoded text because a
 * decoded one no longer tells `a%2Fb` from `a/b`. Names may have capitals, and the name of an
 * upstream before them: `isRepositoryName` judges what is left without it.
 * @throws GatewayError NAME_INVALID, DIGEST_INVALID, MANIFEST_UNKNOWN, NOT_FOUND, REQUEST_INVALID
 */
export function parseResource(rawPath: string): Resource {
  const path = decodeStrictly(rawPath)
  if (path === '/v2/' || path === '/v2') return { kind: 'base' }
  if (!path.startsWith('/v2/')) throw notFound()
  if (path === '/v2/_catalog') return { kind: 'catalog' }

  const segments = path.slice('/v2/'.length).split('/')
  const uploads = segments.indexOf('uploads')
  if (uploads > 1 && segments[uploads - 1] === 'blobs') {
    return { kind: 'upload', name: nameOf(segments.slice(0, uploads - 1)) }
  }
  const last = segments.pop() ?? ''
  const noun = segments.pop()
  if (noun === 'manifests') return manifest(nameOf(segments), last)
  if (noun === 'blobs') return { kind: 'blob', name: nameOf(segments), digest: digestIn(last) }
  if (noun === 'referrers') {
    return { kind: 'referrers', name: nameOf(segments), digest: digestIn(last) }
  }
  if (noun === 'tags' && last === 'list') return { kind: 'tags', name: nameOf(segments) }
  throw notFound()
}

/** Whether `name` is a repository name (at most 255 characters), which has no capitals by the grammar. */
export function isRepositoryName(name: string, { capitals = false } = {}): boolean {
  return name.length <= longestName && namePattern.test(capitals ? name.toLowerCase() : name)
}

/** Whether `text` is a tag (at most 128 characters). */
export function isTag(text: string): boolean {
  return tagPattern.test(text)
}

function manifest(name: string, reference: string): Resource {
  if (reference.includes(':')) return { kind: 'manifest', name, digest: digestIn(reference) }
  if (!isTag(reference)) {
    // 404 and not 400: the conformance suite asks for it.
    throw new GatewayError('MANIFEST_UNKNOWN', 'no manifest has this reference: it is no valid tag')
  }
  return { kind: 'manifest', name, tag: reference }
}

function nameOf(segments: readonly string[]): string {
  const name = segments.join('/')
  if (name.length > longestPath || !namePattern.test(name.toLowerCase())) throw invalidName()
  return name
}

export function invalidName(): GatewayError {
  return new GatewayError(
    'NAME_INVALID',
    'a repository name is lower-case letters, digits and single . _ - between them, parted by /',
  )
}

function digestIn(text: string): Digest {
  if (isDigest(text)) return text
  throw new GatewayError(
    'DIGEST_INVALID',
    'a digest is sha256: and 64 lower-case hex digits, or sha512: and 128',
  )
}

/** Decodes once; refuses what could mean one thing here and another upstream. */
function decodeStrictly(rawPath: string): string {
  if (/[^\x21-\x7e]|[\\#]/.test(rawPath)) throw invalidTarget()
  if (!rawPath.includes('%')) return rawPath
  return rawPath.replaceAll(/%(.{0,2})/g, (_, hex: string) => {
    if (!/^[0-9A-Fa-f]{2}$/.test(hex)) throw invalidTarget()
    const char = String.fromCharCode(Number.parseInt(hex, 16))
    if (!/^[A-Za-z0-9:_~+-]$/.test(char)) throw invalidTarget()
    return char
  })
}

function invalidTarget(): GatewayError {
  return new GatewayError(
    'REQUEST_INVALID',
    'the request target has an encoded or forbidden character; send the path unencoded',
  )
}

function notFound(): GatewayError {
  return new GatewayError('NOT_FOUND', 'no such endpoint; the registry API lives below /v2/')
}
