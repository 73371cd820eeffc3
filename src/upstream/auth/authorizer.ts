// The Authorization header for the repositories of one upstream: learnt from its challenges, shared
// between requests, renewed before it runs out, forgotten when it is refused.
import { LRUCache } from 'lru-cache'
import { parseChallenges, realmProblem, trustedRealm, type RegistryChallenge } from './challenge.ts'
import { CredentialsUnavailable, type Credentials } from './credentials.ts'
import { failureFor, type Failure, type FailureSubject } from '../failure.ts'
import { grantToken, type GrantOptions } from './token-grant.ts'
import { basicAuthorization, type Token } from './token-request.ts'

export interface Authorizer {
  /** What was learnt for the repository and is still good. */
  known(repository: string): string | undefined
  /** The header was refused: nobody sends it again for the repository. */
  forget(repository: string, header: string): void
  /** Whether `answer` can make something of the challenge. */
  canAnswer(challenge: string | undefined): boolean
  /**
   * Answers the challenge of a 401. Requests that ask for the same token at once share one request
   * for it. Never rejects.
   */
  answer(question: Challenged): Promise<UpstreamAuthorization | Failure>
}

export interface Challenged {
  /** As the URL has it. */
  repository: string
  /** The WWW-Authenticate header. */
  challenge: string | undefined
  /** The header that was answered so, if any. */
  refused: string | undefined
  /** Who challenges, where that is not the upstream itself: credentials are not for them. */
  stranger?: URL
}

export interface UpstreamAuthorization {
  kind: 'authorization'
  header: string
  /** The credentials were refused, and this is what anybody gets. */
  refusal?: Failure
}

export interface AuthorizerOptions extends GrantOptions {
  upstream: URL
  /** Whether the hosts in `auth.realms` include that of a URL. */
  allowedRealm: (url: URL) => boolean
  subject: FailureSubject
  now: () => number
}

type Bearer = RegistryChallenge & { scheme: 'bearer' }

/** Repositories remembered; the one asked for least lately is forgotten first. */
const remembered = 1000

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const { upstream, credentials: source, allowedRealm, subject, now } = options
  const memory = createMemory(now)
  const pending = new Map<string, Promise<UpstreamAuthorization | Failure>>()

  async function fetchToken(
    key: string,
    { repository, stranger }: Challenged,
    { realm, service, scope }: Bearer,
  ): Promise<UpstreamAuthorization | Failure> {
    const challenger = stranger ?? upstream
    const url = trustedRealm(realm, challenger, allowedRealm)
    if (url === undefined) {
      return failureFor(subject, 'bad_response', {
        cause: strangeRealm(realm),
        message: realmProblem(realm, challenger, subject),
        status: 401,
      })
    }
    const question = { realm: url, service, scope: scopeFor(repository, scope) }
    const grant = await grantToken(
      stranger === undefined ? options : { ...options, credentials: undefined },
      question,
    )
    if (grant.kind === 'failure') return grant
    const { token, refusal } = grant
    const authorization: UpstreamAuthorization = {
      kind: 'authorization',
      header: `Bearer ${token.value}`,
      ...(refusal === undefined ? {} : { refusal }),
    }
    return memory.learn(key, authorization, now() + token.lifetime - margin(token))
  }

  function answerBearer(key: string, question: Challenged, challenge: Bearer) {
    const sharing = JSON.stringify([key, challenge])
    const running = pending.get(sharing)
    if (running !== undefined) return running
    const fetched = orUnavailable(subject, fetchToken(key, question, challenge)).finally(() =>
      pending.delete(sharing),
    )
    pending.set(sharing, fetched)
    return fetched
  }

  async function answerBasic(key: string, refused: string | undefined) {
    const credentials = await source?.get()
    const header = basicOf(credentials)
    // Those that were sent already are refused: there may be others by now.
    const renewed = header === refused ? basicOf(await source?.get(credentials)) : header
    if (renewed === undefined) return denied(subject, 'it wants a password, and none is set')
    if (renewed === refused) return failureFor(subject, 'credentials_refused', { status: 401 })
    return memory.learn(key, { kind: 'authorization', header: renewed }, Number.POSITIVE_INFINITY)
  }

  return {
    known: (repository) => memory.get(repository)?.header,
    forget: memory.forget,
    canAnswer(challenge) {
      return parseChallenges(challenge).some(
        ({ scheme }) => scheme === 'bearer' || source !== undefined,
      )
    },
    async answer(question) {
      const { repository, challenge, refused, stranger } = question
      const key = stranger === undefined ? repository : `${stranger.origin} ${repository}`
      // Meanwhile another request may have learnt what this one lacks.
      const learnt = memory.get(key)
      if (learnt !== undefined && learnt.header !== refused) return learnt
      // A registry says what it wants (RFC 9110 section 15.5.2): this is of something on the way to it.
      if (challenge === undefined) return noChallenge(subject)
      const challenges = parseChallenges(challenge)
      const bearers = challenges.filter(({ scheme }) => scheme === 'bearer') as Bearer[]
      const bearer =
        bearers.find(({ realm }) => trustedRealm(realm, stranger ?? upstream, allowedRealm)) ??
        bearers[0]
      if (bearer !== undefined) return answerBearer(key, question, bearer)
      const isBasic = challenges.length > 0 && stranger === undefined
      if (!isBasic) return denied(subject, 'no challenge that is known')
      return orUnavailable(subject, answerBasic(key, refused))
    },
  }
}

interface Memory {
  get: (key: string) => UpstreamAuthorization | undefined
  learn: (
    key: string,
    authorization: UpstreamAuthorization,
    expiresAt: number,
  ) => UpstreamAuthorization
  forget: (key: string, header: string) => void
}

function createMemory(now: () => number): Memory {
  const entries = new LRUCache<string, { authorization: UpstreamAuthorization; expiresAt: number }>(
    {
      max: remembered,
    },
  )
  return {
    get(key) {
      const entry = entries.get(key)
      return entry !== undefined && now() < entry.expiresAt ? entry.authorization : undefined
    },
    learn(key, authorization, expiresAt) {
      entries.set(key, { authorization, expiresAt })
      return authorization
    },
    forget(key, header) {
      if (entries.get(key)?.authorization.header === header) entries.delete(key)
    },
  }
}

/** A helper that fails is an outage. */
async function orUnavailable(
  subject: FailureSubject,
  work: Promise<UpstreamAuthorization | Failure>,
): Promise<UpstreamAuthorization | Failure> {
  try {
    return await work
  } catch (error) {
    if (!(error instanceof CredentialsUnavailable)) throw error
    return failureFor(subject, 'no_credentials', { cause: error })
  }
}

function noChallenge(subject: FailureSubject): Failure {
  const cause = new Error('status 401 without a challenge')
  return failureFor(subject, 'bad_response', { cause, status: 401 })
}

function denied(subject: FailureSubject, why: string): Failure {
  return failureFor(subject, 'denied', { cause: new Error(why), status: 401 })
}

function basicOf(credentials: Credentials | undefined): string | undefined {
  return credentials?.kind === 'password' ? basicAuthorization(credentials) : undefined
}

/**
 * What is asked for: the scope of the challenge, and the repository itself where that names none or
 * another one, as some registries' challenges do.
 */
function scopeFor(repository: string, scope: string | undefined): string | undefined {
  // The registry as a whole, and its catalog, are no repositories.
  if (repository === '' || repository.startsWith('_')) return scope
  const own = `repository:${repository}:pull`
  if (scope === undefined || scope.trim() === '') return own
  const isOurs = scope.split(' ').some((part) => part.startsWith(`repository:${repository}:`))
  return isOurs ? scope : `${own} ${scope}`
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
