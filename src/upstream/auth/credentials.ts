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

/** Whoever has the credentials has none for us, for now. The message holds no secret. */
export class CredentialsUnavailable extends Error {
  override readonly name = 'CredentialsUnavailable'
}
