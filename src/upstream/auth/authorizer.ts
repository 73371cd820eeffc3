// The Authorization header for the repositories of one upstream: learnt from its challenges, shared
// between requests, renewed before it runs out.
import { parseChallenge, realmProblem, trustedRealm, type Challenge } from './challenge.ts'
import type { Credentials } from './credentials.ts'
import { failureFor, type Failure, type Subject } from '../failure.ts'
import { basicAuthorization, type Token, type TokenQuestion } from './token-request.ts'

export interface Authorizer {
  /** What was learnt for the repository and is still good. */
  known(repository: string): string | undefined
  /**
   * Answers the challenge of a 401. `refused` is the header that was answered so, if any. Requests
   * that ask for the same token at once share one request for it. Never rejects.
   */
  answer(
    repository: string,
    challenge: string | undefined,
    refused: string | undefined,
  ): Promise<Authorization | Failure>
}

export interface Authorization {
  kind: 'authorization'
  header: string
}

export interface AuthorizerOptions {
  upstream: URL
  credentials: Credentials | undefined
  /** Whether the hosts in `auth.realms` include that of a URL. */
  allowedRealm: (url: URL) => boolean
  subject: Subject
  requestToken: (question: TokenQuestion) => Promise<Token | Failure>
  now: () => number
}

interface Entry {
  header: string
  expiresAt: number
}

/** Repositories remembered; the one learnt first is forgotten first. */
const remembered = 1000

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const { upstream, credentials, allowedRealm, subject, now } = options
  const entries = new Map<string, Entry>()
  const pending = new Map<string, Promise<Authorization | Failure>>()

  function known(repository: string): string | undefined {
    const entry = entries.get(repository)
    return entry !== undefined && now() < entry.expiresAt ? entry.header : undefined
  }

  function learn(repository: string, header: string, expiresAt: number): Authorization {
    entries.delete(repository)
    if (entries.size >= remembered) entries.delete(entries.keys().next().value ?? '')
    entries.set(repository, { header, expiresAt })
    return { kind: 'authorization', header }
  }

  async function fetchToken(
    repository: string,
    { realm, service, scope }: Challenge & { scheme: 'bearer' },
  ): Promise<Authorization | Failure> {
    const url = trustedRealm(realm, upstream, allowedRealm)
    if (url === undefined) {
      return failureFor(subject, 'bad_response', {
        cause: strangeRealm(realm),
        message: realmProblem(realm, upstream, subject),
      })
    }
    const token = await options.requestToken({ realm: url, service, scope, credentials })
    if (token.kind === 'failure') return token
    return learn(repository, `Bearer ${token.value}`, now() + token.lifetime - margin(token))
  }

  function answerBearer(repository: string, challenge: Challenge & { scheme: 'bearer' }) {
    const key = JSON.stringify([repository, challenge])
    const running = pending.get(key)
    if (running !== undefined) return running
    const fetched = fetchToken(repository, challenge).finally(() => pending.delete(key))
    pending.set(key, fetched)
    return fetched
  }

  return {
    known,
    async answer(repository, header, refused) {
      // Meanwhile another request may have learnt what this one lacks.
      const learnt = known(repository)
      if (learnt !== undefined && learnt !== refused) {
        return { kind: 'authorization', header: learnt }
      }
      const challenge = parseChallenge(header)
      if (challenge?.scheme === 'bearer') return answerBearer(repository, challenge)
      if (challenge?.scheme === 'basic' && credentials?.kind === 'password') {
        return learn(repository, basicAuthorization(credentials), Number.POSITIVE_INFINITY)
      }
      const cause = new Error(
        challenge === undefined
          ? 'no challenge that is known'
          : 'it wants a password, and none is set',
      )
      return failureFor(subject, 'denied', { cause, status: 401 })
    },
  }
}

/** A token must not run out on its way: a tenth of its life, half a minute at most. */
function margin({ lifetime }: Token): number {
  return Math.min(lifetime / 10, 30_000)
}

function strangeRealm(realm: string): Error {
  const host = URL.parse(realm)?.host ?? 'no URL'
  return new Error(
    `its token service is elsewhere (${host}): if it can be trusted, add it to auth.realms`,
  )
}
