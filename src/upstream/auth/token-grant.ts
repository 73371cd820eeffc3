// Brings a token: for the credentials, for newer ones where these are refused, or for anybody.
import type { CredentialSource } from './credentials.ts'
import type { Failure } from '../failure.ts'
import type { Token, TokenQuestion } from './token-request.ts'

export interface GrantOptions {
  credentials: CredentialSource | undefined
  /** What is done where the token service refuses the credentials. */
  fallback: 'anonymous' | 'none'
  requestToken: (question: TokenQuestion) => Promise<Token | Failure>
  /** Credentials were refused, whether or not something else helps. */
  onRefusal: (failure: Failure) => void
}

interface Grant {
  kind: 'grant'
  token: Token
  /** The credentials were refused, and this is what anybody gets. */
  refusal?: Failure
}

/** @throws CredentialsUnavailable */
export async function grantToken(
  { credentials: source, fallback, requestToken, onRefusal }: GrantOptions,
  question: Omit<TokenQuestion, 'credentials'>,
): Promise<Grant | Failure> {
  const anonymous = { ...question, credentials: undefined }
  if (source === undefined) return granted(await requestToken(anonymous))
  const credentials = await source.get()
  const first = await requestToken({ ...question, credentials })
  if (!isRefusal(first)) return granted(first)
  const renewed = await source.get(credentials)
  const isNew = JSON.stringify(renewed) !== JSON.stringify(credentials)
  const second = isNew ? await requestToken({ ...question, credentials: renewed }) : first
  if (!isRefusal(second)) return granted(second)
  onRefusal(second)
  if (fallback === 'none') return second
  const token = await requestToken(anonymous)
  return token.kind === 'token' ? { kind: 'grant', token, refusal: second } : second
}

function granted(answer: Token | Failure): Grant | Failure {
  return answer.kind === 'token' ? { kind: 'grant', token: answer } : answer
}

function isRefusal(answer: Token | Failure): answer is Failure {
  return answer.kind === 'failure' && answer.reason === 'credentials_refused'
}
