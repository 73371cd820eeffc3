// One exchange with an upstream, from the first request to the last byte: authentication, redirects
// and retries until there is content, or nothing more to be done.
import type { Flow, OriginRequest, Receiver } from '../oci/origin.ts'
import { apiAddress, repositoryIn } from './api-address.ts'
import type { Agents } from './agents.ts'
import { attempt, requestOptions, type Outcome } from './attempt.ts'
import type { Authorizer } from './auth/authorizer.ts'
import {
  failureFor,
  failureOfAnswer,
  failureOfError,
  type Answer,
  withoutSecrets,
  type Failure,
  type FailureSubject,
} from './failure.ts'
import { createFlow, type ExchangeFlow } from './flow.ts'
import {
  isRedirect,
  mostRedirects,
  redirectProblem,
  redirectTarget,
  strayRedirect,
} from './redirect.ts'
import type { AttemptSample } from './failure-log.ts'
import { waitToRetry } from './retry.ts'
import { findingSecrets } from './secrets.ts'

/** What all exchanges with one upstream share. */
export interface Upstream {
  name: string
  url: URL
  /** What another gateway is asked for there; undefined: a registry is asked. */
  namespace: string | undefined
  userAgent: string
  /** It is a replica, or another worker of this gateway, and asked as one. */
  isReplica?: boolean
  isWorker?: boolean
  /** A replica is to answer only where that makes it fetch nothing. */
  onlyIfCached?: boolean
  /** What this gateway calls itself to others (`Via`, RFC 9110 section 7.6.3). */
  pseudonym: string
  agents: Agents
  authorizer: Authorizer
  /** Whether the hosts in `redirects` include that of a URL. */
  allowedRedirect: (url: URL) => boolean
  foreignLayers: 'refuse' | 'fetch'
  subject: FailureSubject
  /** What is sent for credentials, and must not be told when it comes back. */
  secrets: () => readonly string[]
  onAttempt: (sample: AttemptSample) => void
  onFailure: (failure: Failure) => void
  now: () => number
}

/** Where an exchange stands. */
interface Progress {
  url: URL
  /** It has been redirected to another origin: no credentials any more, also not on the way back. */
  hasLeft: boolean
  redirects: number
  authorization: string | undefined
  /** A challenge of this host has been answered, and is answered only once. */
  isAnswered: boolean
  /** It began at an address of a manifest: nobody on this way is answered. */
  isForeign: boolean
  /** It was asked without authorization, which is done once, too. */
  wasBare: boolean
  /** The credentials were refused, and what is sent is what anybody gets. */
  refusal: Failure | undefined
  /** A download host has refused, and another address has been asked for. */
  hasStartedOver: boolean
  retries: number
  startedAt: number
}

type Step =
  | { kind: 'done' }
  | { kind: 'redirect'; url: URL }
  | { kind: 'authorize'; answer: Answer }
  | { kind: 'start_over' }
  | Failure

/** `ended` resolves, and never rejects, when the upstream is needed no more. */
export function openExchange(
  upstream: Upstream,
  request: OriginRequest,
  receiver: Receiver,
  mayRetry = true,
): { flow: Flow; ended: Promise<void> } {
  const flow = createFlow()
  const sent = new Set<string>()
  const secrets = () => [...upstream.secrets(), ...sent]
  const told = findingSecrets(request, receiver, secrets)
  const course = { flow, receiver: told, sent, mayRetry }
  const ended = exchange(upstream, request, course).then((last) => {
    if (last === undefined || flow.isAborted) return
    const failure = withoutSecrets(last, secrets())
    upstream.onFailure(failure)
    receiver.fail(failure.error)
  })
  return { flow, ended }
}

interface Course {
  flow: ExchangeFlow
  receiver: Receiver
  /** What was sent as authorization. */
  sent: Set<string>
  /** Whether what may go well in a moment is asked for again. */
  mayRetry: boolean
}

/** The failure that it ends with, if any. */
async function exchange(
  upstream: Upstream,
  request: OriginRequest,
  { flow, receiver, sent, mayRetry }: Course,
): Promise<Failure | undefined> {
  const progress: Progress = {
    ...beginning(upstream, request),
    hasStartedOver: false,
    retries: 0,
    startedAt: upstream.now(),
  }
  while (!flow.isAborted) {
    const begun = performance.now()
    progress.wasBare ||= progress.authorization === undefined
    const { own, foreign, limits } = upstream.agents
    const agent = progress.hasLeft ? foreign : own
    const span = request.span?.child('upstream', attributesOf(upstream, request, progress.url))
    const options = requestOptions(upstream, request, progress, span?.traceparent)
    if (progress.authorization !== undefined) sent.add(progress.authorization.replace(/^\S+ /, ''))
    const isGradual = request.resource.startsWith('blobs/')
    const outcome = await attempt(agent, options, { flow, receiver, limits, isGradual })
    const seconds = (performance.now() - begun) / 1000
    const judged: Step = flow.isAborted
      ? { kind: 'done' }
      : judge(upstream, request.method, progress, outcome)
    const step =
      judged.kind === 'authorize' ? await authorize(upstream, progress, judged.answer) : judged
    const status = outcome.kind === 'broken' ? undefined : outcome.status
    span?.end({
      ...(status === undefined ? {} : { 'http.response.status_code': status }),
      ...(step.kind === 'failure' ? { 'error.type': step.reason } : {}),
    })
    upstream.onAttempt({
      upstream: upstream.name,
      method: request.method,
      ...(step.kind === 'failure' ? { outcome: 'error', reason: step.reason } : { outcome: 'ok' }),
      ...(status === undefined ? {} : { status }),
      seconds,
    })
    if (step.kind === 'done') return undefined
    if (step.kind === 'redirect') follow(progress, step.url)
    if (step.kind === 'start_over') {
      Object.assign(progress, beginning(upstream, request), { hasStartedOver: true })
    }
    if (step.kind === 'failure') {
      const elapsed = upstream.now() - progress.startedAt
      const { retries } = progress
      if (!mayRetry || !(await waitToRetry(step, { retries, elapsed }, flow))) return step
      progress.retries += 1
      // The address of a download is good for one host and some minutes: the registry has others.
      if (progress.hasLeft) Object.assign(progress, beginning(upstream, request))
    }
  }
  return undefined
}

function attributesOf({ name }: Upstream, { method }: OriginRequest, { host }: URL) {
  return { 'portcullis.upstream': name, 'http.request.method': method, 'server.address': host }
}

/** Where an exchange begins, and where it begins again. */
function beginning(
  { url, namespace, authorizer }: Upstream,
  { repository, resource, url: address }: OriginRequest,
): Omit<Progress, 'hasStartedOver' | 'retries' | 'startedAt'> {
  const isForeign = address !== undefined
  const first = isForeign
    ? new URL(address)
    : apiAddress(url, `${repository}/${resource}`, namespace)
  return {
    url: first,
    hasLeft: isForeign,
    redirects: 0,
    authorization: isForeign ? undefined : authorizer.known(repositoryIn(first)),
    isAnswered: false,
    isForeign,
    wasBare: false,
    refusal: undefined,
  }
}

function judge(
  upstream: Upstream,
  method: OriginRequest['method'],
  progress: Progress,
  outcome: Outcome,
): Step {
  const subject = subjectAt(upstream, progress)
  if (outcome.kind === 'delivered') return { kind: 'done' }
  if (outcome.kind === 'broken') return failureOfError(subject, outcome.error, outcome.hasBegun)
  if (isRedirect(outcome.status)) return judgeRedirect(upstream, progress, outcome)
  const { status, headers } = outcome
  const isRefused = status === 401 || status === 403
  if (!isRefused) return failureOfAnswer(subject, outcome, upstream.now())
  if (!progress.hasLeft) return { kind: 'authorize', answer: outcome }
  // A registry that has moved challenges by itself; a download host does not.
  const { isForeign, isAnswered } = progress
  const isChallenge = status === 401 && /\bbearer\b/i.test(headers['www-authenticate'] ?? '')
  if (isChallenge && !isAnswered && !isForeign) return { kind: 'authorize', answer: outcome }
  if (method === 'GET' && !progress.hasStartedOver && !isForeign) return { kind: 'start_over' }
  // One that refuses its own signed address says nothing of the gateway's rights.
  const cause = new Error(`status ${status} from ${progress.url.host}, to which it redirects`)
  return failureFor(subject, 'http_4xx', { cause, status })
}

/** Who answers at the address that the exchange has come to. */
function subjectAt({ subject }: Upstream, { hasLeft, url }: Progress): FailureSubject {
  if (!hasLeft) return subject
  const title = `the download host ${url.host} of ${subject.title}`
  return { ...subject, title, host: url.host, hasClientCertificate: false }
}

function judgeRedirect(upstream: Upstream, progress: Progress, answer: Answer): Step {
  const { url, allowedRedirect, subject } = upstream
  const { status, headers } = answer
  const rules = { upstream: url, allowed: allowedRedirect }
  const target = redirectTarget(headers['location'], progress.url, rules)
  if (target !== undefined && progress.redirects < mostRedirects) {
    return { kind: 'redirect', url: target }
  }
  return failureFor(subject, 'bad_response', {
    cause: strayRedirect(headers['location']),
    message: redirectProblem(headers['location'], progress.url, subject),
    status,
  })
}

function follow(progress: Progress, url: URL): void {
  progress.redirects += 1
  if (url.origin !== progress.url.origin) {
    // What was sent there is for there only, and a challenge of the next host is another one.
    progress.hasLeft = true
    progress.authorization = undefined
    progress.isAnswered = false
    progress.wasBare = false
  }
  progress.url = url
}

/**
 * What to send after a 401 or a 403: the answer to its challenge; or nothing, where what was sent may
 * be what is refused.
 */
async function authorize(
  upstream: Upstream,
  progress: Progress,
  refusal: Answer,
): Promise<Failure | { kind: 'again' }> {
  const { authorizer } = upstream
  const { authorization: refused, url } = progress
  const repository = repositoryIn(url)
  if (refused !== undefined) authorizer.forget(repository, refused)
  const challenge = refusal.status === 401 ? refusal.headers['www-authenticate'] : undefined
  const canAnswer = refusal.status === 401 && !progress.isAnswered
  if (canAnswer && (refused === undefined || authorizer.canAnswer(challenge))) {
    const stranger = progress.hasLeft ? { stranger: url } : {}
    const answer = await authorizer.answer({ repository, challenge, refused, ...stranger })
    const isRefusal = answer.kind === 'failure' && answer.reason === 'credentials_refused'
    if (answer.kind === 'failure' && (!isRefusal || progress.wasBare)) return answer
    progress.isAnswered = true
    progress.authorization = answer.kind === 'failure' ? undefined : answer.header
    progress.refusal = answer.kind === 'failure' ? answer : answer.refusal
    return { kind: 'again' }
  }
  if (refused !== undefined && !progress.wasBare) {
    progress.authorization = undefined
    return { kind: 'again' }
  }
  if (progress.refusal !== undefined) return progress.refusal
  const subject = subjectAt(upstream, progress)
  if (refusal.status === 401 && refused?.startsWith('Basic ')) {
    return failureFor(subject, 'credentials_refused', { status: 401 })
  }
  return failureOfAnswer(subject, refusal, upstream.now())
}
