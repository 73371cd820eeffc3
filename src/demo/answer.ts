// What the small registry answers: the pull half of the distribution specification over content in memory.
import type { IncomingMessage } from 'node:http'
import { GatewayError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { asGatewayError, errorBody } from '../oci/error-body.ts'
import { mediaTypes } from '../oci/media-type.ts'
import { parseRange } from '../oci/range.ts'
import { parseResource, type Resource } from '../oci/resource.ts'
import type { SampleContent } from './sample-image.ts'

/** What is sent. Header names are lower-case; Content-Length is the length of the body. */
export interface RegistryAnswer {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/** The answer to any request, errors included; nothing is thrown. */
export function answerTo(
  req: IncomingMessage,
  repositories: Record<string, SampleContent>,
): RegistryAnswer {
  try {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      throw new GatewayError('UNSUPPORTED', 'this registry is read-only')
    }
    const url = new URL(req.url ?? '', 'http://registry')
    return read(parseResource(url.pathname), url.searchParams, req, repositories)
  } catch (error) {
    return answerFor(asGatewayError(error))
  }
}

function answerFor(error: GatewayError): RegistryAnswer {
  const headers = { 'content-type': 'application/json', ...error.headers }
  return { status: error.status, headers, body: Buffer.from(errorBody(error)) }
}

function read(
  resource: Resource,
  query: URLSearchParams,
  req: IncomingMessage,
  repositories: Record<string, SampleContent>,
): RegistryAnswer {
  if (resource.kind === 'base') return jsonAnswer({})
  if (resource.kind === 'catalog') return jsonAnswer({ repositories: Object.keys(repositories) })
  const content = Object.hasOwn(repositories, resource.name)
    ? repositories[resource.name]
    : undefined
  if (content === undefined) {
    throw new GatewayError('NAME_UNKNOWN', 'this registry has no such repository')
  }
  switch (resource.kind) {
    case 'manifest':
      return manifest(content, resource.digest ?? content.tags.get(resource.tag))
    case 'blob':
      return blob(content, resource.digest, req.headers.range)
    case 'tags':
      return tags(resource.name, content, query)
    case 'referrers':
      return referrers(content, resource.digest, query.get('artifactType'))
    case 'upload':
    default:
      throw new GatewayError('UNSUPPORTED', 'this registry is read-only')
  }
}

function manifest(content: SampleContent, digest: Digest | undefined): RegistryAnswer {
  const found = digest === undefined ? undefined : content.manifests.get(digest)
  if (digest === undefined || found === undefined) {
    throw new GatewayError('MANIFEST_UNKNOWN', 'this repository has no such manifest')
  }
  const headers = {
    'content-type': found.mediaType,
    'docker-content-digest': digest,
    etag: `"${digest}"`,
  }
  return { status: 200, headers, body: found.bytes }
}

function blob(
  content: SampleContent,
  digest: Digest,
  rangeHeader: string | undefined,
): RegistryAnswer {
  const bytes = content.blobs.get(digest)
  if (bytes === undefined) {
    throw new GatewayError('BLOB_UNKNOWN', 'this repository has no such blob')
  }
  const headers = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
  }
  const range = parseRange(rangeHeader, bytes.length)
  if (range === 'unsatisfiable') {
    throw new GatewayError('RANGE_INVALID', `this blob has ${bytes.length} bytes`, {
      headers: { 'content-range': `bytes */${bytes.length}` },
    })
  }
  if (typeof range === 'string') return { status: 200, headers, body: bytes }
  const { first, last } = range
  return {
    status: 206,
    headers: { ...headers, 'content-range': `bytes ${first}-${last}/${bytes.length}` },
    body: bytes.subarray(first, last + 1),
  }
}

/** A page of the sorted tags, and a Link to the next one where there is more. */
function tags(name: string, content: SampleContent, query: URLSearchParams): RegistryAnswer {
  const n = query.get('n')
  if (n !== null && !/^\d+$/.test(n)) {
    throw new GatewayError('PAGINATION_NUMBER_INVALID', 'n is the number of tags wanted')
  }
  const last = query.get('last')
  const wanted = [...content.tags.keys()].sort().filter((tag) => last === null || tag > last)
  const page = n === null ? wanted : wanted.slice(0, Number(n))
  const answer = jsonAnswer({ name, tags: page })
  const end = page.at(-1)
  if (end !== undefined && page.length < wanted.length) {
    const next = new URLSearchParams({ n: String(n), last: end })
    answer.headers['link'] = `</v2/${name}/tags/list?${next.toString()}>; rel="next"`
  }
  return answer
}

/** An index of the manifests whose subject is `digest`, as distribution-spec 1.1 lists them. */
function referrers(
  content: SampleContent,
  digest: Digest,
  artifactType: string | null,
): RegistryAnswer {
  const all = [...content.manifests].flatMap(([own, { mediaType, bytes }]) => {
    const document = JSON.parse(bytes.toString()) as {
      subject?: { digest?: string }
      artifactType?: string
      config?: { mediaType?: string }
      annotations?: Record<string, string>
    }
    if (document.subject?.digest !== digest) return []
    const { annotations } = document
    return {
      mediaType,
      digest: own,
      size: bytes.length,
      artifactType: document.artifactType ?? document.config?.mediaType,
      ...(annotations === undefined ? {} : { annotations }),
    }
  })
  const manifests = all.filter(
    (descriptor) => artifactType === null || descriptor.artifactType === artifactType,
  )
  const answer = jsonAnswer({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests })
  answer.headers['content-type'] = mediaTypes.ociIndex
  if (artifactType !== null) answer.headers['oci-filters-applied'] = 'artifactType'
  return answer
}

function jsonAnswer(value: unknown): RegistryAnswer {
  const headers = { 'content-type': 'application/json' }
  return { status: 200, headers, body: Buffer.from(JSON.stringify(value)) }
}
