// One exchange with an upstream, from the first request to the last byte: authentication, redirects
// and retries until there is content, or nothing more to be done.
import { setTimeout as wait } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import type { Flow, OriginRequest, Receiver } from '../oci/origin.ts'
import type { Agents } from './agents.ts'
import { attempt, type Outcome } from './attempt.ts'
import type { Authorizer } from './auth/authorizer.ts'
import {
  failureFor,
  failureOfAnswer,
  failureOfError,
  type Answer,
  type Failure,
  type Subject,
} from './failure.ts'
import { createFlow, type ExchangeFlow } from './flow.ts'
import { isRedirect, mostRedirects, redirectProblem, redirectTarget } from './redirect.ts'
import type { AttemptSample } from './failure-log.ts'
import { retryDelay } from './retry.ts'

/** What all exchanges with one upstream share. */
export interface Upstream {
  name: string
  url: URL
  userAgent: string
  agents: Agents
  authorizer: Authorizer
  /** Whether the hosts in `redirects` include that of a URL. */
  allowedRedirect: (url: URL) => boolean
  subject: Subject
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
  /** A challenge has been answered, and is answered only once. */
  isAnswered: boolean
  retries: number
  startedAt: number
}

type Step =
  | { kind: 'done' }
  | { kind: 'redirect'; url: URL }
  | { kind: 'authorize'; challenge: string | undefined }
  | Failure

/** `ended` resolves, and never rejects, when the upstream is needed no more. */
export function openExchange(
  upstream: Upstream,
  request: OriginRequest,
  receiver: Receiver,
): { flow: Flow; ended: Promise<void> } {
  const flow = createFlow()
  const ended = exchange(upstream, request, { flow, receiver }).then((failure) => {
    if (failure === undefined || flow.isAborted) return
    upstream.onFailure(failure)
    receiver.fail(failure.error)
  })
  return { flow, ended }
}

/** The failure that it ends with, if any. */
async function exchange(
  upstream: Upstream,
  request: OriginRequest,
  { flow, receiver }: { flow: ExchangeFlow; receiver: Receiver },
): Promise<Failure | undefined> {
  const progress: Progress = {
    url: new URL(
      `${upstream.url.href.replace(/\/$/, '')}/v2/${request.repository}/${request.resource}`,
    ),
    hasLeft: false,
    redirects: 0,
    authorization: upstream.authorizer.known(request.repository),
    isAnswered: false,
    retries: 0,
    startedAt: upstream.now(),
  }
  while (!flow.isAborted) {
    const begun = performance.now()
    const agent = progress.hasLeft ? upstream.agents.foreign : upstream.agents.own
    const options = dispatchOptions(upstream, request, progress)
    const outcome = await attempt(agent, options, { flow, receiver })
    const seconds = (performance.now() - begun) / 1000
    const judged: Step = flow.isAborted ? { kind: 'done' } : judge(upstream, progress, outcome)
    const step =
      judged.kind === 'authorize'
        ? await authorize(upstream, request, progress, judged.challenge)
        : judged
    upstream.onAttempt({
      upstream: upstream.name,
      method: request.method,
      ...(step.kind === 'failure' ? { outcome: 'error', reason: step.reason } : { outcome: 'ok' }),
      ...(outcome.kind === 'broken' ? {} : { status: outcome.status }),
      seconds,
    })
    if (step.kind === 'done') return undefined
    if (step.kind === 'redirect') follow(progress, step.url)
    if (step.kind === 'failure' && !(await waitToRetry(upstream, progress, step, flow))) return step
  }
  return undefined
}

function dispatchOptions(
  { userAgent }: Upstream,
  { method, accept, from, unless }: OriginRequest,
  { url, hasLeft, authorization }: Progress,
): Dispatcher.DispatchOptions {
  return {
    origin: url.origin,
    path: url.pathname + url.search,
    method,
    headers: {
      'user-agent': userAgent,
      // Bytes are wanted as they hash; without this header some compress what they send.
      'accept-encoding': 'identity',
      ...(accept === undefined ? {} : { accept }),
      ...(from === undefined ? {} : { range: `bytes=${from}-` }),
      ...(unless === undefined ? {} : { 'if-none-match': `"${unless}"` }),
      ...(authorization === undefined || hasLeft ? {} : { authorization }),
    },
    // undici would close the connection after each HEAD, and a tag costs one every few minutes.
    reset: false,
  }
}

function judge(upstream: Upstream, progress: Progress, outcome: Outcome): Step {
  const subject = subjectAt(upstream, progress)
  if (outcome.kind === 'delivered') return { kind: 'done' }
  if (outcome.kind === 'broken') return failureOfError(subject, outcome.error, outcome.hasBegun)
  if (isRedirect(outcome.status)) return judgeRedirect(upstream, progress, outcome)
  if (progress.hasLeft && (outcome.status === 401 || outcome.status === 403)) {
    // A download host that refuses its own signed address says nothing of the gateway's rights.
    const { status } = outcome
    return failureFor(subject, 'http_4xx', { cause: refusedBy(progress.url, status), status })
  }
  if (outcome.status === 401 && !progress.isAnswered) {
    return { kind: 'authorize', challenge: outcome.headers['www-authenticate'] }
  }
  return failureOfAnswer(subject, outcome, upstream.now())
}

/** Who answers at the address that the exchange has come to. */
function subjectAt({ subject }: Upstream, { hasLeft, url }: Progress): Subject {
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
  progress.hasLeft ||= url.origin !== progress.url.origin
  progress.url = url
}

async function authorize(
  upstream: Upstream,
  { repository }: OriginRequest,
  progress: Progress,
  challenge: string | undefined,
): Promise<Failure | { kind: 'again' }> {
  const answer = await upstream.authorizer.answer(repository, challenge, progress.authorization)
  if (answer.kind === 'failure') return answer
  progress.authorization = answer.header
  progress.isAnswered = true
  return { kind: 'again' }
}

/** Whether another try is due; returns when it is, or when the exchange is aborted. */
async function waitToRetry(
  upstream: Upstream,
  progress: Progress,
  failure: Failure,
  flow: ExchangeFlow,
): Promise<boolean> {
  if (!failure.isTransient) return false
  const elapsed = upstream.now() - progress.startedAt
  const delay = retryDelay({ retries: progress.retries, elapsed, retryAfter: failure.retryAfter })
  if (delay === undefined) return false
  progress.retries += 1
  const timer = new AbortController()
  await Promise.race([wait(delay, undefined, { signal: timer.signal }), flow.aborted])
  timer.abort()
  return true
}

function strayRedirect(location: string | undefined): Error {
  const host = URL.parse(location ?? '')?.host
  const target = host === undefined ? 'to an address that is not usable' : `to ${host}`
  return new Error(`it redirects ${target}, or too often: hosts are allowed by redirects`)
}

function refusedBy(url: URL, status: number): Error {
  return new Error(`status ${status} from ${url.host}, to which it redirects`)
}
