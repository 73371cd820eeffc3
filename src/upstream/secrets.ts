// Lets whoever reads an answer find in it what was sent as credentials.
import type { OriginRequest, Receiver } from '../oci/origin.ts'
import { secretFinder } from '../rules/redaction.ts'

/** What is not asked for by its digest may have anything in it, and is looked through. */
export function findingSecrets(
  { resource }: OriginRequest,
  receiver: Receiver,
  secrets: () => string[],
): Receiver {
  if (/^(?:blobs|manifests)\/[^/]+:/.test(resource)) return receiver
  return {
    ...receiver,
    start(response) {
      let finds: ((text: string) => boolean) | undefined
      const repeatsSecret = (text: string) => (finds ??= secretFinder(secrets()))(text)
      receiver.start({ ...response, repeatsSecret })
    },
  }
}
