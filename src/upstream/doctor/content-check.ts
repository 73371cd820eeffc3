// Whether an upstream has content: one manifest, and a part of one blob that it refers to.
import { GatewayError } from '../../errors.ts'
import { algorithmOf, digestOf, isDigest, type Digest } from '../../oci/digest.ts'
import { manifestLimit, readManifest, type ManifestFacts } from '../../oci/manifest.ts'
import { manifestAccept } from '../../oci/media-type.ts'
import type { Upstream } from '../exchange.ts'
import { failureFor } from '../failure.ts'
import type { Image } from './image.ts'
import { isReason, type Reason } from '../reason.ts'
import { retrieve } from './retrieval.ts'
import { failed, passed, skipped, type StepVerdict } from './step.ts'

/** A manifest, or how it went wrong. */
type Manifest = { facts: ManifestFacts; digest: Digest } | StepVerdict

/** `onFound` is told what the manifest refers to. */
export async function checkManifest(
  upstream: Upstream,
  image: Image,
  onFound: (facts: ManifestFacts, digest: Digest) => void,
): Promise<StepVerdict> {
  const begun = performance.now()
  const manifest = await fetchManifest(upstream, image)
  const ms = performance.now() - begun
  if ('outcome' in manifest) return { ...manifest, ms }
  onFound(manifest.facts, manifest.digest)
  return passed(`${nameOf(image)}: ${manifest.digest}, ${manifest.facts.mediaType}`, ms)
}

/** Asks for the second byte and all after it of the config or the first layer. */
export async function checkRange(
  upstream: Upstream,
  repository: string,
  facts: ManifestFacts,
): Promise<StepVerdict> {
  const image = await firstImage(upstream, repository, facts)
  if ('outcome' in image) return image
  const [digest] = image.children
  if (digest === undefined) return skipped('this manifest refers to no blob')
  const begun = performance.now()
  const request = { method: 'GET', repository, resource: `blobs/${digest}`, from: 1 } as const
  const answer = await retrieve(upstream, request, 1)
  const ms = performance.now() - begun
  if (answer instanceof GatewayError) return failedWith(answer)
  const { status, headers } = answer
  const range = headers['content-range'] ?? ''
  if (status === 206 && range.startsWith('bytes 1-')) return passed(`${digest}: ${range}`, ms)
  if (status === 200 || status === 206) {
    const detail = 'it ignores Range: a download that breaks off starts again from the beginning'
    return { outcome: 'warning', detail, ms }
  }
  const cause = new Error(`status ${status} for ${digest}, which its manifest refers to`)
  return failed(failureFor(upstream.subject, 'bad_response', { cause }), ms)
}

/** An index refers to manifests, and those to blobs. */
async function firstImage(
  upstream: Upstream,
  repository: string,
  facts: ManifestFacts,
): Promise<ManifestFacts | StepVerdict> {
  const [reference] = facts.children
  if (!/index|list/.test(facts.mediaType) || reference === undefined) return facts
  const child = await fetchManifest(upstream, { repository, reference })
  return 'outcome' in child ? child : child.facts
}

async function fetchManifest(upstream: Upstream, image: Image): Promise<Manifest> {
  const { repository, reference } = image
  const answer = await retrieve(
    upstream,
    { method: 'GET', repository, resource: `manifests/${reference}`, accept: manifestAccept },
    manifestLimit,
  )
  if (answer instanceof GatewayError) return failedWith(answer)
  const strange = (cause: unknown) =>
    failed(failureFor(upstream.subject, 'bad_response', { cause }))
  if (answer.status === 404) return missing(upstream, image)
  if (answer.status !== 200) return strange(new Error(`status ${answer.status} for a manifest`))
  const { body, headers } = answer
  const told = isDigest(reference) ? reference : (headers['docker-content-digest'] ?? '')
  const digest = digestOf(body, isDigest(told) ? algorithmOf(told) : 'sha256')
  if (isDigest(told) && digest !== told) {
    return strange(new Error(`the manifest hashes to ${digest}, and should to ${told}`))
  }
  try {
    return { facts: readManifest(body), digest }
  } catch (error) {
    return strange(error)
  }
}

function missing({ subject }: Upstream, image: Image): StepVerdict {
  return {
    outcome: 'failed',
    detail: 'status 404',
    reason: 'http_4xx',
    message: `${subject.title} has no ${nameOf(image)}, or hides it; check --image and ${subject.at}.auth`,
  }
}

function failedWith(error: GatewayError): StepVerdict {
  return failed({ error, reason: reasonIn(error) })
}

function reasonIn({ reason = '' }: GatewayError): Reason {
  return isReason(reason) ? reason : 'error'
}

function nameOf({ repository, reference }: Image): string {
  return `${repository}${isDigest(reference) ? '@' : ':'}${reference}`
}
