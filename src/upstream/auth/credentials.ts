// Says who the gateway is at an upstream, and how that is asked: one file a kind brings them.

export type Credentials =
  | { kind: 'password'; username: string; password: string }
  /** A refresh token, as `docker login` stores it for some registries. */
  | { kind: 'identity'; token: string }

export interface CredentialSource {
  /**
   * The credentials that hold now.
   * @param refused what was not taken: whoever can gets others in its place
   * @throws CredentialsUnavailable
   */
  get: (refused?: Credentials) => Promise<Credentials>
}

/** What of them must never be told, as it is and as it is sent. */
export function secretsIn(credentials: Credentials): string[] {
  if (credentials.kind === 'identity') return [credentials.token]
  const { username, password } = credentials
  return [password, Buffer.from(`${username}:${password}`).toString('base64')]
}

/** Whoever has the credentials has none for us, for now. The message holds no secret. */
export class CredentialsUnavailable extends Error {
  override readonly name = 'CredentialsUnavailable'
}
