// Keeps secrets out of what is shown: an upstream may repeat in an error what it was sent.
import { redacted } from '../../rules/redaction.ts'
import type { Authorizer } from '../auth/authorizer.ts'
import { secretsIn, type CredentialSource } from '../auth/credentials.ts'

export interface Redaction {
  /** To be used in the place of the one that was given: what it brings is secret from then on. */
  credentials: CredentialSource | undefined
  /** The same for what an authorizer learns. */
  guard: (authorizer: Authorizer) => Authorizer
  redact: (text: string) => string
}

export function createRedaction(source: CredentialSource | undefined): Redaction {
  const secrets = new Set<string>()
  return {
    credentials: source && {
      get: async (refused) => {
        const given = await source.get(refused)
        for (const secret of secretsIn(given)) secrets.add(secret)
        return given
      },
    },
    guard: (authorizer) => ({
      ...authorizer,
      answer: async (question) => {
        const answer = await authorizer.answer(question)
        if (answer.kind === 'authorization') secrets.add(answer.header.replace(/^\w+ /, ''))
        return answer
      },
    }),
    redact: (text) => redacted(text, secrets, 2000),
  }
}
