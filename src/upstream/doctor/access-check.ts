// Whether an upstream lets the gateway in: its challenge, and whether it takes what answers it.
import { manifestAccept } from '../../oci/media-type.ts'
import { apiAddress, repositoryIn } from '../api-address.ts'
import { parseChallenges } from '../auth/challenge.ts'
import type { Upstream } from '../exchange.ts'
import { failureOfAnswer, type Answer, type Failure } from '../failure.ts'
import type { Image } from './image.ts'
import { inquire, type Question, type Reply } from './inquiry.ts'
import { failed, passed, skipped, type StepVerdict } from './step.ts'

/**
 * Answers the challenge of `image`, or of the whole registry where there is none, and asks again with
 * that. What was learnt is known to the upstream's authorizer from then on.
 */
export async function checkAccess(
  upstream: Upstream,
  image: Image | undefined,
  hasCredentials: boolean,
): Promise<StepVerdict> {
  const question: Question =
    image === undefined
      ? { method: 'GET', path: '' }
      : {
          method: 'HEAD',
          path: `${image.repository}/manifests/${image.reference}`,
          accept: manifestAccept,
        }
  const challenged = await inquireWithAccess(upstream, question, image?.repository ?? '')
  const { result, challenge } = challenged
  const who = hasCredentials ? 'with credentials' : 'anonymous'
  if (challenge === undefined) {
    return result.kind === 'failure' ? failed(result) : skipped('it asks for no credentials')
  }
  const refusal = result.kind === 'failure' ? result : refusalIn(upstream, result)
  if (refusal === undefined) return passed(`${sourceOf(challenge)}, ${who}`)
  if (image === undefined && !hasCredentials && refusal.reason === 'denied') {
    return skipped('whoever is anonymous gets a token for an image only: name one with --image')
  }
  return failed(refusal)
}

interface Challenged extends Reply {
  /** The WWW-Authenticate header that was answered, if the question met one. */
  challenge: string | undefined
}

/** Asks, answers a challenge, and asks again. `repository` is what the authorizer remembers it by. */
export async function inquireWithAccess(
  upstream: Upstream,
  question: Question,
  repository: string,
): Promise<Challenged> {
  const first = await inquire(upstream, question)
  if (first.result.kind === 'failure' || first.result.status !== 401) {
    return { ...first, challenge: undefined }
  }
  const challenge = first.result.headers['www-authenticate'] ?? ''
  const answer = await upstream.authorizer.answer({
    repository: repositoryIn(apiAddress(upstream.url, question.path)) || repository,
    challenge,
    refused: undefined,
  })
  if (answer.kind === 'failure') return { result: answer, ms: first.ms, challenge }
  const again = await inquire(upstream, { ...question, authorization: answer.header })
  const { refusal } = answer
  const isRefused = again.result.kind === 'answer' && again.result.status === 401
  // What anybody gets was not enough: the credentials that were not taken are the cause.
  const result = isRefused && refusal !== undefined ? refusal : again.result
  return { ...again, result, challenge }
}

function refusalIn(upstream: Upstream, answer: Answer): Failure | undefined {
  const isRefused = answer.status === 401 || answer.status === 403
  return isRefused ? failureOfAnswer(upstream.subject, answer, upstream.now()) : undefined
}

function sourceOf(header: string): string {
  const [challenge] = parseChallenges(header)
  if (challenge?.scheme !== 'bearer') return 'password'
  return `token of ${URL.parse(challenge.realm)?.host ?? 'its token service'}`
}
