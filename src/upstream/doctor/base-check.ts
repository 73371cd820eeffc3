// Whether a registry is there: the version check of the distribution specification (`GET /v2/`).
import type { Upstream } from '../exchange.ts'
import { failureFor, failureOfAnswer, type Answer, type Failure } from '../failure.ts'
import { inquire, type Reply } from './inquiry.ts'
import { isRedirect, redirectTarget } from '../redirect.ts'

/** Asks without credentials. Never rejects. */
export async function checkBase(upstream: Upstream): Promise<Reply> {
  const { result, ms } = await inquire(upstream, { method: 'GET', path: '' })
  if (result.kind === 'failure') return { result, ms }
  return { result: judgeBase(upstream, result), ms }
}

/** A registry answers 200 or a challenge; whatever else answers there is something else. */
function judgeBase(upstream: Upstream, answer: Answer): Answer | Failure {
  const { status, headers } = answer
  const { url, subject, allowedRedirect } = upstream
  const strange = (what: string) =>
    failureFor(subject, 'bad_response', {
      cause: new Error(`GET ${url.pathname.replace(/\/$/, '')}/v2/ ${what}`),
    })
  if (status === 200) return isOfRegistry(answer) ? answer : strange('is a web page')
  if (status === 401) {
    return 'www-authenticate' in headers
      ? answer
      : strange('wants credentials, and does not say which')
  }
  if (isRedirect(status)) {
    const rules = { upstream: url, allowed: allowedRedirect }
    const target = redirectTarget(headers['location'], url, rules)
    if (target === undefined) return strange('redirects to a host that is not allowed by redirects')
    // To a registry elsewhere, and not to a page where people log in.
    return /\/v2\/?$/.test(target.pathname) ? answer : strange('redirects to what is no registry')
  }
  if (status === 404 || status === 405) return strange(`is answered ${status}`)
  return failureOfAnswer(subject, answer, upstream.now())
}

/** The header is what distribution sends; others send nothing, or JSON. */
function isOfRegistry({ headers, body }: Answer): boolean {
  if ('docker-distribution-api-version' in headers || body.trim() === '') return true
  try {
    JSON.parse(body)
    return true
  } catch {
    return false
  }
}
