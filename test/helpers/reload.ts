// The reload of one listener, as the gateway puts it together.
import type { ListenerTlsConfig } from '../../src/config/schema.ts'
import { problemsOf, type Prepared, type ReloadScope } from '../../src/listener/reload.ts'
import { renewalOf } from '../../src/listener/reload-tls.ts'
import type { ListenerServer } from '../../src/listener/server.ts'

/** A scope that is everything and has one part. */
export function listenerScope(server: ListenerServer, tls: () => ListenerTlsConfig): ReloadScope {
  const renewal = renewalOf(server)
  return {
    name: 'listen',
    files: () => renewal?.files(tls()) ?? [],
    prepare(): Prepared {
      const nothing = { take: () => undefined, discard: () => undefined }
      try {
        const { facts, take } = renewal?.prepare(tls()) ?? { ...nothing, facts: {} }
        return { ...nothing, take, parts: [{ part: 'listen', problems: [], facts }] }
      } catch (error) {
        return { ...nothing, parts: [{ part: 'listen', problems: problemsOf('listen', error) }] }
      }
    },
  }
}
