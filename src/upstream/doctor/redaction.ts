// Keeps secrets out of what is shown: an upstream may repeat in an error what it was sent.
import type { Authorizer } from '../auth/authorizer.ts'
import type { Credentials } from '../auth/credentials.ts'

export interface Redaction {
  /** To be used in the place of the one that was given: what it learns is secret. */
  authorizer: Authorizer
  redact: (text: string) => string
}

export function createRedaction(
  credentials: Credentials | undefined,
  authorizer: Authorizer,
): Redaction {
  const secrets = new Set<string>()
  if (credentials !== undefined) {
    secrets.add(credentials.kind === 'password' ? credentials.password : credentials.token)
  }
  return {
    authorizer: {
      known: (repository) => authorizer.known(repository),
      answer: async (...question) => {
        const answer = await authorizer.answer(...question)
        if (answer.kind === 'authorization') secrets.add(answer.header.replace(/^\w+ /, ''))
        return answer
      },
    },
    redact: (text) =>
      [...secrets].reduce((rest, secret) => rest.replaceAll(secret, '[redacted]'), text),
  }
}
