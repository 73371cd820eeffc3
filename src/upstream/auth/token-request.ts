// One request for a token, by the distribution token specification: GET, with a password where there
// is one, or POST with an identity token (its OAuth 2 form).
import { text } from 'node:stream/consumers'
import type { Dispatcher } from 'undici'
import { undici } from '../../rules/rare/packages.ts'
import type { Credentials } from './credentials.ts'
import {
  failureFor,
  failureOfAnswer,
  failureOfError,
  type Failure,
  type FailureSubject,
} from '../failure.ts'

export interface TokenQuestion {
  realm: URL
  service: string | undefined
  scope: string | undefined
  credentials: Credentials | undefined
}

export interface Token {
  kind: 'token'
  value: string
  /** Milliseconds from the answer on. */
  lifetime: number
}

export interface TokenContext {
  dispatcher: Dispatcher
  userAgent: string
  /** For the whole of it, ms. */
  timeout: number
  subject: FailureSubject
  now: () => number
}

/** What the specification says where the answer does not. */
const shortestLifetime = 60
const largestAnswer = 1024 * 1024

/** Never rejects. */
export async function requestToken(
  question: TokenQuestion,
  context: TokenContext,
): Promise<Token | Failure> {
  const { dispatcher, userAgent, timeout, subject, now } = context
  try {
    const { url, ...options } = requestFor(question)
    const { statusCode, headers, body } = await undici().request(url, {
      ...options,
      headers: {
        'user-agent': userAgent,
        accept: 'application/json',
        'accept-encoding': 'identity',
        ...options.headers,
      },
      dispatcher: dispatcher.compose(copyChunks),
      signal: AbortSignal.timeout(timeout),
    })
    const answer = await text(limited(body))
    // Some services answer 201: to them a token is something made.
    if (statusCode === 200 || statusCode === 201) {
      return tokenIn(answer) ?? failureFor(subject, 'bad_response', { status: statusCode })
    }
    // Some answer 400 to a wrong password or an outdated identity token.
    const isRefusal = statusCode === 400 || statusCode === 401 || statusCode === 403
    if (isRefusal && question.credentials !== undefined) {
      const cause = new Error(`status ${statusCode}`)
      return failureFor(subject, 'credentials_refused', { cause, status: statusCode })
    }
    const retryAfter = headers['retry-after']
    return failureOfAnswer(
      subject,
      {
        kind: 'answer',
        status: statusCode,
        headers: typeof retryAfter === 'string' ? { 'retry-after': retryAfter } : {},
        // It might repeat what was sent, and what was sent is secret.
        body: '',
      },
      now(),
    )
  } catch (error) {
    if (error instanceof Error && error.name === 'TimeoutError') {
      return failureFor(subject, 'timeout', { cause: error, isTransient: true })
    }
    if (error instanceof TooLarge) return failureFor(subject, 'bad_response', { cause: error })
    return failureOfError(subject, error)
  }
}

/** `request` keeps the chunks, which are good only until the call that gives them returns. */
const copyChunks: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
  dispatch(options, {
    onRequestStart: (...told) => handler.onRequestStart?.(...told),
    onResponseStart: (...told) => handler.onResponseStart?.(...told),
    onResponseData: (controller, chunk) => handler.onResponseData?.(controller, Buffer.from(chunk)),
    onResponseEnd: (...told) => handler.onResponseEnd?.(...told),
    onResponseError: (...told) => handler.onResponseError?.(...told),
  })

class TooLarge extends Error {
  override readonly message = 'the answer of the token service is too large'
}

interface TokenHttpRequest {
  url: URL
  method: 'GET' | 'POST'
  headers: Record<string, string>
  body?: string
}

function requestFor({ realm, service, scope, credentials }: TokenQuestion): TokenHttpRequest {
  const parameters = Object.entries({ service, scope }).filter(([, value]) => value !== undefined)
  if (credentials?.kind === 'identity') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: credentials.token,
      client_id: 'portcullis',
    })
    for (const [name, value] of parameters) form.set(name, value ?? '')
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return { url: realm, method: 'POST', headers, body: form.toString() }
  }
  const url = new URL(realm)
  url.hash = ''
  // Several scopes come as one text, and are asked for one by one.
  for (const [name, value] of parameters) {
    for (const part of name === 'scope' ? (value ?? '').split(' ') : [value ?? '']) {
      url.searchParams.append(name, part)
    }
  }
  const headers: Record<string, string> =
    credentials === undefined ? {} : { authorization: basicAuthorization(credentials) }
  return { url, method: 'GET', headers }
}

/** RFC 7617. */
export function basicAuthorization(credentials: Credentials & { kind: 'password' }): string {
  const { username, password } = credentials
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

async function* limited(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > largestAnswer) throw new TooLarge()
    yield chunk
  }
}

function tokenIn(answer: string): Token | undefined {
  let document: unknown
  try {
    document = JSON.parse(answer)
  } catch {
    return undefined
  }
  const { token, access_token, expires_in } = (document ?? {}) as Record<string, unknown>
  const value = typeof token === 'string' && token !== '' ? token : access_token
  // What is no token68 (RFC 7235) could smuggle in a header of its own.
  if (typeof value !== 'string' || !/^[\w.~+/-]+=*$/.test(value)) return undefined
  const seconds = Number(expires_in ?? 0)
  const lifetime = Number.isFinite(seconds) ? Math.max(seconds, shortestLifetime) : shortestLifetime
  return { kind: 'token', value, lifetime: lifetime * 1000 }
}
